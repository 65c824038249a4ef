//! How fields are read that servers fill in their own ways: what is not understood is as good as absent.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// A value, or the default where it is null or of another type.
pub(crate) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Read<T> {
        Known(T),
        Other(IgnoredAny),
    }
    Ok(match Read::deserialize(from)? {
        Read::Known(value) => value,
        Read::Other(_) => T::default(),
    })
}

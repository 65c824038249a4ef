//! Lenient reading of fields that servers fill in differently: a value that is not understood counts as absent.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// Reads a value, or returns the default if it is null or of another type.
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

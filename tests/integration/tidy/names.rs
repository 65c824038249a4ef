//! The rule that the name of a public type is defined once in the workspace.
//!
//! Private and `pub(..)` types may share names, since no reader sees them side by side.

use std::collections::BTreeMap;

use super::{
    expect_none,
    source::{self, public_types},
};

#[test]
fn a_public_type_name_is_defined_once() {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in source::all() {
        for public in public_types(&source.production()) {
            let place = format!("{}:{}", source.path, public.line);
            places.entry(public.name).or_default().push(place);
        }
    }
    places.retain(|_, places| places.len() > 1);
    let mut offences = Vec::new();
    for (name, places) in &places {
        let (last, others) = places.split_last().unwrap();
        let others = others.join(", ");
        offences.push(format!(
            "{last}: names: `{name}` is a type in {others} too: give one a name of its own"
        ));
    }
    expect_none(&offences);
}

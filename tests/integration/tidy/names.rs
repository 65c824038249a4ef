//! The rule that a public type's name means one thing: it is defined once in the workspace.
//!
//! Private and `pub(..)` types may share names, since nobody meets them in two meanings at once.

use std::collections::BTreeMap;

use super::{
    expect_none,
    source::{self, public_types},
};

/// Names that are defined more than once, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("BadTarget", "of an answer's target and of a plan's; to be renamed"),
    ("Header", "the first line of a journal and of a log; to be renamed"),
    ("Skipped", "a problem and a cell of a sweep; to be renamed"),
    ("Target", "of an answer and of a plan; to be renamed"),
    ("Traffic", "to a Thinker and over a shaped link; to be renamed"),
];

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
        if !EXCEPTIONS.iter().any(|(exception, _)| exception == name) {
            let (last, others) = places.split_last().unwrap();
            let others = others.join(", ");
            offences.push(format!(
                "{last}: names: `{name}` is a type in {others} too: give one a name of its own"
            ));
        }
    }
    for (name, _) in EXCEPTIONS {
        if !places.contains_key(name) {
            offences.push(format!(
                "{}: names: `{name}` is no longer defined twice: delete its exception",
                file!()
            ));
        }
    }
    expect_none(&offences);
}

//! The rules for dependencies: the arrows between the workspace's crates, and which crates may use which external ones.
//!
//! Dependencies are read from the `Cargo.toml` files. Dev-dependencies are free, since they are in no program.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::{expect_none, read};

/// Every workspace crate, and the workspace crates that it depends on, in alphabetical order.
const ARROWS: &[(&str, &[&str])] = &[
    ("answer", &["conductor", "thinking", "traces"]),
    (
        "cli",
        &[
            "answer",
            "flags",
            "grading",
            "hub",
            "pair",
            "pool",
            "reload",
            "runs",
            "thinking",
            "traces",
            "transport",
            "upstream",
        ],
    ),
    ("conductor", &["thinking"]),
    (
        "coordinator",
        &[
            "answer", "cli", "flags", "grading", "manual", "pair", "pool", "reload", "runs",
            "serve", "thinking", "traces",
        ],
    ),
    ("engine", &["machines", "metrics", "text", "thinking"]),
    ("error-lines", &[]),
    ("flags", &[]),
    ("grading", &[]),
    ("hub", &["thinking"]),
    ("lab", &["answer", "conductor", "grading", "machines", "runs", "thinking", "transport"]),
    ("large-node", &["node"]),
    ("machines", &["thinking"]),
    ("manual", &[]),
    ("metrics", &[]),
    (
        "node",
        &[
            "engine",
            "flags",
            "hub",
            "machines",
            "manual",
            "metrics",
            "thinking",
            "traces",
            "transport",
            "upstream",
        ],
    ),
    ("openai", &[]),
    ("pair", &["large-node", "node", "small-node"]),
    ("pool", &["answer", "roster", "thinking"]),
    ("proto", &[]),
    ("reload", &[]),
    ("roster", &["thinking"]),
    ("runs", &["answer", "grading", "thinking"]),
    ("serve", &["answer", "metrics", "openai", "pool", "reload", "thinking", "traces"]),
    ("simulator", &["conductor", "roster", "thinking"]),
    ("small-node", &["node"]),
    (
        "specthink-lab",
        &[
            "answer",
            "cli",
            "flags",
            "grading",
            "lab",
            "machines",
            "manual",
            "pair",
            "runs",
            "simulator",
            "thinking",
        ],
    ),
    (
        "tests",
        &[
            "answer",
            "coordinator",
            "large-node",
            "metrics",
            "node",
            "pair",
            "proto",
            "small-node",
            "specthink-lab",
            "thinking",
            "transport",
            "upstream",
        ],
    ),
    ("text", &[]),
    ("thinking", &[]),
    ("traces", &[]),
    ("transport", &["metrics", "proto", "reload", "thinking", "traces"]),
    ("upstream", &["openai", "text", "thinking", "traces"]),
];

/// External crates that only some of the workspace's crates may use, and which.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("axum", &["serve"]),
    ("candle-core", &["engine", "node"]),
    ("candle-nn", &["engine"]),
    ("candle-transformers", &["engine"]),
    ("clap", &["cli", "coordinator", "manual", "node", "specthink-lab"]),
    ("opentelemetry", &["traces"]),
    ("opentelemetry-otlp", &["traces"]),
    ("plotters", &["lab"]),
    ("prost", &["proto", "transport"]),
    ("rcgen", &["coordinator"]),
    ("reqwest", &["hub", "upstream"]),
    ("tokenizers", &["text"]),
    ("tonic", &["proto", "transport"]),
];

/// Workspace crates, and what they must not link, neither directly nor through other workspace crates, unless an
/// optional dependency is turned on.
const NEVER_LINKS: &[(&str, &[&str])] = &[
    ("answer", &["candle-core", "clap", "indicatif", "tonic", "transport"]),
    ("cli", &["candle-core", "engine", "node"]),
    ("conductor", &["clap", "rand", "reqwest", "tracing"]),
    ("coordinator", &["candle-core", "engine", "node"]),
    ("engine", &["clap", "prost", "proto", "reqwest", "tonic"]),
    ("grading", &["clap", "thinking", "tokio", "tracing"]),
    ("hub", &["candle-core", "clap", "engine", "tonic"]),
    ("lab", &["candle-core", "clap", "cli", "engine", "indicatif", "node", "pair"]),
    ("metrics", &["hyper", "tokio", "tracing"]),
    ("openai", &["reqwest", "tokio"]),
    ("runs", &["candle-core", "clap", "indicatif", "tonic", "transport"]),
    ("serve", &["candle-core", "clap", "indicatif", "tonic", "transport"]),
    ("specthink-lab", &["candle-core", "engine", "node"]),
    ("simulator", &["clap", "rand", "reqwest", "tracing"]),
    ("text", &["candle-core", "clap", "tokio", "tonic", "tracing"]),
    ("thinking", &["clap", "rand", "reqwest", "tracing"]),
    ("traces", &["tokio", "tonic"]),
    ("transport", &["candle-core", "clap", "engine"]),
    ("upstream", &["candle-core", "clap", "engine", "tonic", "transport"]),
];

/// Dependencies that may only have these features.
const FEATURES: &[(&str, &str, &[&str])] = &[
    // Only channels: no runtime, no I/O, no clock.
    ("thinking", "tokio", &["sync"]),
];

/// A workspace crate's manifest.
struct Package {
    /// Its path, relative to the root of the checkout.
    path: String,
    /// Everything it depends on, except for tests.
    dependencies: BTreeMap<String, Value>,
}

/// Returns the folders of the workspace's crates, relative to the root of the checkout.
pub(super) fn members() -> Vec<String> {
    let manifest: Table = read("Cargo.toml").parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

fn packages() -> BTreeMap<String, Package> {
    let of = |member: &String| {
        let path = format!("{member}/Cargo.toml");
        let manifest: Table = read(&path).parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        (name, Package { path, dependencies: dependencies(&manifest) })
    };
    members().iter().map(of).collect()
}

/// Returns what a manifest depends on, on any platform, except for tests.
fn dependencies(manifest: &Table) -> BTreeMap<String, Value> {
    let tables = manifest.get("target").and_then(Value::as_table);
    let targets =
        tables.into_iter().flat_map(|targets| targets.values()).filter_map(Value::as_table);
    let tables =
        targets.chain([manifest]).filter_map(|table| table.get("dependencies")?.as_table());
    tables.flatten().map(|(name, how)| (name.clone(), how.clone())).collect()
}

#[test]
fn arrows_between_crates_are_those_of_the_table() {
    let packages = packages();
    let mut offences = Vec::new();
    for (name, package) in &packages {
        let names = package.dependencies.keys().map(String::as_str);
        let is: Vec<&str> = names.filter(|to| packages.contains_key(*to)).collect();
        if !ARROWS.iter().any(|(from, to)| from == name && **to == is) {
            let path = &package.path;
            offences.push(format!("{path}:1: arrows: {}", meant("ARROWS", name, &is)));
        }
    }
    for (name, _) in ARROWS.iter().filter(|(name, _)| !packages.contains_key(*name)) {
        offences.push(format!("{}: arrows: `{name}` is not a member: delete its line", file!()));
    }
    expect_none(&offences);
}

#[test]
fn crates_from_outside_are_named_where_they_belong() {
    let packages = packages();
    let mut offences = Vec::new();
    for (outside, only) in ONLY_IN {
        let names = |package: &Package| package.dependencies.contains_key(*outside);
        let is: Vec<&str> = packages
            .iter()
            .filter(|(name, package)| *name != "tests" && names(package))
            .map(|(name, _)| name.as_str())
            .collect();
        if *only != is {
            let stranger = is.iter().find(|name| !only.contains(name)).map(|name| &packages[*name]);
            let path = stranger.map_or(file!(), |package| &package.path);
            offences.push(format!("{path}:1: arrows: {}", meant("ONLY_IN", outside, &is)));
        }
    }
    expect_none(&offences);
}

/// Returns the line that a table would need.
fn meant(table: &str, name: &str, is: &[&str]) -> String {
    format!("if this is intended, the line of {table} in {} is: ({name:?}, &{is:?}),", file!())
}

#[test]
fn crates_never_link_what_they_must_not() {
    let packages = packages();
    let mut offences = Vec::new();
    for (name, never) in NEVER_LINKS {
        let links = links(name, &packages);
        for never in never.iter().filter(|never| links.contains(**never)) {
            let path = &packages[*name].path;
            offences.push(format!(
                "{path}:1: arrows: {name} must not link {never}: `cargo tree -p {name}` shows how it does"
            ));
        }
    }
    for (name, dependency, allowed) in FEATURES {
        let Package { path, dependencies } = &packages[*name];
        for feature in features(&dependencies[*dependency]) {
            if !allowed.contains(&feature.as_str()) {
                offences.push(format!(
                    "{path}:1: arrows: {name} must use {dependency} without `{feature}`: turn it off"
                ));
            }
        }
    }
    expect_none(&offences);
}

/// Returns everything that a crate links without its optional dependencies, as far as the workspace's manifests say.
fn links(name: &str, packages: &BTreeMap<String, Package>) -> BTreeSet<String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![name.to_owned()]);
    while let Some(name) = open.pop() {
        let package = packages.get(&name);
        for (to, how) in package.into_iter().flat_map(|package| &package.dependencies) {
            let optional = how.get("optional").and_then(Value::as_bool).unwrap_or(false);
            if !optional && found.insert(to.clone()) {
                open.push(to.clone());
            }
        }
    }
    found
}

/// Returns the features of a dependency. Inherited features and default features are each represented by a phrase.
fn features(how: &Value) -> Vec<String> {
    let named = how.get("features").and_then(Value::as_array).into_iter().flatten();
    let mut features: Vec<String> = named.filter_map(Value::as_str).map(str::to_owned).collect();
    if how.get("workspace").is_some() {
        features.push("the workspace's features".to_owned());
    } else if how.get("default-features").and_then(Value::as_bool) != Some(false) {
        features.push("default features".to_owned());
    }
    features
}

mod tests {
    use super::*;

    fn package(manifest: &str) -> Package {
        let manifest: Table = manifest.parse().unwrap();
        Package { path: String::new(), dependencies: dependencies(&manifest) }
    }

    #[test]
    fn dependencies_are_those_of_every_platform_without_tests() {
        let package = package(
            "[dependencies]\na.workspace = true\n[dev-dependencies]\nb = \"1\"\n\
             [target.'cfg(unix)'.dependencies]\nc = \"1\"",
        );
        assert_eq!(package.dependencies.keys().collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn what_is_linked_is_followed_but_through_optional_dependencies() {
        let packages = BTreeMap::from([
            ("top".to_owned(), package("[dependencies]\nmiddle.workspace = true\nzip = \"1\"")),
            (
                "middle".to_owned(),
                package(
                    "[dependencies]\nserde = \"1\"\nlow = { workspace = true, optional = true }",
                ),
            ),
            ("low".to_owned(), package("[dependencies]\ncandle-core = \"1\"")),
        ]);
        let of = |name| links(name, &packages).into_iter().collect::<Vec<_>>();
        assert_eq!(of("top"), ["middle", "serde", "zip"]);
        assert_eq!(of("low"), ["candle-core"]);
    }

    #[test]
    fn features_that_are_not_named_are_seen() {
        for (how, expected) in [
            ("{ version = \"1\", default-features = false, features = [\"sync\"] }", &["sync"][..]),
            ("{ version = \"1\", features = [\"sync\"] }", &["sync", "default features"]),
            ("{ workspace = true }", &["the workspace's features"]),
            ("\"1\"", &["default features"]),
        ] {
            let manifest: Table = format!("a = {how}").parse().unwrap();
            assert_eq!(features(&manifest["a"]), expected, "{how}");
        }
    }
}

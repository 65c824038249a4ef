//! The rule that sibling modules must not depend on each other in a cycle.
//!
//! A module's dependencies are read from its paths: those in `use`, and those in the code that begin with `crate`,
//! `super` or `self`. A re-exported name belongs to the module that defines it. A module and its own children may
//! depend on each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{arrows::members, expect_none, source};

/// The path of a module: the crate's folder, then the names of the modules down to it.
type Path = Vec<String>;

/// Where a dependency was found: file and line.
type Place = (String, usize);

/// A module's children and their dependencies on each other, with the first place of each dependency.
type Siblings = BTreeMap<(String, String), Place>;

/// A path in the code, from the crate's root.
#[derive(Debug, PartialEq)]
struct Used {
    path: Path,
    /// The name that a `use` binds it to; `None` in the middle of code.
    name: Option<String>,
    place: Place,
}

/// What each module uses, by the module's path.
#[derive(Default)]
struct Modules(BTreeMap<Path, Vec<Used>>);

impl Modules {
    /// Reads the modules of a crate from its files: path below `src`, text as numbered lines.
    fn new(root: &str, files: &[(String, Vec<(usize, &str)>)]) -> Self {
        let mut modules = Modules::default();
        for (file, _) in files {
            modules.0.entry(module_of(root, file)).or_default();
        }
        for (file, lines) in files {
            let module = module_of(root, file);
            let used = modules.used(&module, &format!("{root}/src/{file}"), lines);
            modules.0.entry(module).or_default().extend(used);
        }
        modules
    }

    /// Returns the paths in a file that lead to something in its crate.
    fn used(&self, module: &Path, file: &str, lines: &[(usize, &str)]) -> Vec<Used> {
        let mut used = Vec::new();
        let mut lines = lines.iter().filter(|(_, line)| !line.trim_start().starts_with("//"));
        while let Some((number, line)) = lines.next() {
            let mut found = Vec::new();
            if let Some(mut tree) = use_tree(line) {
                while !tree.ends_with(';') {
                    let Some((_, more)) = lines.next() else { break };
                    tree.push_str(more.trim());
                }
                leaves(tree.trim_end_matches(';'), &[], &mut found);
            } else {
                found.extend(paths(line).into_iter().map(|path| (path, None)));
            }
            used.extend(found.into_iter().filter_map(|(path, name)| {
                let path = self.absolute(module, &path)?;
                Some(Used { path, name, place: (file.to_owned(), *number) })
            }));
        }
        used
    }

    /// Resolves a path in a module to one from the crate's root; `None` if it leads out of the crate.
    fn absolute(&self, module: &Path, path: &[String]) -> Option<Path> {
        let mut at = module.clone();
        let mut rest = path;
        while let [first, tail @ ..] = rest {
            match first.as_str() {
                "crate" => at.truncate(1),
                "super" => drop(at.pop()),
                "self" => {}
                _ => break,
            }
            rest = tail;
        }
        let is_child = || {
            let child = [&at[..], &path[..1]].concat();
            self.0.contains_key(&child)
        };
        let is_inside = rest.len() < path.len() || (!path.is_empty() && is_child());
        is_inside.then(|| [&at, rest].concat())
    }

    /// Returns the module that defines what a path leads to.
    fn defining(&self, path: &Path) -> Path {
        let mut path = path.clone();
        // Each round follows one re-export; no chain of re-exports is longer.
        for _ in 0..16 {
            let is_module = |len: &usize| self.0.contains_key(&path[..*len]);
            let Some(len) = (1..=path.len()).rev().find(is_module) else { break };
            let module = path[..len].to_vec();
            let Some(name) = path.get(len) else { return module };
            let re_export = self.0[&module].iter().find(|used| used.name.as_ref() == Some(name));
            match re_export {
                Some(used) if used.path != path => path.clone_from(&used.path),
                _ => return module,
            }
        }
        path
    }

    /// Returns which siblings depend on which, by parent.
    fn siblings(&self) -> BTreeMap<Path, Siblings> {
        let mut all: BTreeMap<Path, Siblings> = BTreeMap::new();
        for (from, used) in &self.0 {
            for used in used {
                let to = self.defining(&used.path);
                let shared = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
                if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
                    let siblings = all.entry(from[..shared].to_vec()).or_default();
                    let edge = (one.clone(), other.clone());
                    siblings.entry(edge).or_insert_with(|| used.place.clone());
                }
            }
        }
        all
    }
}

/// Returns the module of a file, from its path below `src`.
fn module_of(root: &str, file: &str) -> Path {
    let path = file.trim_end_matches(".rs");
    let names = path.split('/').filter(|name| !["lib", "main", "mod"].contains(name));
    [root].into_iter().chain(names).map(str::to_owned).collect()
}

/// Returns the `use` tree that begins in this line, as far as the line contains it.
fn use_tree(line: &str) -> Option<String> {
    let line = line.trim();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    line.strip_prefix("use ").map(str::to_owned)
}

/// Returns the paths of a `use` tree, each with the name that it binds.
fn leaves(tree: &str, before: &[String], found: &mut Vec<(Path, Option<String>)>) {
    for part in parts(tree) {
        let (path, inner) = match part.split_once('{') {
            Some((path, inner)) => (path, inner.strip_suffix('}')),
            None => (part, None),
        };
        let (path, renamed) = match path.split_once(" as ") {
            Some((path, name)) => (path, Some(name.to_owned())),
            None => (path, None),
        };
        let names = path.trim().split("::").filter(|name| !name.is_empty()).map(str::to_owned);
        let mut path: Path = before.iter().cloned().chain(names).collect();
        match inner {
            Some(inner) => leaves(inner, &path, found),
            None => {
                // The parent itself, or everything in it.
                if path.len() > 1 && path.last().is_some_and(|last| last == "self" || last == "*") {
                    path.pop();
                }
                let name = renamed.or_else(|| path.last().cloned());
                found.push((path, name));
            }
        }
    }
}

/// Splits at the commas outside all braces.
fn parts(tree: &str) -> Vec<&str> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(tree[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(tree[start..].trim());
    found.retain(|part| !part.is_empty());
    found
}

/// Returns the paths in a line of code that begin with `crate`, `super` or `self`.
fn paths(line: &str) -> Vec<Path> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    line.split(|c: char| !is_path(c))
        .filter(|word| ["crate::", "super::", "self::"].iter().any(|start| word.starts_with(start)))
        .map(|path| path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect())
        .collect()
}

/// Returns the shortest cycle through each sibling, each cycle once.
fn circles(siblings: &Siblings) -> Vec<Vec<String>> {
    let names: BTreeSet<&String> = siblings.keys().map(|(from, _)| from).collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for start in names {
        let Some(circle) = way(siblings, start, start) else { continue };
        if seen.insert(circle.iter().cloned().collect::<BTreeSet<_>>()) {
            found.push(circle);
        }
    }
    found
}

/// Returns the shortest path from one sibling to another over at least one dependency, with both ends.
fn way(siblings: &Siblings, from: &str, to: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut open = VecDeque::from([vec![from.to_owned()]]);
    while let Some(way) = open.pop_front() {
        let last = way.last()?;
        for (_, next) in siblings.keys().filter(|(one, _)| one == last) {
            let longer = [&way[..], std::slice::from_ref(next)].concat();
            if next == to {
                return Some(longer);
            }
            if seen.insert(next.clone()) {
                open.push_back(longer);
            }
        }
    }
    None
}

#[test]
fn sibling_modules_do_not_depend_on_each_other_in_a_circle() {
    let mut offences = Vec::new();
    for member in members() {
        let folder = format!("{member}/src/");
        let sources = source::all().iter().filter(|source| !source.is_test());
        let files: Vec<_> = sources
            .filter_map(|source| {
                let file = source.path.strip_prefix(&folder)?;
                Some((file.to_owned(), source.production()))
            })
            .collect();
        for (parent, siblings) in Modules::new(&member, &files).siblings() {
            let parent = parent.join("::");
            for circle in circles(&siblings) {
                offences.extend(circle.windows(2).map(|pair| {
                    let (file, line) = &siblings[&(pair[0].clone(), pair[1].clone())];
                    format!(
                        "{file}:{line}: cycles: in `{parent}`, {} is a cycle: move what `{}` needs of `{}` below both",
                        circle.join(" -> "), pair[0], pair[1]
                    )
                }));
            }
        }
    }
    expect_none(&offences);
}

mod tests {
    use super::*;

    /// Returns the cycles of a crate `c`, each with its parent.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<(String, Vec<(usize, &str)>)> = files
            .iter()
            .map(|(file, text)| ((*file).to_owned(), (1..).zip(text.lines()).collect()))
            .collect();
        let siblings = Modules::new("c", &files).siblings();
        let circles = siblings.iter().flat_map(|(parent, siblings)| {
            let circles = circles(siblings).into_iter();
            circles.map(move |circle| format!("{}: {}", parent.join("::"), circle.join(" ")))
        });
        circles.collect()
    }

    #[test]
    fn a_circle_is_found_however_its_paths_are_written() {
        for (a, b) in [
            ("use crate::b::B;", "use super::a::A;"),
            ("pub(crate) use crate::{b::B, x::X};", "fn f() -> crate::a::A {}"),
            ("use super::{\n    b::{self as other, B},\n};", "    super::a::f();"),
            ("use crate::b::*;", "use crate::a;"),
        ] {
            assert_eq!(found(&[("lib.rs", ""), ("a.rs", a), ("b.rs", b)]), ["c: a b a"], "{a}");
        }
        let three = [("a.rs", "use crate::b::B;"), ("b.rs", "use crate::d::D;"), ("d/mod.rs", "")];
        assert_eq!(found(&three), Vec::<String>::new());
        let deep = [three[0], three[1], ("d/mod.rs", ""), ("d/e.rs", "use crate::a::A;")];
        assert_eq!(found(&deep), ["c: a b d a"]);
    }

    #[test]
    fn a_re_exported_name_is_of_the_module_that_defines_it() {
        let parent = ("p.rs", "pub use self::{a::A, b::B};\npub use b::C;");
        let a = ("p/a.rs", "use super::{B, Own};");
        assert_eq!(found(&[parent, a, ("p/b.rs", "use super::Own;")]), Vec::<String>::new());
        assert_eq!(found(&[parent, a, ("p/b.rs", "use super::A;")]), ["c::p: a b a"]);
        assert_eq!(
            found(&[parent, ("p/a.rs", "use crate::p::C;"), ("p/b.rs", "use crate::p::A;")]).len(),
            1
        );
    }

    #[test]
    fn parents_children_comments_and_other_crates_make_no_circle() {
        let files = [
            ("lib.rs", "use a::A;"),
            ("a.rs", "mod d;\nuse self::d::D;\nuse other::b::B;\n//! use crate::b::B;"),
            ("a/d.rs", "use super::A;\n/// [`crate::b`]"),
            ("b.rs", "use crate::a::A;"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }
}

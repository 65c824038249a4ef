//! Profiles by name: the built-in ones, those in a user's file, and descriptions based on them.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Deserialize;
use thinking::names::difference;

use super::{LinkError, LinkFault, LinkProfile};

/// The built-in profiles.
const SHIPPED: &str = include_str!("../../links.toml");
/// A name with at most this edit distance is worth a suggestion.
const NEAR: usize = 3;

/// Profiles by name, in the order of their files.
#[derive(Debug, Clone, PartialEq)]
pub struct Links {
    profiles: Vec<LinkProfile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    link: Vec<BTreeMap<String, String>>,
}

impl Links {
    /// Returns the built-in profiles.
    ///
    /// # Errors
    /// Never with the built-in file; a test reads it.
    pub fn shipped() -> Result<Self, LinkError> {
        Links::parse("links.toml", SHIPPED)
    }

    /// Reads a TOML file of profiles.
    ///
    /// # Errors
    /// When it cannot be read, is not a file of links, or contains an impossible profile.
    pub fn read(path: &Path) -> Result<Self, LinkError> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => LinkError::Missing { path: shown.clone() },
            _ => LinkError::Unreadable { path: shown.clone(), why: error.to_string() },
        })?;
        Links::parse(&shown, &text)
    }

    /// Parses the text of a TOML file of profiles; `path` is for the errors.
    ///
    /// # Errors
    /// When it is not a file of links, or contains an impossible profile.
    pub fn parse(path: &str, text: &str) -> Result<Self, LinkError> {
        let file: File = toml::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or("");
            let line = before.matches('\n').count() + 1;
            let why = error.message().lines().collect::<Vec<_>>().join(" ");
            LinkError::NotLinks { path: path.to_owned(), line, why }
        })?;
        let mut links = Links { profiles: Vec::new() };
        for (index, properties) in file.link.into_iter().enumerate() {
            let called = properties.get("name").cloned();
            let profile = profile(properties).and_then(|profile| match links.get(&profile.name) {
                Some(_) => Err(LinkFault::SameName),
                None => Ok(profile),
            });
            links.profiles.push(profile.map_err(|fault| {
                let link = called.unwrap_or_else(|| format!("{}", index + 1));
                LinkError::BadInFile { path: path.to_owned(), link, fault }
            })?);
        }
        if links.profiles.is_empty() {
            return Err(LinkError::Empty { path: path.to_owned() });
        }
        Ok(links)
    }

    /// Adds other profiles; one with the same name as an existing one replaces it.
    #[must_use]
    pub fn and(mut self, others: Links) -> Self {
        for other in others.profiles {
            match self.profiles.iter_mut().find(|profile| profile.name == other.name) {
                Some(profile) => *profile = other,
                None => self.profiles.push(other),
            }
        }
        self
    }

    /// Finds or parses a link: a profile's name, or a description such as `rtt=90ms,down=100mbit,loss=0.5%`. A
    /// description may begin with the name of the profile that it changes: `4g-good,loss=2%`.
    ///
    /// # Errors
    /// When no profile has that name, or the description is invalid.
    pub fn link(&self, text: &str) -> Result<LinkProfile, LinkError> {
        let text = text.trim();
        let (first, rest) = match text.split_once(',') {
            Some((first, rest)) => (first.trim(), Some(rest)),
            None => (text, None),
        };
        let bad = |fault| LinkError::Bad { link: text.to_owned(), fault };
        let (base, described) = if first.is_empty() {
            return Err(bad(LinkFault::EmptyElement));
        } else if first.contains('=') {
            (LinkProfile { basis: "as described".to_owned(), ..LinkProfile::default() }, Some(text))
        } else {
            (self.get(first).cloned().ok_or_else(|| self.unknown(first))?, rest)
        };
        let Some(described) = described else { return Ok(base) };
        let elements = described.split(',').map(|element| match element.split_once('=') {
            Some((key, value)) => Ok((key.trim(), value.trim())),
            None if element.trim().is_empty() => Err(LinkFault::EmptyElement),
            None => Err(LinkFault::NoValue { element: element.trim().to_owned() }),
        });
        let profile = base.with(elements).map_err(bad)?;
        Ok(LinkProfile { name: text.to_owned(), ..profile })
    }

    /// Returns the profile with a name.
    pub fn get(&self, name: &str) -> Option<&LinkProfile> {
        self.profiles.iter().find(|profile| profile.name == name)
    }

    /// Iterates over all profiles, in the order of their files.
    pub fn iter(&self) -> impl Iterator<Item = &LinkProfile> {
        self.profiles.iter()
    }

    fn unknown(&self, name: &str) -> LinkError {
        let lower = name.to_lowercase();
        let near = |known: &str| {
            // "4g" for "4g-good": a part of a name is the best match.
            let part = lower.len() > 1 && known.to_lowercase().contains(&lower);
            if part { 0 } else { difference(name, known) }
        };
        let names = || self.profiles.iter().map(|profile| profile.name.as_str());
        let mut nearest: Vec<&str> = names().filter(|known| near(known) <= NEAR).collect();
        nearest.sort_by_key(|known| near(known));
        nearest.truncate(3);
        let nearest = if nearest.is_empty() {
            format!("there are {}", names().collect::<Vec<_>>().join(", "))
        } else {
            format!("the nearest: {}", nearest.join(", "))
        };
        LinkError::Unknown { name: name.to_owned(), nearest }
    }
}

fn profile(mut properties: BTreeMap<String, String>) -> Result<LinkProfile, LinkFault> {
    let name = properties.remove("name").unwrap_or_default();
    let basis = properties.remove("basis").unwrap_or_default();
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(LinkFault::BadName { name });
    }
    let base = LinkProfile { name, basis, ..LinkProfile::default() };
    base.with(properties.iter().map(|(key, value)| Ok((key.as_str(), value.as_str()))))
}

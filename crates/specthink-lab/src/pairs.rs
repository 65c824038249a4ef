//! The pairs of models that a sweep asks: their names and where their nodes are.

use std::{collections::BTreeSet, str::FromStr};

use cli::{AnsweringArgs, CliError, Exit, NamedNode, NodeEndpoints, SecurityArgs};
use lab::sweep::REPORT;
use pair::Builtin;

const BUILTIN: &str = "builtin";
const WANTED: &str = "give NAME=SMALL,LARGE with the addresses of both nodes or their @NAMEs in --endpoints, or \
     builtin for this program's own pair";

/// A named pair as it was given: `builtin`, or `NAME=SMALL,LARGE`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PairArg {
    name: String,
    /// The small nodes, then the large one, each an address or `@NAME`. Empty for this program's own pair.
    nodes: Vec<String>,
}

impl FromStr for PairArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == BUILTIN {
            return Ok(PairArg { name: text.to_owned(), nodes: Vec::new() });
        }
        let (name, nodes) = text.split_once('=').ok_or(WANTED)?;
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.starts_with('.') || name.is_empty() || !name.bytes().all(fine) {
            return Err(format!("{name:?} is not a name: use letters, digits, '-', '_' or '.'"));
        }
        // Reserved: this program's own pair, and the folder of the report on all pairs.
        if name == BUILTIN || name == REPORT {
            return Err(format!("{name:?} is reserved here: give the pair another name"));
        }
        let nodes: Vec<String> = nodes.split(',').map(|url| url.trim().to_owned()).collect();
        if nodes.len() < 2 || nodes.iter().any(String::is_empty) {
            return Err(WANTED.to_owned());
        }
        Ok(PairArg { name: name.to_owned(), nodes })
    }
}

/// A pair of a sweep, with the arguments for its nodes.
#[derive(Debug)]
pub(crate) struct ModelPair {
    /// Its name, if it has one. A named pair's results are in a separate folder.
    pub(crate) name: Option<String>,
    pub(crate) answering: AnsweringArgs,
}

impl ModelPair {
    /// Returns where its nodes are. Starts the program's own pair.
    pub(crate) fn endpoints(
        &self,
        wants_large: bool,
        builtin: Option<&dyn Builtin>,
    ) -> Result<NodeEndpoints, CliError> {
        NodeEndpoints::new(&self.answering.nodes, &self.answering.security, wants_large, builtin)
    }
}

/// The requested pairs, and the arguments that apply to all of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pairs<'a> {
    /// The named pairs. Empty: the nodes are those of the other arguments.
    pub(crate) named: &'a [PairArg],
    pub(crate) answering: &'a AnsweringArgs,
}

impl Pairs<'_> {
    /// Returns all pairs, at least one.
    pub(crate) fn all(self, builtin: Option<&dyn Builtin>) -> Result<Vec<ModelPair>, CliError> {
        if self.answering.nodes.named.large.len() > 1 {
            let message = "a sweep puts its link in front of one large node: give one --large";
            return Err(CliError::new(Exit::Usage, message));
        }
        if self.named.is_empty() {
            return Ok(vec![ModelPair { name: None, answering: self.answering.clone() }]);
        }
        let mut names = BTreeSet::new();
        for PairArg { name, nodes } in self.named {
            if !names.insert(name) {
                let message = format!("--pair {name} is given twice: rename one");
                return Err(CliError::new(Exit::Usage, message));
            }
            if nodes.is_empty() && builtin.is_none() {
                let message = format!("--pair {name}: this program has no built-in pair; {WANTED}");
                return Err(CliError::new(Exit::Usage, message));
            }
        }
        Ok(self.named.iter().map(|pair| self.pair(pair)).collect())
    }

    fn pair(self, PairArg { name, nodes }: &PairArg) -> ModelPair {
        let mut answering = self.answering.clone();
        match nodes.split_last() {
            Some((large, small)) => {
                let node = |place: &String| NamedNode::from(place.clone());
                answering.nodes.named.small = small.iter().map(node).collect();
                answering.nodes.named.large = vec![node(large)];
            }
            // If other pairs have nodes of their own, the credentials are for those.
            None if self.named.iter().any(|pair| !pair.nodes.is_empty()) => {
                answering.security = SecurityArgs {
                    tls_ca: None,
                    tls_cert: None,
                    tls_key: None,
                    token_file: None,
                    insecure: false,
                    max_message_bytes: self.answering.security.max_message_bytes,
                };
            }
            None => {}
        }
        ModelPair { name: Some(name.clone()), answering }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_a_name_and_two_nodes_or_is_the_programs_own() {
        let read = |text: &str| text.parse::<PairArg>();
        let pair = |name: &str, nodes: &[&str]| PairArg {
            name: name.to_owned(),
            nodes: nodes.iter().map(|&url| url.to_owned()).collect(),
        };
        assert_eq!(read("builtin"), Ok(pair("builtin", &[])));
        let two = pair("qwen-0.5b", &["http://a:1", "http://b:2"]);
        assert_eq!(read("qwen-0.5b=http://a:1,http://b:2"), Ok(two));
        let three = pair("spare", &["http://a:1", "http://c:3", "http://b:2"]);
        assert_eq!(read("spare=http://a:1, http://c:3, http://b:2"), Ok(three));
        for bad in ["", "qwen", "q=", "q=http://a:1", "q=http://a:1,", "=a,b", "../q=a,b", ".q=a,b"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        for taken in ["report=a,b", "builtin=a,b"] {
            assert!(read(taken).unwrap_err().contains("another name"), "{taken}");
        }
    }
}

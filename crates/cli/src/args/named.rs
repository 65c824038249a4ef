//! The nodes that are named on the command line, each with the token file that is given behind it.

use std::path::PathBuf;

use clap::{FromArgMatches, error::ErrorKind};

/// A node that is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedNode {
    /// Its address, or `@NAME` for one of the file of endpoints.
    pub place: String,
    /// The file with the token that this node asks for.
    pub token_file: Option<PathBuf>,
}

impl From<String> for NamedNode {
    /// A node without a token file.
    fn from(place: String) -> Self {
        NamedNode { place, token_file: None }
    }
}

/// The nodes that are named.
#[derive(Debug, Clone, Default)]
pub struct NamedNodes {
    /// The small nodes, in order.
    pub small: Vec<NamedNode>,
    /// The large nodes, in order.
    pub large: Vec<NamedNode>,
}

impl NamedNodes {
    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }
}

/// The flags that name nodes, as clap reads them: it does not say which token file is behind which node.
#[derive(Debug, clap::Args)]
struct Flags {
    /// A small node: its address, or @NAME from --endpoints. Give several: when one is lost in mid-answer, the next
    /// one goes on. [default: http://127.0.0.1:7101 with --large; the built-in pair without]
    #[arg(long, value_name = "NODE", help_heading = "Nodes")]
    small: Vec<String>,
    /// The token that the small node before this flag asks for, in a file. No other node is shown it.
    #[arg(long, value_name = "FILE", help_heading = "Nodes")]
    small_token_file: Vec<PathBuf>,
    /// A large node: its address, or @NAME from --endpoints. Give several: when one is gone or refuses, the next one
    /// goes on. When none is left, or a takeover is late, the small model goes on without it; without any the answer
    /// is degraded. [default: http://127.0.0.1:7102 with --small; the built-in pair without]
    #[arg(long, value_name = "NODE", help_heading = "Nodes")]
    large: Vec<String>,
    /// The token that the large node before this flag asks for, in a file. No other node is shown it.
    #[arg(long, value_name = "FILE", help_heading = "Nodes")]
    large_token_file: Vec<PathBuf>,
}

impl clap::Args for NamedNodes {
    fn augment_args(command: clap::Command) -> clap::Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Flags::augment_args_for_update(command)
    }
}

impl FromArgMatches for NamedNodes {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let Flags { small, small_token_file, large, large_token_file } =
            Flags::from_arg_matches(matches)?;
        let at = |id| matches.indices_of(id).into_iter().flatten();
        let small =
            join("small", at("small").zip(small), at("small_token_file").zip(small_token_file))?;
        let large =
            join("large", at("large").zip(large), at("large_token_file").zip(large_token_file))?;
        Ok(NamedNodes { small, large })
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = NamedNodes::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Gives each node the token file that stands between it and the next one. Both come with their place among the
/// arguments, in order.
fn join(
    role: &str,
    nodes: impl Iterator<Item = (usize, String)>,
    token_files: impl Iterator<Item = (usize, PathBuf)>,
) -> Result<Vec<NamedNode>, clap::Error> {
    let refused = |why: String| clap::Error::raw(ErrorKind::ArgumentConflict, why);
    let mut nodes: Vec<(usize, NamedNode)> =
        nodes.map(|(at, place)| (at, NamedNode::from(place))).collect();
    for (at, file) in token_files {
        let shown = file.display().to_string();
        let Some((_, node)) = nodes.iter_mut().rev().find(|(before, _)| *before < at) else {
            return Err(refused(format!(
                "--{role}-token-file {shown} has no --{role} before it: write --{role} ADDRESS \
                 --{role}-token-file {shown}"
            )));
        };
        if node.token_file.replace(file).is_some() {
            return Err(refused(format!(
                "--{role} {} has two token files: write one --{role}-token-file behind each \
                 --{role}",
                node.place
            )));
        }
    }
    Ok(nodes.into_iter().map(|(_, node)| node).collect())
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    fn read(flags: &[&str]) -> Result<NamedNodes, String> {
        let command = NamedNodes::augment_args(clap::Command::new("nodes").no_binary_name(true));
        let matches = command.try_get_matches_from(flags).map_err(|error| error.to_string())?;
        NamedNodes::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_file_belongs_to_the_node_before_it() {
        let node = |place: &str, file: Option<&str>| NamedNode {
            place: place.to_owned(),
            token_file: file.map(PathBuf::from),
        };
        let flags = "--small a --small b --small-token-file=tb --large=x --small @c \
                     --large-token-file tx --large y --small-token-file tc";
        let nodes = read(&flags.split_whitespace().collect::<Vec<_>>()).unwrap();
        let small = [node("a", None), node("b", Some("tb")), node("@c", Some("tc"))];
        assert_eq!(nodes.small, small);
        assert_eq!(nodes.large, [node("x", Some("tx")), node("y", None)]);
        assert!(read(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_token_file_without_a_node_is_a_mistake() {
        for (flags, words) in [
            ("--small-token-file t", "no --small before it: write --small ADDRESS"),
            ("--small-token-file t --small a", "no --small before it"),
            ("--small a --large-token-file t", "no --large before it"),
            ("--large-token-file t --large a", "no --large before it"),
            ("--small a --small-token-file t --small-token-file u", "--small a has two"),
        ] {
            let error = read(&flags.split(' ').collect::<Vec<_>>()).unwrap_err();
            assert!(error.contains(words), "{flags}: {error}");
        }
    }
}

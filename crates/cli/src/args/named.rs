//! The nodes that are named on the command line, each with the token file and the model that follow it.

use std::path::PathBuf;

use clap::{FromArgMatches, error::ErrorKind};

/// A named node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedNode {
    /// Its address, or `@NAME` for an endpoint of the file.
    pub place: String,
    /// The file with the token for this node.
    pub token_file: Option<PathBuf>,
    /// The model that it must serve.
    pub model: Option<String>,
}

impl From<String> for NamedNode {
    /// Returns a node with nothing but its place.
    fn from(place: String) -> Self {
        NamedNode { place, token_file: None, model: None }
    }
}

/// The named nodes of both roles.
#[derive(Debug, Clone, Default)]
pub struct NamedNodes {
    /// The small nodes.
    pub small: Vec<NamedNode>,
    /// The large nodes.
    pub large: Vec<NamedNode>,
}

impl NamedNodes {
    /// Returns whether no node is named.
    pub fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }
}

/// The flags that name nodes, as clap reads them. clap does not say which flag follows which node, so their positions
/// are compared below.
#[derive(Debug, clap::Args)]
struct Flags {
    /// A small node: its address, @NAME from --endpoints, dns://NAME:PORT for every address that a DNS name has, or
    /// openai+http://HOST:PORT/v1 for a server with OpenAI's completions API. Several form a pool: each answer gets the
    /// node that is expected to be quickest, and if that node is lost in mid-answer, another one continues
    /// (docs/operate.md). [default: http://127.0.0.1:7101 if --large is given, else the built-in pair]
    #[arg(long, value_name = "NODE", help_heading = "Nodes")]
    small: Vec<String>,
    /// A file with the token or API key for the small node before this flag. No other node is shown it.
    #[arg(long, value_name = "FILE", help_heading = "Nodes")]
    small_token_file: Vec<PathBuf>,
    /// The model that the small node before this flag must serve; a server with several models is asked for this one.
    #[arg(long, value_name = "NAME", help_heading = "Nodes")]
    small_model: Vec<String>,
    /// A large node, named as with --small; several form a pool too. When none is left, or a takeover is late, the
    /// small model continues without it; an answer without any large node is marked degraded. [default:
    /// http://127.0.0.1:7102 if --small is given, else the built-in pair]
    #[arg(long, value_name = "NODE", help_heading = "Nodes")]
    large: Vec<String>,
    /// A file with the token or API key for the large node before this flag. No other node is shown it.
    #[arg(long, value_name = "FILE", help_heading = "Nodes")]
    large_token_file: Vec<PathBuf>,
    /// The model that the large node before this flag must serve; a server with several models is asked for this one.
    #[arg(long, value_name = "NAME", help_heading = "Nodes")]
    large_model: Vec<String>,
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
        let flags = Flags::from_arg_matches(matches)?;
        let at = |id| matches.indices_of(id).into_iter().flatten();
        let mut small = NodesSoFar::new("small", at("small").zip(flags.small));
        small.token_files(at("small_token_file").zip(flags.small_token_file))?;
        small.models(at("small_model").zip(flags.small_model))?;
        let mut large = NodesSoFar::new("large", at("large").zip(flags.large));
        large.token_files(at("large_token_file").zip(flags.large_token_file))?;
        large.models(at("large_model").zip(flags.large_model))?;
        Ok(NamedNodes { small: small.nodes(), large: large.nodes() })
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = NamedNodes::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The nodes of a role, each with its position among the arguments, while the flags that follow are assigned to them.
struct NodesSoFar {
    role: &'static str,
    nodes: Vec<(usize, NamedNode)>,
}

impl NodesSoFar {
    fn new(role: &'static str, nodes: impl Iterator<Item = (usize, String)>) -> Self {
        NodesSoFar { role, nodes: nodes.map(|(at, place)| (at, place.into())).collect() }
    }

    fn nodes(self) -> Vec<NamedNode> {
        self.nodes.into_iter().map(|(_, node)| node).collect()
    }

    fn token_files(
        &mut self,
        files: impl Iterator<Item = (usize, PathBuf)>,
    ) -> Result<(), clap::Error> {
        for (at, file) in files {
            let shown = file.display().to_string();
            let (node, has) =
                self.before(at, "token-file", &shown, |node| node.token_file.is_some())?;
            if has {
                return Err(self.twice(node, "token-file"));
            }
            self.nodes[node].1.token_file = Some(file);
        }
        Ok(())
    }

    fn models(&mut self, models: impl Iterator<Item = (usize, String)>) -> Result<(), clap::Error> {
        for (at, model) in models {
            let (node, has) = self.before(at, "model", &model, |node| node.model.is_some())?;
            if has {
                return Err(self.twice(node, "model"));
            }
            self.nodes[node].1.model = Some(model);
        }
        Ok(())
    }

    /// Returns the node before a flag, and whether it has such a value already.
    fn before(
        &self,
        at: usize,
        flag: &str,
        value: &str,
        has: impl Fn(&NamedNode) -> bool,
    ) -> Result<(usize, bool), clap::Error> {
        let role = self.role;
        let node = self.nodes.iter().rposition(|(before, _)| *before < at).ok_or_else(|| {
            refused(format!(
                "--{role}-{flag} {value} has no --{role} before it: write --{role} ADDRESS --{role}-{flag} {value}"
            ))
        })?;
        Ok((node, has(&self.nodes[node].1)))
    }

    fn twice(&self, node: usize, flag: &str) -> clap::Error {
        let (role, place) = (self.role, &self.nodes[node].1.place);
        let what = flag.replace('-', " ");
        refused(format!(
            "--{role} {place} has two {what}s: write one --{role}-{flag} after each --{role}"
        ))
    }
}

fn refused(why: String) -> clap::Error {
    clap::Error::raw(ErrorKind::ArgumentConflict, why)
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
            model: None,
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
    fn a_model_belongs_to_the_node_before_it() {
        let flags = "--large a --large-model one --large b --large c --large-model three";
        let nodes = read(&flags.split_whitespace().collect::<Vec<_>>()).unwrap();
        let models: Vec<_> = nodes.large.iter().map(|node| node.model.as_deref()).collect();
        assert_eq!(models, [Some("one"), None, Some("three")]);
    }

    #[test]
    fn a_flag_without_its_node_is_a_mistake() {
        for (flags, words) in [
            ("--small-token-file t", "no --small before it: write --small ADDRESS"),
            ("--small-token-file t --small a", "no --small before it"),
            ("--small a --large-token-file t", "no --large before it"),
            ("--large-token-file t --large a", "no --large before it"),
            (
                "--small a --small-token-file t --small-token-file u",
                "--small a has two token files",
            ),
            ("--large-model m --large a", "no --large before it: write --large ADDRESS"),
            ("--large a --large-model m --large-model n", "--large a has two models"),
        ] {
            let error = read(&flags.split(' ').collect::<Vec<_>>()).unwrap_err();
            assert!(error.contains(words), "{flags}: {error}");
        }
    }
}

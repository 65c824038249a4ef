//! Raw arguments become one validated configuration, once.

use std::{
    ffi::OsStr,
    io::{IsTerminal, Read, Write},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use answer::question::{Node, Question, Settings};
use thinking::{
    policy::{Limited, PolicyKind, PolicySpec},
    thinker::{BadSampling, Prompt, Sampling},
};
use transport::{Address, Remote, RemoteConfig, Token};

use super::{
    args::{AskArgs, NamedNode, NodesArgs, PolicyArgs, SecurityArgs, When, WritingArgs},
    builtin::{self, Builtin, Pair},
    endpoint::{Endpoint, Endpoints},
    exit::{Exit, Stop},
    policy,
};
use crate::render::Style;

/// Where a small node listens unless told otherwise.
pub(super) const DEFAULT_SMALL: &str = "http://127.0.0.1:7101";
/// Where a large node listens unless told otherwise.
pub(super) const DEFAULT_LARGE: &str = "http://127.0.0.1:7102";
/// The variable that holds the token when no file is given.
const TOKEN_VARIABLE: &str = "SPECTHINK_TOKEN";

/// Everything `ask` needs, checked. Nothing is connected yet.
pub(super) struct Config {
    pub(super) question: Question,
    pub(super) nodes: Nodes,
    pub(super) policy: Limited,
    /// What it was made from, for the journal.
    pub(super) spec: PolicySpec,
    pub(super) settings: Settings,
    pub(super) journal: Option<PathBuf>,
    pub(super) json: bool,
    pub(super) fail_degraded: bool,
    pub(super) style: Style,
}

/// The nodes, not yet connected to.
pub(super) struct Nodes {
    pub(super) small: Vec<Node>,
    pub(super) large: Option<Node>,
    pub(super) origin: Origin,
}

/// Where the nodes' addresses come from.
pub enum Origin {
    /// The user named the small node.
    Named,
    /// The user named only the large node.
    SmallUsual,
    /// The user named none.
    Usual,
    /// The user named none: the nodes in this process, and what is to be said of them.
    Builtin {
        /// Stops them when it is dropped.
        _pair: Pair,
        /// What is to be said.
        banner: String,
    },
}

impl Origin {
    /// Says who answers when it is the built-in pair.
    pub fn announce(&self) {
        if let Origin::Builtin { banner, .. } = self {
            // Standard error may be gone; the answer is not less for it.
            let _ = writeln!(std::io::stderr(), "{banner}");
        }
    }
}

impl Config {
    pub(super) fn new(args: AskArgs, builtin: Option<&dyn Builtin>) -> Result<Config, Stop> {
        let AskArgs { nodes, writing, .. } = &args;
        let sampling = sampling(writing)?;
        let spec = policy::spec(&args.policy)?;
        // Before the question: what is wrong with an address shows before anybody has typed one.
        let wants_large = args.policy.policy.uses_large();
        let connected = Places::new(nodes, wants_large, &args.security, builtin)?.connect()?;
        let text = question_text(&args.question, args.raw, args.security.max_message_bytes)?;
        let question = Question {
            id: question_id(),
            prompt: if args.raw {
                Prompt::Raw(text)
            } else {
                Prompt::question(text, writing.system.clone())
            },
            sampling,
            seed: args.seed.seed,
            max_tokens: writing.max_tokens,
            deadline: writing.deadline.or(spec.deadline()),
        };
        let policy = spec.build(question.seed, question.max_tokens);
        Ok(Config {
            question,
            nodes: connected,
            policy: policy.map_err(|error| Stop::new(Exit::Usage, error))?,
            settings: settings(nodes, &args.policy),
            spec,
            journal: args.journal,
            json: args.json,
            fail_degraded: args.fail_degraded,
            style: style(args.look.color),
        })
    }
}

/// Where the nodes are, and how they are reached.
pub struct Places {
    /// The small nodes, in order.
    pub small: Vec<RemoteConfig>,
    /// The large node, where there is a use for it.
    pub large: Option<RemoteConfig>,
    /// Where the addresses come from; keeps the built-in pair running.
    pub origin: Origin,
}

impl Places {
    /// The nodes that are named, the built-in pair, or those at the usual addresses. Starts the pair; connects to
    /// nothing yet.
    ///
    /// # Errors
    /// When an address or a credential does not work, or the pair cannot be started.
    pub fn new(
        nodes: &NodesArgs,
        wants_large: bool,
        security: &SecurityArgs,
        builtin: Option<&dyn Builtin>,
    ) -> Result<Places, Stop> {
        if let Some(builtin) = builtin::answering(builtin, nodes) {
            let pair = builtin::start(builtin, wants_large, security)?;
            let place =
                |url: &String| Endpoint::at(parsed(url)?).remote(security.max_message_bytes);
            return Ok(Places {
                small: vec![place(&pair.small)?],
                large: pair.large.as_ref().map(place).transpose()?,
                origin: Origin::Builtin { _pair: pair, banner: builtin::banner(builtin) },
            });
        }
        let named = &nodes.named;
        let (usual, origin) = match (named.small.is_empty(), named.large.is_some()) {
            (false, _) => (None, Origin::Named),
            (true, true) => (Some(NamedNode::from(DEFAULT_SMALL.to_owned())), Origin::SmallUsual),
            (true, false) => (Some(NamedNode::from(DEFAULT_SMALL.to_owned())), Origin::Usual),
        };
        let endpoints = nodes.endpoints.as_deref().map(Endpoints::read).transpose()?;
        let reach = Reach { endpoints, security };
        // One secret is for one node: the large one's is not shown to a small one.
        let has_large = wants_large || named.large.is_some();
        let small = named.small.iter().chain(&usual).enumerate();
        let small = small.map(|(index, node)| reach.remote(node, !has_large && index == 0));
        let small = small.collect::<Result<_, Stop>>()?;
        let usual = NamedNode::from(DEFAULT_LARGE.to_owned());
        let large = named.large.as_ref().unwrap_or(&usual);
        let large = wants_large.then(|| reach.remote(large, true)).transpose()?;
        Ok(Places { small, large, origin })
    }

    pub(super) fn connect(self) -> Result<Nodes, Stop> {
        Ok(Nodes {
            small: self.small.into_iter().map(connect).collect::<Result<_, Stop>>()?,
            large: self.large.map(connect).transpose()?,
            origin: self.origin,
        })
    }
}

/// How the nodes are treated.
pub(super) fn settings(nodes: &NodesArgs, policy: &PolicyArgs) -> Settings {
    Settings {
        // The small model has no part in `large-only`: it shall not read along.
        keep_warm: !nodes.no_keep_warm && policy.policy != PolicyKind::LargeOnly,
        resend: policy.resend,
        small_timeout: nodes.small_timeout,
        large_timeout: nodes.large_timeout,
        rejoin_after: Some(nodes.rejoin_after).filter(|after| !after.is_zero()),
    }
}

/// Colour or marks: what the user wants, else what standard output is.
pub(super) fn style(color: When) -> Style {
    let colour = match color {
        When::Always => true,
        When::Never => false,
        When::Auto => flags::takes_colour(std::io::stdout().is_terminal()),
    };
    if colour { Style::Colour } else { Style::Marks }
}

pub(super) fn sampling(args: &WritingArgs) -> Result<Sampling, Stop> {
    let sampling = Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
    };
    sampling.check().map_err(|BadSampling { name, value, must_be }| {
        let flag = name.replace('_', "-");
        Stop::new(Exit::Usage, format!("--{flag} is {value}: it must be {must_be}"))
    })?;
    Ok(sampling)
}

/// The question's text: from the argument, or from standard input, at most `limit_bytes` of it.
fn question_text(question: &OsStr, raw: bool, limit_bytes: u64) -> Result<String, Stop> {
    let (bytes, place) = if question == "-" {
        (question_bytes(std::io::stdin().lock(), limit_bytes)?, "on standard input")
    } else {
        (question.as_encoded_bytes().to_vec(), "in the arguments")
    };
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let mend = "convert it to UTF-8 first";
        Stop::new(Exit::Encoding, format!("the question {place} is not UTF-8 (byte {at}): {mend}"))
    })?;
    if text.trim().is_empty() {
        let message = format!("the question {place} is empty: write what is to be answered");
        return Err(Stop::new(Exit::Question, message));
    }
    if !raw {
        text.truncate(text.trim_end().len());
    }
    Ok(text)
}

fn question_bytes(input: impl Read, limit_bytes: u64) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    input.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(|why| {
        let mend = "give it as an argument, or redirect a file that can be read";
        let message = format!("cannot read the question from standard input: {why}; {mend}");
        Stop::new(Exit::Question, message)
    })?;
    if bytes.len() as u64 > limit_bytes {
        let message = format!(
            "the question on standard input is longer than a message of {limit_bytes} bytes: \
             shorten it, or raise --max-message-bytes here and on the nodes"
        );
        return Err(Stop::new(Exit::MessageTooLarge, message));
    }
    Ok(bytes)
}

/// Tells one question from another in the nodes' logs.
pub(super) fn question_id() -> String {
    #[expect(clippy::disallowed_methods, reason = "the run begins here")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    format!("{:x}-{:x}", now.as_micros(), std::process::id())
}

/// How nodes are reached that somebody else runs.
struct Reach<'a> {
    /// What names stand for.
    endpoints: Option<Endpoints>,
    security: &'a SecurityArgs,
}

impl Reach<'_> {
    /// The connection to a node. The one token of `--token-file` or the variable is only for a node that
    /// `takes_shared_token`.
    fn remote(&self, node: &NamedNode, takes_shared_token: bool) -> Result<RemoteConfig, Stop> {
        let security = self.security;
        let mut endpoint = self.endpoint(&node.place)?;
        // A name whose table says how it is secured is secured so and in no other way.
        let takes_flags = !endpoint.is_secured();
        if takes_flags {
            endpoint.ca = security.tls_ca.clone();
            endpoint.client_cert = security.tls_cert.clone();
            endpoint.client_key = security.tls_key.clone();
            endpoint.insecure = Some(security.insecure);
        }
        endpoint.token_file = node.token_file.clone().or(endpoint.token_file);
        let takes_shared_token = takes_shared_token && takes_flags && endpoint.token_file.is_none();
        if takes_shared_token {
            endpoint.token_file = security.token_file.clone();
        }
        let mut config = endpoint.remote(security.max_message_bytes)?;
        if takes_shared_token && config.token.is_none() {
            config.token = token_of_variable()?;
        }
        Ok(config)
    }

    /// What an address, or `@NAME`, stands for.
    fn endpoint(&self, place: &str) -> Result<Endpoint, Stop> {
        match (place.strip_prefix('@'), &self.endpoints) {
            (None, _) => Ok(Endpoint::at(parsed(place)?)),
            (Some(name), Some(endpoints)) => Ok(endpoints.get(name)?.clone()),
            (Some(_), None) => {
                let message = format!(
                    "{place} is a name, and nothing says what it stands for: give --endpoints FILE too"
                );
                Err(Stop::new(Exit::Usage, message))
            }
        }
    }
}

fn parsed(address: &str) -> Result<Address, Stop> {
    address.parse().map_err(|error| Stop::new(Exit::Usage, error))
}

fn token_of_variable() -> Result<Option<Token>, Stop> {
    let text = std::env::var(TOKEN_VARIABLE).unwrap_or_default();
    let token = (!text.is_empty()).then(|| Token::new(&text)).transpose();
    token.map_err(|error| credentials(&format!("the variable {TOKEN_VARIABLE}: {error}")))
}

fn credentials(error: &dyn std::fmt::Display) -> Stop {
    Stop::new(Exit::Credentials, error)
}

/// A node to ask, named by its address; connects to nothing yet.
///
/// # Errors
/// When the configuration cannot work.
pub fn connect(config: RemoteConfig) -> Result<Node, Stop> {
    let name = config.address.to_string();
    Ok(Node::new(name, Arc::new(remote(config)?)))
}

/// A node by its configuration; connects to nothing yet.
///
/// # Errors
/// When the configuration cannot work.
pub fn remote(config: RemoteConfig) -> Result<Remote, Stop> {
    Remote::new(config).map_err(|error| match error {
        transport::RemoteError::Plaintext { .. } => Stop::new(Exit::Usage, error),
        transport::RemoteError::Tls(_) => credentials(&error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_may_be_as_long_as_a_message() {
        assert_eq!(question_bytes(&b"12345"[..], 5).unwrap(), b"12345");
        let stop = question_bytes(std::io::repeat(b'x'), 5).unwrap_err();
        assert_eq!(stop.exit, Exit::MessageTooLarge);
        assert!(stop.to_string().contains("--max-message-bytes"), "{stop}");
    }
}

//! Turns the raw arguments of `ask` into one validated configuration.

use std::{
    ffi::OsStr,
    io::{IsTerminal, Read},
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use answer::{Question, Settings};
use cli::{
    AnsweringArgs, CliError, Exit, NodeEndpoints, Nodes, known_prices, policy_spec, sampling,
    settings,
};
use pair::Builtin;
use thinking::{
    beginning::AnswerBeginning,
    policy::{Limited, PolicySpec, TokenPrices},
    stops::StopTexts,
    thinker::Prompt,
};

use crate::{
    args::{AskArgs, When},
    render::{Look, Style},
};

/// Everything `ask` needs, checked. Nothing is connected yet.
pub(crate) struct Config {
    pub(crate) question: Question,
    pub(crate) nodes: Nodes,
    pub(crate) policy: Limited,
    /// What the policy was built from, for the journal.
    pub(crate) spec: PolicySpec,
    pub(crate) settings: Settings,
    pub(crate) journal: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) fail_degraded: bool,
    pub(crate) look: Look,
    /// What tokens cost, if known.
    pub(crate) prices: Option<TokenPrices>,
}

impl Config {
    pub(crate) fn new(args: AskArgs, builtin: Option<&dyn Builtin>) -> Result<Config, CliError> {
        let AnsweringArgs { nodes, writing, security } = &args.answering;
        let sampling = sampling(writing)?;
        let spec = policy_spec(&args.policy, nodes)?;
        let prices = known_prices(&args.policy, nodes)?;
        // Before the question is read, so that a wrong address is reported before anybody has typed a question.
        let wants_large = args.policy.policy.uses_large();
        let connected = NodeEndpoints::new(
            &args.answering.nodes,
            &args.answering.security,
            wants_large,
            builtin,
        )?
        .connect()?;
        let text = question_text(&args.question, args.raw, security.max_message_bytes)?;
        let question = Question {
            id: question_id(),
            prompt: if args.raw {
                Prompt::Raw(text)
            } else {
                Prompt::question(text, writing.system.clone())
            },
            sampling,
            seed: args.seed.seed,
            beginning: AnswerBeginning::default(),
            max_tokens: writing.max_tokens,
            stop: StopTexts { texts: args.stop, in_thought: args.raw },
            deadline: writing.deadline.or(spec.deadline()),
        };
        let policy = spec.build(question.seed, question.max_tokens);
        Ok(Config {
            question,
            nodes: connected,
            policy: policy.map_err(|error| CliError::new(Exit::Usage, error))?,
            settings: settings(nodes, &args.policy),
            spec,
            journal: args.journal,
            json: args.json,
            fail_degraded: args.fail_degraded,
            look: look(args.look.color),
            prices,
        })
    }
}

/// Returns whether to colour or to mark: what the user asked for, or what suits standard output. What could steer a
/// terminal is disarmed with colour and on a terminal.
pub(crate) fn look(color: When) -> Look {
    look_on(color, std::io::stdout().is_terminal())
}

fn look_on(color: When, is_terminal: bool) -> Look {
    let colour = match color {
        When::Always => true,
        When::Never => false,
        When::Auto => flags::takes_colour(is_terminal),
    };
    let style = if colour { Style::Colour } else { Style::Marks };
    Look { style, disarmed: colour || is_terminal }
}

/// Returns the question's text, from the argument or from standard input (at most `limit_bytes` of it).
fn question_text(question: &OsStr, raw: bool, limit_bytes: u64) -> Result<String, CliError> {
    let (bytes, place) = if question == "-" {
        (question_bytes(std::io::stdin().lock(), limit_bytes)?, "on standard input")
    } else {
        (question.as_encoded_bytes().to_vec(), "in the arguments")
    };
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let remedy = "convert it to UTF-8 first";
        CliError::new(
            Exit::Encoding,
            format!("the question {place} is not UTF-8 (byte {at}): {remedy}"),
        )
    })?;
    if text.trim().is_empty() {
        let message = format!("the question {place} is empty: write a question");
        return Err(CliError::new(Exit::Question, message));
    }
    if !raw {
        text.truncate(text.trim_end().len());
    }
    Ok(text)
}

fn question_bytes(input: impl Read, limit_bytes: u64) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    input.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(|why| {
        let remedy = "give it as an argument, or redirect a readable file";
        let message = format!("cannot read the question from standard input: {why}; {remedy}");
        CliError::new(Exit::Question, message)
    })?;
    if bytes.len() as u64 > limit_bytes {
        let message = format!(
            "the question on standard input is longer than a message of {limit_bytes} bytes: \
             shorten it, or raise --max-message-bytes here and on the nodes"
        );
        return Err(CliError::new(Exit::MessageTooLarge, message));
    }
    Ok(bytes)
}

/// Returns an id that distinguishes this question in the nodes' logs.
pub(crate) fn question_id() -> String {
    #[expect(clippy::disallowed_methods, reason = "the run begins here")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    format!("{:x}-{:x}", now.as_micros(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_guarded_whether_it_takes_colour_or_not() {
        for (color, is_terminal, style, disarmed) in [
            (When::Always, true, Style::Colour, true),
            (When::Never, true, Style::Marks, true),
            (When::Always, false, Style::Colour, true),
            (When::Never, false, Style::Marks, false),
            (When::Auto, false, Style::Marks, false),
        ] {
            assert_eq!(look_on(color, is_terminal), Look { style, disarmed }, "{color:?}");
        }
        assert!(look_on(When::Auto, true).disarmed, "whatever NO_COLOR and TERM are");
    }

    #[test]
    fn a_question_may_be_as_long_as_a_message() {
        assert_eq!(question_bytes(&b"12345"[..], 5).unwrap(), b"12345");
        let error = question_bytes(std::io::repeat(b'x'), 5).unwrap_err();
        assert_eq!(error.exit, Exit::MessageTooLarge);
        assert!(error.to_string().contains("--max-message-bytes"), "{error}");
    }
}

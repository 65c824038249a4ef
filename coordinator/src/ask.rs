//! `specthink ask`: one question, answered live.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Stdout, Write},
    sync::Arc,
};

use answer::{
    Candidates, Ended, Node, Outcome,
    account::Summary,
    answer,
    journal::{Header, JournalWriter},
    prices,
    progress::{Observer, Stamped},
    question::Run,
};
use cli::{
    CliError, DEFAULT_LARGE, DEFAULT_SMALL, EndpointSource, Exit, Nodes, Watching, until_enough,
    written,
};
use serde::Serialize;
use thinking::{
    policy::{End, Role, TokenPrices, Why},
    shown::visible_json,
    thinker::{Code, Failure, Noticed},
    transcript::Span,
};
use tokio::sync::Notify;

use crate::{
    config::Config,
    render::{Renderer, write_summary},
};

pub(crate) fn run(config: Config) -> Result<Exit, CliError> {
    until_enough(async |enough| ask(config, enough).await)
}

async fn ask(mut config: Config, enough: Arc<Notify>) -> Result<Exit, CliError> {
    let journal_error = |error| CliError::new(Exit::Journal, error);
    config.settings = config.nodes.hedged(config.settings);
    let Nodes { small, large, source, .. } = &config.nodes;
    source.announce();
    config.nodes.settle_pools(Watching::Several).await?;
    let kind = config.spec.kind();
    let small = small.candidates(|card| kind.fits(Role::Small, card));
    let large = large.candidates(|card| kind.fits(Role::Large, card));
    let small_nodes = small.nodes.len();
    let journal = match &config.journal {
        Some(path) => {
            let header = header(&config, &small, &large);
            Some(JournalWriter::create(path, &header).map_err(journal_error)?)
        }
        None => None,
    };
    let mut screen = Screen {
        journal,
        renderer: (!config.json).then(|| Renderer::new(io::stdout(), config.look)),
        enough: Arc::clone(&enough),
    };
    let run = Run {
        question: config.question,
        small,
        large,
        policy: config.policy,
        settings: config.settings,
    };
    let outcome = answer(run, &mut screen, enough.notified()).await;
    let reader_left = screen.renderer.as_ref().is_some_and(Renderer::is_broken);
    if let Some(renderer) = screen.renderer {
        written(renderer.finish())?;
        // Standard error may be closed too; the answer is complete all the same.
        if began(&outcome) {
            let prices = config.prices.as_ref();
            let _ = write_summary(&mut io::stderr().lock(), &outcome.summary, prices);
        }
    } else {
        written(write_json(&outcome, config.prices.as_ref(), config.look.disarmed))?;
    }
    let journalled = screen.journal.map(JournalWriter::finish).transpose();
    let exit = exit(&outcome, reader_left, source, (small_nodes, config.journal.is_some()))?;
    journalled.map_err(journal_error)?;
    match exit {
        Exit::Ok if config.fail_degraded && outcome.summary.degraded.is_some() => {
            Ok(Exit::Degraded)
        }
        exit => Ok(exit),
    }
}

fn header(config: &Config, small: &Candidates, large: &Candidates) -> Header {
    let name = |node: &Node| node.name.clone();
    let (small, large) = (small.nodes.iter().map(name).collect(), large.nodes.iter().map(name));
    Header::new(&config.question, config.spec.clone(), config.settings, small, large)
}

/// What observes the answer: the journal and the screen.
struct Screen {
    journal: Option<JournalWriter<File>>,
    renderer: Option<Renderer<Stdout>>,
    /// Notified when nobody reads the output any more.
    enough: Arc<Notify>,
}

impl Observer for Screen {
    fn see(&mut self, stamped: &Stamped) {
        // The journal first, so that what was shown is in it, except for what it still gathers for a line.
        if let Some(journal) = &mut self.journal {
            journal.see(stamped);
        }
        if let Some(renderer) = &mut self.renderer {
            renderer.see(stamped);
            if renderer.is_broken() {
                self.enough.notify_one();
            }
        }
    }
}

/// Returns whether a small node ever accepted the question; if not, there is nothing to summarise.
fn began(outcome: &Outcome) -> bool {
    !outcome.summary.small.model.is_empty()
}

/// Returns the exit code of an outcome, or the error that it amounts to.
fn exit(
    outcome: &Outcome,
    reader_left: bool,
    source: &EndpointSource,
    (small_nodes, journal): (usize, bool),
) -> Result<Exit, CliError> {
    let (node, failure) = match &outcome.ended {
        Ended::Complete(End::Cancelled) if reader_left => return Ok(Exit::Ok),
        Ended::Complete(End::Cancelled) => return Ok(Exit::Cancelled),
        Ended::Complete(End::Deadline) => return Ok(Exit::Deadline),
        Ended::Complete(
            End::EndOfText | End::MaxTokens | End::ContextFull | End::Loop | End::Stop,
        ) => return Ok(Exit::Ok),
        Ended::Failed { node, failure } => (node, failure),
    };
    let CliError { exit, .. } = CliError::from(failure);
    // A node that did answer has said in its failure what is wrong.
    let nobody_there = failure.noticed == Noticed::NobodyThere;
    if !began(outcome) && nobody_there {
        return Err(CliError::new(exit, nobody(source, failure)));
    }
    let exit = match exit {
        Exit::Unreachable if began(outcome) => Exit::Lost,
        exit => exit,
    };
    let error = CliError::from(failure);
    let has_text = !outcome.transcript.spans().is_empty();
    let kept = if has_text && journal { "; the text so far is in the journal" } else { "" };
    let remedy = remedy(failure, has_text, small_nodes);
    let named = named(outcome.summary.part_of(node), node, failure);
    Err(CliError::new(exit, format!("{named}: {error}{kept}{remedy}")))
}

/// Returns a hint if another small node would have helped, given how many there were.
fn remedy(failure: &Failure, has_text: bool, small_nodes: usize) -> &'static str {
    match failure.code {
        // These are failures of one node, not of the question or of a deadline.
        Code::Unavailable | Code::Internal | Code::Overloaded if has_text && small_nodes == 1 => {
            "; a second --small node would have continued the answer"
        }
        _ => "",
    }
}

/// Returns how to call a failed node in front of its failure.
fn named(part: Role, node: &str, failure: &Failure) -> String {
    if failure.names_thinker() { format!("{part} node") } else { format!("{part} node {node}") }
}

/// Returns the message for when no small node can be reached.
fn nobody(source: &EndpointSource, failure: &Failure) -> String {
    match source {
        EndpointSource::Named => {
            format!("small node: {failure}; start it with `small-node --model SMALL`")
        }
        EndpointSource::SmallUsual => format!(
            "no node answers on {DEFAULT_SMALL}, the default for the small node when only --large is given: \
             start `small-node --model SMALL` there, or name another node with --small"
        ),
        EndpointSource::Usual => format!(
            "no node answers on {DEFAULT_SMALL}: get two models (GGUF files or Hugging Face \
             names, see docs/models.md), start `small-node --model SMALL` and `large-node \
             --model LARGE` ({DEFAULT_LARGE}), and ask again; or name other nodes with --small \
             and --large"
        ),
        EndpointSource::Builtin { .. } => format!(
            "the built-in small node does not answer: {failure}; ask again, or name other nodes \
             with --small and --large"
        ),
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    answer: String,
    spans: &'a [Span],
    /// The figures that follow from the summary.
    takeover_share: f64,
    takeovers_by_reason: BTreeMap<Why, u32>,
    network_us: u64,
    /// What its tokens cost, if prices are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<f64>,
    summary: &'a Summary,
}

fn write_json(outcome: &Outcome, prices: Option<&TokenPrices>, disarmed: bool) -> io::Result<()> {
    let summary = &outcome.summary;
    let printed = Printed {
        answer: outcome.text(),
        spans: outcome.transcript.spans(),
        takeover_share: summary.takeover_share(),
        takeovers_by_reason: summary.takeovers_by_reason(),
        network_us: summary.time.network_us(),
        cost: prices.map(|prices| prices::cost(prices, summary)),
        summary,
    };
    let json = serde_json::to_string(&printed)?;
    let json = if disarmed { visible_json(&json) } else { json };
    let mut out = io::stdout().lock();
    writeln!(out, "{json}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_small_node_is_advised_where_it_would_have_helped() {
        for (code, has_text, small_nodes, helps) in [
            (Code::Unavailable, true, 1, true),
            (Code::Internal, true, 1, true),
            (Code::Unavailable, true, 2, false),
            (Code::Unavailable, false, 1, false),
            (Code::ContextTooLong, true, 1, false),
            (Code::DeadlineExceeded, true, 1, false),
            (Code::MessageTooLarge, true, 1, false),
            (Code::UnsupportedVersion, true, 1, false),
        ] {
            let remedy = remedy(&Failure::new(code, "it failed"), has_text, small_nodes);
            assert_eq!(
                remedy.contains("second --small"),
                helps,
                "{code:?} {has_text} {small_nodes}"
            );
        }
    }

    #[test]
    fn a_node_is_named_once() {
        for (noticed, message, name) in [
            (Noticed::NobodyThere, "cannot reach http://a:1", "node"),
            (Noticed::ByThinker, "no room : 64 sessions", "node http://a:1"),
        ] {
            let failure = Failure { noticed, ..Failure::new(Code::Unavailable, message) };
            for part in [Role::Small, Role::Large] {
                let expected = format!("{part} {name}");
                assert_eq!(named(part, "http://a:1", &failure), expected, "{message}");
            }
        }
    }
}

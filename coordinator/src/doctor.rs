//! `specthink doctor`: checks what works between this machine and its nodes, what does not, and how to fix it.

mod machine;
mod node;

use std::io::{self, Write as _};

use cli::{
    CliError, Examination, Exit, NodeEndpoints, NodeWay, NodesArgs, RemoteConfig, SecurityArgs,
    until_enough, written,
};
use pair::Builtin;
use serde::Serialize;
use thinking::{policy::Role, thinker::ModelCard};

const AFTER_HELP: &str = "\
Examples:
  The two nodes of this machine:
    specthink doctor --small http://127.0.0.1:7101 --large http://127.0.0.1:7102
  The connection to a GPU server, with mutual TLS:
    specthink doctor --large https://gpu.example.org:7102 --tls-ca ca.pem --tls-cert laptop.pem --tls-key laptop.key
  For a script:
    specthink doctor --endpoints nodes.toml --large @gpu --json

Checks the nodes that are named, or the built-in pair if none is. A line that begins with FAIL says what to do, and
makes the command exit with code 24. A note is worth knowing, but not a fault.";

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    nodes: NodesArgs,
    #[command(flatten)]
    security: SecurityArgs,
    /// Print one JSON object.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Note,
    Fail,
}

/// One thing that was checked.
#[derive(Debug, Serialize)]
struct Check {
    /// What it is about: a node, all nodes, or this machine.
    about: String,
    check: &'static str,
    state: State,
    says: String,
    /// What to do, if `says` does not say it already.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

impl Check {
    fn new(about: &str, check: &'static str, state: State, says: impl Into<String>) -> Self {
        Check { about: about.to_owned(), check, state, says: says.into(), remedy: None }
    }

    fn ok(about: &str, check: &'static str, says: impl Into<String>) -> Self {
        Check::new(about, check, State::Ok, says)
    }

    fn note(about: &str, check: &'static str, says: impl Into<String>) -> Self {
        Check::new(about, check, State::Note, says)
    }

    fn fail(about: &str, check: &'static str, says: impl Into<String>) -> Self {
        Check::new(about, check, State::Fail, says)
    }

    fn remedy(self, remedy: &'static str) -> Self {
        Check { remedy: Some(remedy), ..self }
    }
}

/// All checks, for `--json`.
#[derive(Debug, Serialize)]
struct Findings<'a> {
    program: &'static str,
    ok: bool,
    checks: &'a [Check],
}

pub(crate) fn run(args: DoctorArgs, builtin: Option<&dyn Builtin>) -> Result<Exit, CliError> {
    let named = &args.nodes.named;
    let (has_small, has_large) = (!named.small.is_empty(), !named.large.is_empty());
    let is_builtin = !has_small && !has_large;
    let endpoints =
        NodeEndpoints::new(&args.nodes, &args.security, has_large || is_builtin, builtin)?;
    let looks_at = |role: Role| match role {
        Role::Small => has_small || is_builtin,
        Role::Large => has_large || is_builtin,
    };
    until_enough(async |enough| {
        let looking = look(endpoints, looks_at);
        let checks = tokio::select! {
            checks = looking => checks?,
            () = enough.notified() => return Ok(Exit::Cancelled),
        };
        written(tell(&checks, args.json))?;
        let fails = checks.iter().any(|check| check.state == State::Fail);
        Ok(if fails { Exit::Unhealthy } else { Exit::Ok })
    })
}

/// Checks the nodes, one after the other, and this machine.
async fn look(
    endpoints: NodeEndpoints,
    looks_at: impl Fn(Role) -> bool,
) -> Result<Vec<Check>, CliError> {
    let NodeEndpoints { small, large, source, .. } = endpoints;
    source.announce();
    let mut checks = Vec::new();
    let mut cards: Vec<(Role, ModelCard)> = Vec::new();
    let (mut small_servers, mut large_servers) = (Vec::new(), Vec::new());
    for (role, places) in [(Role::Small, small), (Role::Large, large)] {
        for place in places.into_iter().filter(|_| looks_at(role)) {
            match &place.way {
                NodeWay::Node(config) => examine(role, config, &mut checks, &mut cards).await,
                NodeWay::Name(config) => match config.each_address().await {
                    Ok(configs) => {
                        for config in configs {
                            examine(role, &config, &mut checks, &mut cards).await;
                        }
                    }
                    Err(why) => {
                        let about = format!("{role} nodes {}", place.label());
                        checks.push(Check::fail(&about, "name", why));
                    }
                },
                NodeWay::Server(..) if role == Role::Small => small_servers.push(place),
                NodeWay::Server(..) => large_servers.push(place),
            }
        }
    }
    let servers = NodeEndpoints::of(small_servers, large_servers, source).connect()?;
    for role in [Role::Small, Role::Large] {
        for (name, server) in servers.servers(role) {
            let about = format!("{role} server {name}");
            checks.push(match server.answers().await {
                Ok(()) => Check::ok(&about, "server", "answers"),
                Err(failure) => Check::fail(&about, "server", failure.to_string()),
            });
        }
    }
    checks.extend(node::agreement(&cards));
    checks.extend(machine::checks().await);
    Ok(checks)
}

/// Checks one node.
async fn examine(
    role: Role,
    config: &RemoteConfig,
    checks: &mut Vec<Check>,
    cards: &mut Vec<(Role, ModelCard)>,
) {
    let about = format!("{role} node {}", config.label());
    let found: Examination = config.examine().await;
    checks.extend(node::checks(&about, &config.address, &found));
    if let Some(Ok(description)) = found.description {
        cards.push((role, description.card));
    }
}

fn tell(checks: &[Check], is_json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let fails = checks.iter().filter(|check| check.state == State::Fail).count();
    if is_json {
        let program = concat!("specthink ", env!("CARGO_PKG_VERSION"));
        let findings = Findings { program, ok: fails == 0, checks };
        serde_json::to_writer_pretty(&mut out, &findings).map_err(io::Error::other)?;
        return writeln!(out);
    }
    let mut about = "";
    for check in checks {
        if check.about != about {
            about = &check.about;
            writeln!(out, "{about}")?;
        }
        let state = match check.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Fail => "FAIL",
        };
        let remedy = check.remedy.map(|remedy| format!(": {remedy}")).unwrap_or_default();
        writeln!(out, "  {state:<4}  {:<10}  {}{remedy}", check.check, check.says)?;
    }
    match fails {
        0 => writeln!(out, "all is well"),
        1 => writeln!(out, "1 check failed"),
        fails => writeln!(out, "{fails} checks failed"),
    }
}

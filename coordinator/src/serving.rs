//! `specthink serve`: serves OpenAI's API in front of both models.

use std::{
    fmt::Display,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    pin::pin,
    process::ExitCode,
    sync::Arc,
};

use cli::{
    CliError, Exit, NodeEndpoints, Nodes, PolicyArgs, ServerTls, Watching, fail, policy_spec,
    sampling, settings, token_prices, until_stopped, written,
};
use flags::Hangups;
use pair::Builtin;
use reload::Reloaded;
use serve::{
    AccessRules, AnswerBackend, ApiKeys, ApiServer, JournalFolder, JournalLimits, RequestLimits,
};
use thinking::policy::{PolicySpec, Target};
use tokio::{net::TcpListener, sync::Notify};

use crate::{
    config::question_id,
    serve_args::{NamedPolicy, PolicyForm, ReasoningPlace, ServeArgs},
};

pub(crate) fn run(args: ServeArgs, builtin: Option<&dyn Builtin>) -> Result<Exit, CliError> {
    flags::raise_open_files();
    let plan = ServePlan::new(args, builtin)?;
    until_stopped(async |enough| plan.serve(enough).await)
}

/// Prints what is wrong with a configuration file, without serving.
pub(crate) fn check(args: &ServeArgs, builtin: Option<&dyn Builtin>) -> Result<Exit, CliError> {
    let (nodes, file) = (&args.answering.nodes, args.check.as_deref().unwrap_or(Path::new("")));
    let has_nodes = !nodes.named.is_empty() || builtin.is_none();
    let address = args.listen.parse::<SocketAddr>();
    let open = address.map(|address| {
        let (has_keys, has_tls) = (args.api_key_file.is_some(), args.listen_tls_cert.is_some());
        check_open(args, address, (has_keys, has_tls))
    });
    let policy = || policy_spec(&without_idle_prices(&args.policy), nodes);
    let reached = || {
        NodeEndpoints::new(&args.answering.nodes, &args.answering.security, true, builtin)?.check()
    };
    let found = [
        sampling(&args.answering.writing).err(),
        token_prices(&args.policy, nodes).err(),
        policy().err(),
        keys(args).err(),
        tls(args).err(),
        open.ok().and_then(Result::err),
        has_nodes.then(reached).and_then(Result::err),
    ];
    let named = args.policies.iter().filter_map(|policy| named(policy, args).err());
    let found = found.into_iter().flatten().map(|error| in_file(file.display(), &error));
    let mut mistakes: Vec<CliError> = Vec::new();
    for mistake in found.chain(named) {
        // A file that two of the checks read is reported once.
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
    }
    let Some(last) = mistakes.pop() else {
        let models = args.policies.iter().map(|policy| format!(", model {}", policy.name));
        let line = format!(
            "{} is in order: listen {}{}",
            file.display(),
            args.listen,
            models.collect::<String>()
        );
        written(announce(&line))?;
        return Ok(Exit::Ok);
    };
    let _ = tell(&mistakes);
    Err(last)
}

/// Prints every mistake, each on its own line.
pub(crate) fn tell(mistakes: &[CliError]) -> ExitCode {
    mistakes.iter().map(fail).fold(Exit::Configuration.into(), |_, code| code)
}

fn in_file(place: impl Display, error: &CliError) -> CliError {
    CliError::new(Exit::Configuration, format!("{place}: {error}"))
}

/// Everything that serving needs, checked. Nothing is connected and no socket is bound yet.
struct ServePlan {
    args: ServeArgs,
    backend: AnswerBackend,
    nodes: Nodes,
    keys: Option<ApiKeys>,
    journals: Option<JournalFolder>,
    tls: Option<Reloaded<rustls::ServerConfig>>,
}

impl ServePlan {
    fn new(args: ServeArgs, builtin: Option<&dyn Builtin>) -> Result<Self, CliError> {
        let (nodes_args, writing) = (&args.answering.nodes, &args.answering.writing);
        let sampling = sampling(writing)?;
        let prices = token_prices(&args.policy, nodes_args)?;
        let policy = policy_spec(&without_idle_prices(&args.policy), nodes_args)?;
        let named = args.policies.iter().map(|policy| named(policy, &args));
        let named = named.collect::<Result<Vec<_>, _>>()?;
        let (keys, tls) = (keys(&args)?, tls(&args)?);
        let journals = journals(&args)?;
        // A request may name a policy that uses the large node, whatever the flags say.
        let nodes =
            NodeEndpoints::new(&args.answering.nodes, &args.answering.security, true, builtin)?
                .connect_by_and_by()?;
        let backend = AnswerBackend {
            small: nodes.small.clone(),
            large: nodes.large.clone(),
            settings: settings(nodes_args, &args.policy),
            hedging: nodes.hedging,
            policy,
            named,
            preset: args.policy.preset,
            sampling,
            max_tokens: writing.max_tokens.min(args.max_answer_tokens),
            most_tokens: args.max_answer_tokens,
            system: writing.system.clone(),
            deadline: writing.deadline,
            prices,
            is_inline: args.reasoning == ReasoningPlace::Inline,
        };
        Ok(ServePlan { args, backend, nodes, keys, journals, tls })
    }

    async fn serve(self, enough: Arc<Notify>) -> Result<Exit, CliError> {
        let ServePlan { args, backend, nodes, keys, journals, tls } = self;
        let listener = listen(&args.listen).await?;
        let address = listener.local_addr().map_err(|why| cannot_listen(&args.listen, &why))?;
        check_open(&args, address, (keys.is_some(), tls.is_some()))?;
        nodes.source.announce();
        nodes.settle(Watching::Always).await?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        written(announce(&format!("listening on {scheme}://{address}")))?;
        let mut hangups = Hangups::new().map_err(|why| {
            CliError::new(Exit::Internal, format!("cannot listen for signals: {why}"))
        })?;
        let reload_now = Arc::new(Notify::new());
        let server = ApiServer {
            backend,
            limits: RequestLimits {
                most_answers: args.max_requests,
                most_answers_of_key: args.max_requests_per_key.unwrap_or(u32::MAX),
                most_running_tokens: args.max_running_tokens.unwrap_or(u64::MAX),
                most_waiting: args.max_queue,
                longest_wait: args.queue_timeout,
                most_body_bytes: args.max_body_bytes as usize,
            },
            access: AccessRules {
                keys,
                is_loopback: args.behind_loopback || is_loopback(address),
                hosts: args.allow_host,
                origins: args.allow_origin,
            },
            tls,
            drain: args.drain,
            journals,
            id_prefix: question_id(),
            reload_now: Arc::clone(&reload_now),
        };
        let mut serving = pin!(server.serve(listener, enough.notified()));
        let served = loop {
            tokio::select! {
                served = &mut serving => break served,
                () = hangups.next() => reload_now.notify_one(),
            }
        };
        served.map_err(|why| cannot_listen(&args.listen, &why))?;
        Ok(Exit::Ok)
    }
}

/// Returns the policy's arguments without prices, unless a cost target needs them: here prices are for what requests
/// ask.
fn without_idle_prices(args: &PolicyArgs) -> PolicyArgs {
    let is_needed = args.target.iter().any(|target| matches!(target, Target::Cost(_)));
    let prices = args.prices.clone().filter(|_| is_needed);
    PolicyArgs { prices, ..args.clone() }
}

/// Checks a policy of the configuration file, and returns it with its name.
fn named(policy: &NamedPolicy, args: &ServeArgs) -> Result<(String, PolicySpec), CliError> {
    let spec = match &policy.form {
        PolicyForm::Spec(spec) => (**spec).clone(),
        PolicyForm::Flags { policy: given, has_preset } => {
            let mut given = (**given).clone();
            if !has_preset && given.policy_file.is_none() {
                given.preset = args.policy.preset;
            }
            policy_spec(&given, &args.answering.nodes).map_err(|error| {
                in_file(format!("{}: policy {:?}", policy.place, policy.name), &error)
            })?
        }
    };
    Ok((policy.name.clone(), spec))
}

fn keys(args: &ServeArgs) -> Result<Option<ApiKeys>, CliError> {
    let keys = args.api_key_file.as_deref().map(ApiKeys::from_file).transpose();
    keys.map_err(|error| CliError::new(Exit::Credentials, error))
}

fn tls(args: &ServeArgs) -> Result<Option<Reloaded<rustls::ServerConfig>>, CliError> {
    let files = args.listen_tls_cert.clone().zip(args.listen_tls_key.clone());
    let client_ca = args.listen_tls_client_ca.clone();
    let tls = files.map(|(cert, key)| ServerTls { cert, key, client_ca }.for_http());
    Ok(tls.transpose()?)
}

/// Opens the folder of journals, and creates it if it is missing.
fn journals(args: &ServeArgs) -> Result<Option<JournalFolder>, CliError> {
    let Some(path) = &args.journal_dir else { return Ok(None) };
    let limits = JournalLimits {
        most: args.journal_keep as usize,
        max_age: args.journal_max_age,
        max_bytes: args.journal_max_bytes,
    };
    let folder = JournalFolder::new(path, limits);
    folder.map(Some).map_err(|why| {
        let remedy = "give --journal-dir a writable folder";
        let message =
            format!("cannot create the journal folder {}: {why}; {remedy}", path.display());
        CliError::new(Exit::Journal, message)
    })
}

async fn listen(address: &str) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|why| cannot_listen(address, &why))
}

fn cannot_listen(address: &str, why: &io::Error) -> CliError {
    let remedy = "give --listen a free HOST:PORT of this machine";
    CliError::new(Exit::Listen, format!("cannot listen on {address}: {why}; {remedy}"))
}

/// Returns whether only this machine can reach an address. An IPv6 address may map one of IPv4.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Refuses to serve other machines without API keys, or in plain text unless that was asked for.
fn check_open(
    args: &ServeArgs,
    address: SocketAddr,
    (has_keys, has_tls): (bool, bool),
) -> Result<(), CliError> {
    let refused = |message: String| Err(CliError::new(Exit::Listen, message));
    if args.behind_loopback || is_loopback(address) {
        return Ok(());
    }
    if !has_keys {
        return refused(format!(
            "{address} can be reached from other machines, and anybody could ask: give --api-key-file too, listen on \
             127.0.0.1, or give --behind-loopback if only this machine can reach it"
        ));
    }
    if !has_tls && !args.listen_insecure {
        return refused(format!(
            "{address} can be reached from other machines, and keys and answers could be read in transit: give \
             --listen-tls-cert and --listen-tls-key too, or --listen-insecure"
        ));
    }
    Ok(())
}

fn announce(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

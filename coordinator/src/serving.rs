//! `specthink serve`: OpenAI's API in front of both models.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
};

use cli::{
    AskedNode, CliError, Exit, NodeEndpoints, Nodes, PolicyArgs, ServerTls, policy_spec, sampling,
    settings, token_prices, until_enough, written,
};
use pair::Builtin;
use serve::{
    AccessRules, AnswerBackend, ApiKeys, ApiServer, JournalFolder, NodeProbe, NodeProbes,
    RequestLimits,
};
use thinking::policy::{Role, Target};
use tokio::{net::TcpListener, sync::Notify};

use crate::{
    config::question_id,
    serve_args::{ReasoningPlace, ServeArgs},
};

pub(crate) fn run(args: ServeArgs, builtin: Option<&dyn Builtin>) -> Result<Exit, CliError> {
    let plan = ServePlan::new(args, builtin)?;
    until_enough(async |enough| plan.serve(enough).await)
}

/// Everything that is served, checked. Nothing is connected or listened on yet.
struct ServePlan {
    args: ServeArgs,
    backend: AnswerBackend,
    nodes: Nodes,
    keys: Option<ApiKeys>,
    journals: Option<JournalFolder>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl ServePlan {
    fn new(args: ServeArgs, builtin: Option<&dyn Builtin>) -> Result<Self, CliError> {
        let (nodes_args, writing) = (&args.answering.nodes, &args.answering.writing);
        let sampling = sampling(writing)?;
        let prices = token_prices(&args.policy, nodes_args)?;
        let policy = policy_spec(&without_idle_prices(&args.policy), nodes_args)?;
        let keys = args.api_key_file.as_deref().map(ApiKeys::from_file).transpose();
        let keys = keys.map_err(|error| CliError::new(Exit::Credentials, error))?;
        let journals = journals(&args)?;
        let files = args.listen_tls_cert.clone().zip(args.listen_tls_key.clone());
        let client_ca = args.listen_tls_client_ca.clone();
        let tls = files.map(|(cert, key)| ServerTls { cert, key, client_ca }.for_http());
        let tls = tls.transpose()?;
        // A request may name a policy that uses the large one, whatever the flags say.
        let nodes = NodeEndpoints::new(&args.answering, true, builtin)?.connect()?;
        let backend = AnswerBackend {
            small: nodes.small.clone(),
            large: nodes.large.clone(),
            settings: settings(nodes_args, &args.policy),
            policy,
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
        let is_loopback = address.ip().to_canonical().is_loopback();
        check_open(&args, address, is_loopback, (keys.is_some(), tls.is_some()))?;
        nodes.source.announce();
        nodes.check_models().await?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        written(announce(&format!("listening on {scheme}://{address}")))?;
        let probes =
            NodeProbes { small: probes(&nodes, Role::Small), large: probes(&nodes, Role::Large) };
        let server = ApiServer {
            backend,
            limits: RequestLimits {
                most_answers: args.max_requests,
                most_waiting: args.max_queue,
                longest_wait: args.queue_timeout,
                most_body_bytes: args.max_body_bytes as usize,
            },
            access: AccessRules {
                keys,
                is_loopback,
                hosts: args.allow_host,
                origins: args.allow_origin,
            },
            tls,
            drain: args.drain,
            probes,
            journals,
            id_prefix: question_id(),
        };
        let served = server.serve(listener, enough.notified()).await;
        served.map_err(|why| cannot_listen(&args.listen, &why))?;
        Ok(Exit::Ok)
    }
}

/// What asks the nodes of a part whether they are there.
fn probes(nodes: &Nodes, part: Role) -> Vec<NodeProbe> {
    let probe = |node: AskedNode| -> NodeProbe {
        Box::new(move || {
            let node = node.clone();
            Box::pin(async move { node.answers().await })
        })
    };
    nodes.asked(part).into_iter().map(probe).collect()
}

/// The policy's arguments, without prices that no target of theirs asks for: here they are for what requests ask.
fn without_idle_prices(args: &PolicyArgs) -> PolicyArgs {
    let is_needed = args.target.iter().any(|target| matches!(target, Target::Cost(_)));
    let prices = args.prices.clone().filter(|_| is_needed);
    PolicyArgs { prices, ..args.clone() }
}

/// The folder of journals, made where it is not there.
fn journals(args: &ServeArgs) -> Result<Option<JournalFolder>, CliError> {
    let Some(path) = &args.journal_dir else { return Ok(None) };
    let folder = JournalFolder::new(path, args.journal_keep as usize);
    folder.map(Some).map_err(|why| {
        let mend = "give --journal-dir a folder that can be written";
        let message =
            format!("cannot make the folder of journals {}: {why}; {mend}", path.display());
        CliError::new(Exit::Journal, message)
    })
}

async fn listen(address: &str) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|why| cannot_listen(address, &why))
}

fn cannot_listen(address: &str, why: &io::Error) -> CliError {
    let mend = "give --listen a free HOST:PORT of this machine";
    CliError::new(Exit::Listen, format!("cannot listen on {address}: {why}; {mend}"))
}

/// Nobody is let in from other machines without a key, and no key goes over the network in plain text unasked.
fn check_open(
    args: &ServeArgs,
    address: SocketAddr,
    is_loopback: bool,
    (has_keys, has_tls): (bool, bool),
) -> Result<(), CliError> {
    let refused = |message: String| Err(CliError::new(Exit::Listen, message));
    if is_loopback {
        return Ok(());
    }
    if !has_keys {
        return refused(format!(
            "{address} can be reached from other machines, and everybody could ask: give --api-key-file too, or listen \
             on 127.0.0.1"
        ));
    }
    if !has_tls && !args.listen_insecure {
        return refused(format!(
            "{address} can be reached from other machines, and keys and answers could be read on the way: give \
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

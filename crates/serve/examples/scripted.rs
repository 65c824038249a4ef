//! The API over scripted Thinkers, for benches/serve_speed.py: no model and no node, numbered words at a steady pace.
//!
//! Usage: scripted WORDS MILLISECONDS. Every answer has WORDS words, each of which takes MILLISECONDS. The line
//! `listening on URL` on standard output gives the address.

use std::{env, io::Write as _, sync::Arc, time::Duration};

use answer::{Node, Settings};
use pool::Pool;
use serve::{AccessRules, AnswerBackend, ApiServer, RequestLimits};
use thinking::{
    policy::{PolicyKind, PolicySpec, Preset},
    testing::{Options, Script, ScriptedThinker},
    thinker::Sampling,
};
use tokio::{net::TcpListener, signal::ctrl_c};

/// More than any benchmark asks for.
const MANY: u32 = 16_384;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> std::io::Result<()> {
    let mut numbers = env::args().skip(1).map_while(|text| text.parse::<u64>().ok());
    let (words, delay_ms) = (numbers.next().unwrap_or(200), numbers.next().unwrap_or(20));
    let text: String = (0..words).map(|number| format!(" {number}")).collect();
    let token_delay = Duration::from_millis(delay_ms);
    let thinker = || {
        let options = Options { token_delay, ..Options::default() };
        Arc::new(ScriptedThinker::with_options(Script::text(text.clone()), options))
    };
    let server = ApiServer {
        backend: AnswerBackend {
            small: Pool::unwatched([Node::new("scripted small", thinker())]),
            large: Pool::unwatched([Node::new("scripted large", thinker())]),
            settings: Settings::default(),
            hedging: None,
            policy: PolicySpec::new(PolicyKind::SmallOnly, Preset::Reasoning),
            named: Vec::new(),
            preset: Preset::Reasoning,
            sampling: Sampling::default(),
            max_tokens: u32::MAX,
            most_tokens: u32::MAX,
            system: None,
            deadline: None,
            prices: None,
            is_inline: false,
        },
        limits: RequestLimits {
            most_answers: MANY,
            most_answers_of_key: MANY,
            most_running_tokens: u64::MAX,
            most_waiting: MANY,
            longest_wait: Duration::from_secs(60),
            most_body_bytes: 1 << 20,
        },
        access: AccessRules { is_loopback: true, ..AccessRules::default() },
        tls: None,
        drain: Duration::from_secs(1),
        journals: None,
        id_prefix: "s".to_owned(),
        reload_now: Arc::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let line = format!("listening on http://{}\n", listener.local_addr()?);
    std::io::stdout().write_all(line.as_bytes())?;
    std::io::stdout().flush()?;
    server.serve(listener, async { drop(ctrl_c().await) }).await
}

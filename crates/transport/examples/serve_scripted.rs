//! Serves a scripted Thinker, to try a client without a model:
//!
//! ```text
//! cargo run -p transport --example serve_scripted -- 127.0.0.1:7101 [TOKEN]
//! ```
//!
//! Prints the address it listens on, then serves until Ctrl-C.

use std::{error::Error, io::Write, sync::Arc};

use thinking::{
    testing::{Options, Script, ScriptedThinker},
    thinker::ModelCard,
};
use transport::{ServerConfig, Token, bind, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7101".to_owned());
    let token = std::env::args().nth(2).map(|text| Token::new(&text)).transpose()?;
    let options = Options::default();
    let card: ModelCard = options.card.clone();
    let text = "7 times 8 is 56.\n\nWait, let me check: 8 times 7 is 56 too. 数学 🙂";
    let thinker = Arc::new(ScriptedThinker::with_options(Script::text(text), options));
    let listener = bind(&address).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    let config = ServerConfig { token, ..ServerConfig::new(card) };
    serve(listener, thinker, config, async {
        let _ = tokio::signal::ctrl_c().await;
    })
    .await?;
    Ok(())
}

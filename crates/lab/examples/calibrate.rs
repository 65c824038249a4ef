//! Measures what links really give on this machine, and prints asked against measured as a table in Markdown:
//!
//! ```text
//! cargo run --release -p lab --example calibrate                      # all links that ship
//! cargo run --release -p lab --example calibrate -- 4g-good rtt=90ms,loss=1%
//! ```
//!
//! Takes about ten seconds a link.

use std::{error::Error, io::Write};

use lab::{
    calibrate::{Effort, calibrate, table},
    link::{LinkProfile, Links},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let links = Links::shipped()?;
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let profiles: Vec<LinkProfile> = if asked.is_empty() {
        links.iter().cloned().collect()
    } else {
        asked.iter().map(|link| links.link(link)).collect::<Result<_, _>>()?
    };
    let mut measured = Vec::new();
    for profile in &profiles {
        measured.push(calibrate(profile, 1, Effort::default()).await?);
    }
    write!(std::io::stdout(), "{}", table(&measured))?;
    Ok(())
}

//! Generates the Rust code of the protocol without a system protoc.

use std::{env, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=specthink");
    let files = protox::compile(["specthink/v1/thinker.proto"], ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Served by the reflection service, so that a client without our files can list and call us.
    std::fs::write(out.join("specthink.v1.descriptors"), files.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}

//! How a node reports bad input: one line on standard error, an exit code of its own, nothing on standard output, no
//! panic.

use std::{fs, net::TcpListener, path::Path};

use node::{NodeArgs, NodeConfig, NodeExit};
use tests::{Ended, Process, Signal, fixture};

use crate::SMALL;

/// Runs the small node to its end, under the name that its own package gives it.
fn run(args: &[&str], env: &[(&str, &str)]) -> Ended {
    let ended = Process::spawn(SMALL, args, env).wait();
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    assert!(ended.stdout.is_empty(), "{ended:?}");
    ended
}

fn refuses(exit: NodeExit, args: &[&str], env: &[(&str, &str)], what: &str) {
    let ended = run(args, env);
    assert_eq!(ended.code, Some(exit as i32), "{args:?}: {ended:?}");
    let line = ended.line("small-node");
    assert!(line.contains(what), "{args:?}: '{what}' is not in: {line}");
}

fn tiny() -> String {
    fixture("tiny-llama").display().to_string()
}

const FREE: &str = "127.0.0.1:0";

#[test]
fn a_taken_port_is_found_before_the_model_is_looked_for() {
    let listener = TcpListener::bind(FREE).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for model in [tiny(), "nobody/nothing".to_owned()] {
        let args = ["--model", &model, "--listen", &address];
        refuses(NodeExit::Address, &args, &[("HF_HUB_OFFLINE", "1")], &address);
    }
    refuses(NodeExit::Address, &["--model", &tiny(), "--listen", "nonsense"], &[], "nonsense");
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let refuses = |model: &str, env: &[(&str, &str)], what: &str| {
        refuses(NodeExit::ModelNotFound, &["--model", model, "--listen", FREE], env, what);
    };
    refuses("/no/such/model.gguf", &[], "no model at /no/such/model.gguf");
    refuses("models/misspelt.gguf", &[], "no model at models/misspelt.gguf");
    refuses("two words", &[], "no model at two words");
    let home = tempfile::tempdir().unwrap();
    let home = home.path().to_str().unwrap();
    refuses("a/b", &[("HF_HOME", home), ("HF_HUB_OFFLINE", "1")], "revision main missing");
    refuses("a/b@v2", &[("HF_HOME", home), ("HF_HUB_OFFLINE", "1")], "revision v2 missing");
}

#[test]
fn an_unreachable_hub_is_a_failed_download() {
    let home = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind(FREE).unwrap().local_addr().unwrap();
    let endpoint = format!("http://{closed}");
    let env = [("HF_HOME", home.path().to_str().unwrap()), ("HF_ENDPOINT", &endpoint)];
    refuses(NodeExit::Download, &["--model", "a/b", "--listen", FREE], &env, &endpoint);
}

#[test]
fn damaged_models_are_told_from_unsupported_ones() {
    let folder = tempfile::tempdir().unwrap();
    let refuses = |exit, path: &Path, what: &str| {
        let path = path.to_str().unwrap();
        refuses(exit, &["--model", path, "--listen", FREE], &[], what);
    };
    let truncated = folder.path().join("truncated.gguf");
    fs::write(&truncated, b"GGUF\x03\x00\x00\x00\x10\x00\x00\x00").unwrap();
    refuses(NodeExit::ModelUnreadable, &truncated, "truncated.gguf");
    let empty = folder.path().join("empty.gguf");
    fs::write(&empty, b"").unwrap();
    refuses(NodeExit::ModelNotFound, &empty, "empty.gguf");

    let copy = |name: &str| {
        let to = folder.path().join(name);
        fs::create_dir(&to).unwrap();
        for entry in fs::read_dir(fixture("tiny-llama")).unwrap().flatten() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        to
    };
    let cut = copy("cut");
    let weights = fs::read(cut.join("model.safetensors")).unwrap();
    fs::write(cut.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    refuses(NodeExit::ModelUnreadable, &cut, "model.safetensors");
    let no_tokenizer = copy("no-tokenizer");
    fs::remove_file(no_tokenizer.join("tokenizer.json")).unwrap();
    refuses(NodeExit::Tokenizer, &no_tokenizer, "tokenizer.json missing");
    let bad_tokenizer = copy("bad-tokenizer");
    fs::write(bad_tokenizer.join("tokenizer.json"), "{}").unwrap();
    // The weights are downloaded first, so a line about their progress precedes the error.
    let ended = run(&["--model", bad_tokenizer.to_str().unwrap(), "--listen", FREE], &[]);
    assert_eq!(ended.code, Some(NodeExit::Tokenizer as i32), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.contains("tokenizer.json is not a valid tokenizer file"), "{last}");

    let other = copy("other");
    let config = fs::read_to_string(other.join("config.json")).unwrap();
    let sound: serde_json::Value = serde_json::from_str(&config).unwrap();
    let mut config = sound.clone();
    config["quantization_config"] = serde_json::json!({ "quant_method": "awq" });
    fs::write(other.join("config.json"), config.to_string()).unwrap();
    refuses(NodeExit::Quantisation, &other, "awq");
    let mut config = sound;
    for class in ["MambaForCausalLM", "GraniteForCausalLM"] {
        config["architectures"] = serde_json::json!([class]);
        fs::write(other.join("config.json"), config.to_string()).unwrap();
        refuses(NodeExit::ModelUnsupported, &other, class);
    }
    let nothing = folder.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    refuses(NodeExit::ModelUnsupported, &nothing, "neither config.json");
    let several = folder.path().join("several");
    fs::create_dir(&several).unwrap();
    fs::write(several.join("a.gguf"), b"").unwrap();
    fs::write(several.join("b.gguf"), b"").unwrap();
    refuses(NodeExit::Usage, &several, "choose one with --file: a.gguf, b.gguf");
}

#[test]
fn arguments_that_mean_nothing_are_usage_errors() {
    let filter = [("SPECTHINK_LOG", "a=b=c")];
    refuses(
        NodeExit::Usage,
        &["--listen", FREE],
        &filter,
        "SPECTHINK_LOG 'a=b=c' is not a log filter",
    );
    let tiny = tiny();
    let refuses = |args: &[&str], what: &str| {
        let args = [&["--model", &tiny, "--listen", FREE], args].concat();
        refuses(NodeExit::Usage, &args, &[], what);
    };
    refuses(&["--device", "tpu"], "--device 'tpu'");
    refuses(&["--dtype", "q4"], "--dtype 'q4'");
    refuses(&["--revision", "main"], "--revision goes with the name");
    refuses(&["--heartbeat", "11s"], "--heartbeat 11s is too long");
    // Errors of clap take more lines, since they show the usage. The limits of a session are known once the model is
    // loaded.
    for (args, what) in [
        (&["--model", &tiny, "--tls-cert", "x.pem"][..], "--tls-key"),
        (&["--model", &tiny, "--tls-key", "x.pem"], "--tls-cert"),
        (&["--model", &tiny, "--tls-client-ca", "x.pem"], "--tls-cert"),
        (&["--model", &tiny, "--drain", "soon"], "--drain"),
        (&["--model", &tiny, "--heartbeat", "0s"], "--heartbeat"),
        (&["--model", &tiny, "--threads", "0"], "--threads"),
        (&["--model", &tiny, "--kv-memory", "much"], "--kv-memory"),
        (
            &["--model", &tiny, "--listen", FREE, "--kv-memory", "64KiB"],
            "small-node: 64.0 KiB of memory for caches is too little: one session of 1024 tokens ",
        ),
    ] {
        let ended = run(args, &[]);
        assert_eq!(ended.code, Some(NodeExit::Usage as i32), "{ended:?}");
        assert!(ended.stderr.contains(what), "{ended:?}");
    }
}

#[test]
fn flags_about_another_model_do_not_go_with_the_built_in_one() {
    for flag in ["--file", "--revision"] {
        let line = format!("{flag} goes with --model, but without one the built-in model ");
        refuses(NodeExit::Usage, &["--listen", FREE, flag, "x"], &[], &line);
    }
}

#[test]
fn plain_text_does_not_leave_the_machine_unasked() {
    let args = ["--model", "nobody/nothing", "--listen", "0.0.0.0:0"];
    refuses(NodeExit::Plaintext, &args, &[("HF_HUB_OFFLINE", "1")], "--insecure");
}

#[test]
fn a_node_that_lets_everybody_in_says_so_when_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "s3cret").unwrap();
    for (more, is_said) in [(&[][..], true), (&["--token-file", token.to_str().unwrap()], false)] {
        let args = ["--model", &tiny(), "--listen", "0.0.0.0:0", "--insecure", "--threads", "1"];
        let mut node = Process::spawn(SMALL, &[&args, more].concat(), &[]);
        node.wait_for("listening on ");
        node.signal(Signal::Terminate);
        let ended = node.wait();
        let said =
            ended.stderr.lines().any(|line| line.starts_with("anyone who can reach 0.0.0.0:"));
        assert_eq!(said, is_said, "{ended:?}");
    }
}

#[test]
fn credentials_that_cannot_be_used_are_found_before_loading() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    let (empty, tiny) = (empty.to_str().unwrap(), tiny());
    let refuses = |args: &[&str], env: &[(&str, &str)], what: &str| {
        let args = [&["--model", &tiny, "--listen", FREE], args].concat();
        refuses(NodeExit::Credentials, &args, env, what);
    };
    refuses(&["--token-file", "/no/token"], &[], "/no/token");
    refuses(&["--token-file", empty], &[], "empty");
    refuses(&[], &[("SPECTHINK_TOKEN", "two words")], "token");
    refuses(&[], &[("SPECTHINK_TOKEN", "")], "the token is empty");
    refuses(&["--tls-cert", "/no/cert", "--tls-key", "/no/key"], &[], "/no/cert");
    let hostile = ["--tls-cert", "/no\x1b]0;title\x07\ncert", "--tls-key", "/no/key"];
    refuses(&hostile, &[], "/no\u{fffd}]0;title\u{fffd} cert");
    refuses(&["--tls-cert", empty, "--tls-key", empty], &[], "certificate");
}

#[cfg(unix)]
#[test]
fn a_token_that_is_not_unicode_is_no_absent_one() {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};
    let line = ["small-node", "--model", &tiny()].map(OsString::from);
    let args = NodeArgs::parse_with(&small_node::DEFAULTS, line).unwrap();
    let token = |name: &str| {
        (name == "SPECTHINK_TOKEN").then(|| OsString::from_vec(b"s3cr\xffet".to_vec()))
    };
    let config = |var: &dyn Fn(&str) -> Option<OsString>| {
        NodeConfig::new(&small_node::DEFAULTS, args.clone(), var)
    };
    let error = config(&token).unwrap_err();
    assert_eq!(error.exit(), NodeExit::Credentials, "{error}");
    assert!(config(&|_| None).unwrap().server.token.is_none());
}

#[test]
fn what_is_odd_about_a_model_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture("tiny-llama")).unwrap().flatten() {
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let path = folder.path().join("tokenizer_config.json");
    let mut config: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("chat_template").unwrap();
    fs::write(&path, config.to_string()).unwrap();
    // The end of a turn, which the file marks as ordinary text.
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    added.iter_mut().find(|token| token["content"] == "<|end|>").unwrap()["special"] = false.into();
    fs::write(&path, tokenizer.to_string()).unwrap();
    let node = Process::node(SMALL, folder.path().as_os_str(), &["-v"]);
    node.signal(Signal::Terminate);
    let ended = node.wait();
    for note in [
        "no chat template: only raw prompts (specthink ask --raw) will work",
        "tokenizer.json does not mark <|end|> as a control token: it ends turns here",
    ] {
        assert!(ended.stderr.contains(note), "{ended:?}");
    }
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let args = ["--model", &tiny(), "--listen", FREE, "--device", "cuda:77"];
    refuses(NodeExit::Device, &args, &[], "cannot compute on cuda:77: ");
}

//! `specthink doctor` over real nodes: what it finds, how it says so, and its exit code.

use std::{fs, path::Path, time::SystemTime};

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use thinking::testing::{Options, Script, ScriptedThinker};
use tokio::runtime::Runtime;
use transport::{ServerTls, Token};

use crate::nodes::{Served, large, served, served_by, small, specthink, stderr, stdout};

/// Returns what it prints, as JSON, and its exit code.
fn examined(arguments: &[&str]) -> (Value, Option<i32>) {
    let output = specthink(&[&["doctor", "--json"], arguments].concat(), None);
    let found = serde_json::from_str(stdout(&output));
    (found.unwrap_or_else(|why| panic!("{why}: {}", stderr(&output))), output.status.code())
}

/// Returns the only check that failed: its name and everything it says.
fn fault(arguments: &[&str]) -> (String, String) {
    let (found, code) = examined(arguments);
    let checks = found["checks"].as_array().unwrap();
    let mut failed = checks.iter().filter(|check| check["state"] == "fail");
    let one = failed.next().unwrap_or_else(|| panic!("nothing failed: {found}"));
    assert_eq!(
        (failed.next(), code, &found["ok"]),
        (None, Some(24), &Value::Bool(false)),
        "{found}"
    );
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (text("check"), format!("{}: {}", text("says"), text("do")))
}

/// Writes a self-signed certificate for these names, valid from 2020 on.
fn self_signed(folder: &Path, names: &[&str], until: SystemTime) -> ServerTls {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::new(names).unwrap());
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = until.into();
    let (cert_path, key_path) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&cert_path, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&key_path, key.serialize_pem()).unwrap();
    ServerTls { cert: cert_path, key: key_path, client_ca: None }
}

#[test]
fn a_pair_that_is_well_is_said_to_be() {
    let runtime = Runtime::new().unwrap();
    let (small, large) = (served(&runtime, small()), served(&runtime, large()));
    let arguments = ["--small", &small.url, "--large", &large.url];
    let (found, code) = examined(&arguments);
    assert_eq!((code, &found["ok"]), (Some(0), &Value::Bool(true)), "{found}");
    let checks = found["checks"].as_array().unwrap();
    let of = |about: &str| -> Vec<&str> {
        let of_it = checks.iter().filter(|check| check["about"].as_str().unwrap().contains(about));
        of_it.map(|check| check["check"].as_str().unwrap()).collect()
    };
    let all = ["name", "port", "TLS", "version", "model", "clock", "way", "load"];
    assert_eq!((of(&small.url), of(&large.url)), (all.to_vec(), all.to_vec()));
    assert_eq!(of("all nodes"), ["tokenizers", "thinking", "review"]);
    assert_eq!(of("this machine"), ["memory", "GPU"]);
    let says = |check: &str| {
        let found = checks.iter().find(|it| it["check"] == check).unwrap();
        found["says"].as_str().unwrap()
    };
    assert_eq!(says("clock"), "within 5 s of ours", "a node tells the time");
    assert!(
        says("way").starts_with("round trip ") && says("way").ends_with(" MB/s to it"),
        "{found}"
    );

    let text = specthink(&[&["doctor"], &arguments[..]].concat(), None);
    let lines = stdout(&text);
    assert!(lines.starts_with(&format!("small node {}\n  ok    name ", small.url)), "{lines}");
    assert!(lines.ends_with("all is well\n"), "{lines}");
}

#[test]
fn only_nodes_that_are_named_are_looked_at() {
    let runtime = Runtime::new().unwrap();
    let large = served(&runtime, large());
    let (found, code) = examined(&["--large", &large.url]);
    assert_eq!(code, Some(0), "{found}");
    let mut about: Vec<&str> = found["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["about"].as_str().unwrap())
        .collect();
    about.dedup();
    assert_eq!(about, [&format!("large node {}", large.url), "this machine"]);
}

#[test]
fn what_does_not_work_is_named_with_what_to_do() {
    let runtime = Runtime::new().unwrap();
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (check, words) = fault(&["--small", &format!("http://127.0.0.1:{port}")]);
    assert_eq!(check, "port");
    assert!(words.contains("check that the node runs"), "{words}");

    let locked = served_by(&runtime, large(), |config| {
        config.token = Some(Token::new("s3cret").unwrap());
    });
    let (check, words) = fault(&["--large", &locked.url]);
    assert_eq!(check, "credential");
    assert!(words.contains("--token-file"), "{words}");

    let plain = served(&runtime, small());
    let (check, words) = fault(&["--small", &plain.url.replace("http:", "https:")]);
    assert_eq!(check, "TLS");
    assert!(words.contains("does not speak TLS: write http://"), "{words}");

    let (check, words) = fault(&["--small", &plain.url, "--small-model", "another"]);
    assert_eq!(check, "answer");
    assert!(words.contains("serves the model"), "{words}");
}

#[test]
fn which_fault_a_certificate_has_is_said() {
    let runtime = Runtime::new().unwrap();
    let far = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    let past = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    let node = |names: &[&str], until| -> (TempDir, Served) {
        let folder = tempfile::tempdir().unwrap();
        let tls = self_signed(folder.path(), names, until);
        let node = served_by(&runtime, large(), |config| config.tls = Some(tls));
        (folder, node)
    };
    for (names, until, is_known, words) in [
        (&["127.0.0.1"][..], far, false, "is not trusted"),
        (&["gpu.example.org"], far, true, "is not for 127.0.0.1 but for gpu.example.org"),
    ] {
        let (folder, node) = node(names, until);
        let ca = folder.path().join("cert.pem").display().to_string();
        let mut arguments = vec!["--large", node.url.as_str()];
        let other = tempfile::tempdir().unwrap();
        self_signed(other.path(), &["x"], far);
        let other = other.path().join("cert.pem").display().to_string();
        arguments.extend(["--tls-ca", if is_known { &ca } else { &other }]);
        let (check, said) = fault(&arguments);
        assert_eq!(check, "TLS", "{said}");
        assert!(said.contains(words), "{said}");
    }
    // An expired certificate fails two checks: the TLS handshake, and its dates.
    let (folder, node) = node(&["127.0.0.1"], past);
    let ca = folder.path().join("cert.pem").display().to_string();
    let (found, code) = examined(&["--large", &node.url, "--tls-ca", &ca]);
    let failed: Vec<(&str, &str)> = found["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["state"] == "fail")
        .map(|check| (check["check"].as_str().unwrap(), check["says"].as_str().unwrap()))
        .collect();
    assert_eq!((code, failed.len()), (Some(24), 2), "{found}");
    assert!(
        failed[0].1.contains("expired at 2020-09-13") && failed[1].1.contains("not valid now"),
        "{failed:?}"
    );
}

#[test]
fn tokenizers_and_reviews_are_compared() {
    let runtime = Runtime::new().unwrap();
    let mut options = Options::default();
    options.card.tokenizer_fingerprint = "another".to_owned();
    options.card.can_review = false;
    let other = ScriptedThinker::with_options(Script::babble(), options.clone());
    let large =
        served_by(&runtime, std::sync::Arc::new(other), |config| config.card = options.card);
    let small = served(&runtime, small());
    let (found, code) = examined(&["--small", &small.url, "--large", &large.url]);
    assert_eq!(code, Some(0), "{found}");
    let checks = found["checks"].as_array().unwrap();
    let of = |name: &str| checks.iter().find(|check| check["check"] == name).unwrap();
    assert!(of("tokenizers")["says"].as_str().unwrap().starts_with("different"), "{found}");
    assert_eq!(of("review")["state"], "note");
}

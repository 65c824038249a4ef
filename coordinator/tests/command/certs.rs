//! `specthink certs`: its certificates work between nodes and clients, and it overwrites nothing.

use std::{fs, path::Path, process::Output};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use transport::{CertificateFacts, ServerTls};

use crate::{
    nodes::{large, served_by, small, specthink, stderr, stdout},
    refusals::refused,
};

fn certs(folder: &Path, more: &[&str]) -> Output {
    let folder = folder.display().to_string();
    specthink(&[&["certs", folder.as_str()], more].concat(), None)
}

/// Creates a folder with an authority and the certificates of a node and a client.
fn made() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let output =
        certs(folder.path(), &["--node", "gpu.example.org,10.0.0.7", "--client", "laptop"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    for words in [
        "ca.pem, ca.key: the authority, until 20",
        "a node, reached as gpu.example.org, 10.0.0.7, localhost, 127.0.0.1, ::1, until 20",
        "laptop.pem, laptop.key: a client, until 20",
        "--tls-client-ca ca.pem",
        "https://gpu.example.org:7102",
    ] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    folder
}

fn bytes(folder: &TempDir, name: &str) -> Vec<u8> {
    fs::read(folder.path().join(name)).unwrap()
}

#[test]
fn nodes_and_clients_with_its_certificates_trust_each_other_and_nobody_else() {
    let (ours, others) = (made(), made());
    let file = |folder: &TempDir, name: &str| folder.path().join(name);
    let runtime = Runtime::new().unwrap();
    let tls = ServerTls {
        cert: file(&ours, "gpu.example.org.pem"),
        key: file(&ours, "gpu.example.org.key"),
        client_ca: Some(file(&ours, "ca.pem")),
    };
    let [small, large] = [small(), large()]
        .map(|thinker| served_by(&runtime, thinker, |config| config.tls = Some(tls.clone())));
    let ask = |folder: &TempDir, client: &[&str]| {
        let path = |name: &str| file(folder, name).display().to_string();
        let mut arguments = ["ask", "--small", &small.url, "--large", &large.url, "--tls-ca"]
            .map(str::to_owned)
            .to_vec();
        arguments.push(file(&ours, "ca.pem").display().to_string());
        for (flag, name) in ["--tls-cert", "--tls-key"].iter().zip(client) {
            arguments.extend([(*flag).to_owned(), path(name)]);
        }
        arguments.push("2 + 2?".to_owned());
        specthink(&arguments, None)
    };
    let client = ["laptop.pem", "laptop.key"];
    let answered = ask(&ours, &client);
    assert_eq!(answered.status.code(), Some(0), "{}", stderr(&answered));
    for (folder, client) in [(&others, &client[..]), (&ours, &[])] {
        let refused = ask(folder, client);
        assert_ne!(refused.status.code(), Some(0), "{}", stdout(&refused));
    }
    // A client's certificate is not valid for a node.
    let facts = CertificateFacts::read(&file(&ours, "laptop.pem")).unwrap();
    assert_eq!((facts.names, facts.is_authority), (Vec::new(), false));
}

#[cfg(unix)]
#[test]
fn keys_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = made();
    for name in ["ca.key", "gpu.example.org.key", "laptop.key"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let mode = fs::metadata(folder.path().join("laptop.pem")).unwrap().permissions().mode();
    assert_ne!(mode & 0o777, 0o600, "certificates are no secret");
}

#[test]
fn nothing_is_written_over_unless_it_is_renewed() {
    let folder = made();
    let before = ["ca.pem", "ca.key", "laptop.pem", "laptop.key"].map(|name| bytes(&folder, name));
    let path = folder.path().display().to_string();
    refused(
        &["certs", &path, "--client", "desk", "--client", "laptop"],
        None,
        6,
        &["laptop.pem already exists", "--renew"],
    );
    assert!(!folder.path().join("desk.pem").exists(), "all or nothing");
    assert_eq!(
        certs(folder.path(), &["--client", "desk", "--days", "9999"]).status.code(),
        Some(0)
    );
    let after = ["ca.pem", "ca.key", "laptop.pem", "laptop.key"].map(|name| bytes(&folder, name));
    assert_eq!(before, after, "the authority is used again");
    let day = |name: &str| CertificateFacts::read(&folder.path().join(name)).unwrap().not_after;
    assert_eq!(day("desk.pem"), day("ca.pem"), "nothing outlives its authority");
    assert_eq!(certs(folder.path(), &["--client", "laptop", "--renew"]).status.code(), Some(0));
    let renewed = ["ca.pem", "ca.key", "laptop.pem", "laptop.key"].map(|name| bytes(&folder, name));
    assert_eq!(renewed[..2], before[..2]);
    assert!(renewed[2] != before[2] && renewed[3] != before[3]);
    let (cert, key) = (folder.path().join("laptop.pem"), folder.path().join("laptop.key"));
    assert!(CertificateFacts::fits(&cert, &key).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 8, "no other file remains");
}

#[test]
fn an_authority_that_cannot_sign_is_named() {
    let (folder, other) = (made(), made());
    let path = folder.path().display().to_string();
    let desk = ["certs", &path, "--client", "desk"];
    fs::write(folder.path().join("ca.key"), bytes(&other, "ca.key")).unwrap();
    refused(&desk, None, 6, &["ca.key cannot be used", "not the key of ca.pem"]);
    fs::copy(folder.path().join("laptop.key"), folder.path().join("ca.key")).unwrap();
    fs::copy(folder.path().join("laptop.pem"), folder.path().join("ca.pem")).unwrap();
    refused(&desk, None, 6, &["ca.pem cannot be used", "not an authority's"]);
    fs::remove_file(folder.path().join("ca.key")).unwrap();
    refused(&desk, None, 6, &["no ca.key beside it"]);
}

#[test]
fn names_that_make_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new").display().to_string();
    for (more, words) in [
        (&[][..], &["--node"][..]),
        (&["--node", "https://gpu:7102"], &["https://gpu:7102", "without https://"]),
        (&["--client", "../x"], &["../x", "letters, digits"]),
        (&["--client", "ca"], &["two certificates", "ca.pem"]),
        (&["--client", "a", "--node", "a"], &["two certificates", "a.pem"]),
        (&["--client", "a", "--days", "0"], &["--days"]),
    ] {
        refused(&[&["certs", path.as_str()], more].concat(), None, 2, words);
    }
    assert!(!Path::new(&path).exists(), "nothing is created");
}

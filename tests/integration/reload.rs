//! Certificates, tokens and keys that are replaced while the programs run.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use tests::{Process, Signal, fixture};
use transport::{ClientTls, Remote, RemoteConfig, Token};

use crate::{LARGE, SPECTHINK};

/// Creates an authority, a node `localhost` and a client `laptop`, by `specthink certs`.
fn certs() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let args = ["certs", &path, "--node", "localhost", "--client", "laptop"];
    assert_eq!(Process::spawn(SPECTHINK, &args, &[]).wait().code, Some(0));
    folder
}

/// Returns what is wrong for a client with the files of a folder and this token, or nothing if all is well.
async fn refusal(url: &str, folder: &Path, token: &str) -> Option<String> {
    let mut config = RemoteConfig::new(url.parse().unwrap());
    let identity = Some((folder.join("laptop.pem"), folder.join("laptop.key")));
    config.tls = ClientTls { ca: Some(folder.join("ca.pem")), identity };
    config.token = Some(Token::new(token).unwrap());
    Remote::new(config).unwrap().describe().await.err().map(|failure| failure.to_string())
}

/// Waits until the client is accepted.
async fn let_in(url: &str, folder: &Path, token: &str) {
    let mut refused = None;
    for _ in 0..100 {
        refused = refusal(url, folder, token).await;
        if refused.is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{refused:?}");
}

/// Copies files of the same names.
fn bring(names: &[&str], from: &Path, to: &Path) {
    for name in names {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[tokio::test]
async fn a_node_takes_what_is_renewed_and_keeps_what_it_has_where_that_is_half_done() {
    let (first, second, used) = (certs(), certs(), certs());
    let (first, second, used) = (first.path(), second.path(), used.path());
    bring(&["ca.pem", "localhost.pem", "localhost.key"], first, used);
    fs::write(used.join("token"), "one\n").unwrap();
    let path = |name: &str| -> PathBuf { used.join(name) };
    let [cert, key, ca, token] = ["localhost.pem", "localhost.key", "ca.pem", "token"]
        .map(|name| path(name).into_os_string());
    let flags = ["--tls-cert", "--tls-key", "--tls-client-ca", "--token-file"].map(Into::into);
    let args: Vec<_> =
        flags.into_iter().zip([cert, key, ca, token]).flat_map(<[_; 2]>::from).collect();
    let node = Process::node(LARGE, fixture("tiny-llama").as_os_str(), &args);
    let url = node.url().replace("127.0.0.1", "localhost");
    assert_eq!(refusal(&url, first, "one").await, None);
    assert!(refusal(&url, second, "one").await.is_some());

    // Only a token changes.
    fs::write(path("token"), "two\n").unwrap();
    node.signal(Signal::Hangup);
    let_in(&url, first, "two").await;
    let refused = refusal(&url, first, "one").await.unwrap_or_default();
    assert!(refused.contains("does not accept this token"), "{refused}");

    // The certificate is new, but its key is missing. The new token shows that all files were checked.
    bring(&["localhost.pem"], second, used);
    fs::write(path("token"), "three\n").unwrap();
    node.signal(Signal::Hangup);
    let_in(&url, first, "three").await;

    bring(&["localhost.key", "ca.pem"], second, used);
    node.signal(Signal::Hangup);
    let_in(&url, second, "three").await;
    assert!(refusal(&url, first, "three").await.is_some());
    node.signal(Signal::Terminate);
    let ended = node.wait();
    assert_eq!(ended.code, Some(0), "SIGHUP ends no node: {ended:?}");
    let faults: Vec<&str> =
        ended.stderr.lines().filter(|line| line.contains("do not belong together")).collect();
    assert_eq!(faults.len(), 1, "{ended:?}");
    assert!(faults[0].contains("keeping what was read before"), "{faults:?}");
}

#[test]
fn a_server_takes_other_keys_and_ends_by_no_hangup() {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
    };

    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    fs::write(&keys, "ann one\n").unwrap();
    let path = keys.display().to_string();
    let args = ["serve", "--listen", "127.0.0.1:0", "--api-key-file", &path];
    let mut server = Process::spawn(SPECTHINK, &args, &[]);
    let url = server.wait_for("listening on ");
    let address = url.strip_prefix("http://").unwrap();
    let status = |key: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "GET /v1/models HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!((status("one").as_str(), status("two").as_str()), ("200", "401"));
    fs::write(&keys, "bob two\n").unwrap();
    server.signal(Signal::Hangup);
    let is_taken = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        status("two") == "200"
    });
    assert!(is_taken && status("one") == "401");
    server.signal(Signal::Terminate);
    assert_eq!(server.wait().code, Some(0));
}

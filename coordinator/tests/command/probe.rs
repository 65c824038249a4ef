//! `specthink probe`: which answers count as healthy, and what it says about others.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
};

use crate::nodes::{specthink, stderr};

/// Sends the bytes to the first client, and returns what it asked for.
fn answering(bytes: &'static [u8]) -> (SocketAddr, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let length = stream.read(&mut head).unwrap();
        stream.write_all(bytes).unwrap();
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    (address, asked)
}

/// Returns an address on which nothing listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Returns the exit code and standard error.
fn probed(arguments: &[&str]) -> (Option<i32>, String) {
    let output = specthink(&[&["probe"], arguments].concat(), None);
    (output.status.code(), stderr(&output).to_owned())
}

const WELL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";

#[test]
fn one_address_that_is_well_is_enough() {
    let (address, asked) = answering(WELL);
    let (first, second) =
        (format!("http://{}/health", nobody()), format!("http://{address}/ready?a=b"));
    assert_eq!(probed(&[&first, &second]), (Some(0), String::new()));
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("GET /ready?a=b HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: {address}\r\n")), "{asked}");
}

#[test]
fn what_is_not_well_is_said_in_one_line() {
    let loading = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    for (answer, expected) in [
        (&loading[..], "it answered 503 Service Unavailable"),
        (b"PRI * HTTP/2.0\r\n\r\n", "what answers is not an HTTP server"),
        (b"", "what answers is not an HTTP server"),
    ] {
        let (address, _) = answering(answer);
        let (code, said) = probed(&[&format!("http://{address}/readyz")]);
        assert_eq!((code, said.lines().count()), (Some(24), 1), "{said}");
        assert!(said.contains(&format!("http://{address}/readyz: {expected}")), "{said}");
    }
    let (code, said) = probed(&[&format!("http://{}/", nobody())]);
    assert_eq!(code, Some(24), "{said}");
    assert!(said.contains("cannot connect: "), "{said}");
}

#[test]
fn silence_ends_with_the_time_that_was_given() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let (code, said) = probed(&["--timeout", "100ms", &url]);
    assert_eq!(code, Some(24), "{said}");
    assert!(said.contains("no answer within 100ms"), "{said}");
}

#[test]
fn an_address_that_cannot_be_asked_is_refused() {
    for url in ["https://127.0.0.1/", "127.0.0.1:8080", "/health", "http://", "http://a b/"] {
        let (code, said) = probed(&[url]);
        assert_eq!(code, Some(2), "{url}: {said}");
        assert!(said.contains("write http://HOST:PORT/PATH"), "{url}: {said}");
    }
}

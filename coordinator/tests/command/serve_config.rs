//! The configuration file of `serve`, as `--check` reports on it.

use std::{io::ErrorKind, net::TcpListener, process::Output};

use tempfile::TempDir;
use upstream::testing::write_tokenizer;

use crate::nodes::{command, specthink, stderr, stdout, to_its_end};

/// Returns a folder with a configuration file of this text, and the file's path.
fn file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serve.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path.to_str().unwrap().to_owned())
}

fn check(path: &str, more: &[&str]) -> Output {
    specthink(&[&["serve", "--check", path], more].concat(), None)
}

/// Returns the mistakes in a file of this text, without its path.
fn mistakes(text: &str, more: &[&str]) -> Vec<String> {
    let (_folder, path) = file(text);
    let output = check(&path, more);
    assert_eq!(output.status.code(), Some(22), "{output:?}");
    let begin = format!("error: {path}:");
    let error = stderr(&output);
    error
        .lines()
        .map(|line| line.strip_prefix(&begin).unwrap_or_else(|| panic!("{line}")).to_owned())
        .collect()
}

#[test]
fn a_file_in_order_says_what_it_serves() {
    let (folder, path) = file(
        r#"
        listen = "127.0.0.1:8123"
        small = ["@laptop"]
        large = ["@gpu", "http://127.0.0.1:7102"]
        target = ["share<=10%"]
        api-key-file = "keys"
        temperature = 0.7
        top-k = 20
        no-keep-warm = false
        queue-timeout = "5s"
        [endpoints.laptop]
        address = "127.0.0.1:7101"
        price = { input_per_million = 0, cached_input_per_million = 0, output_per_million = 0 }
        [endpoints.gpu]
        address = "https://gpu.example.org:7102"
        token-file = "gpu.token"
        price = { input_per_million = 0.1, cached_input_per_million = 0, output_per_million = 0.6 }
        [policies]
        thrifty = "strict:target=share<=5%,target=cost<=0.001"
        "team/chance" = { name = "random", parameters = { share = 0.3 } }
        "#,
    );
    std::fs::write(folder.path().join("keys"), "ann s3cret\n").unwrap();
    std::fs::write(folder.path().join("gpu.token"), "token").unwrap();
    let output = check(&path, &[]);
    let line =
        format!("{path} is in order: listen 127.0.0.1:8123, model team/chance, model thrifty\n");
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (Some(0), line.as_str()),
        "{}",
        stderr(&output)
    );
    let output = check(&path, &["--listen", "127.0.0.1:1"]);
    assert!(stdout(&output).contains("listen 127.0.0.1:1,"), "the command line wins: {output:?}");
    let output = check(&path, &["--listen", "[::ffff:127.0.0.1]:1"]);
    assert_eq!(output.status.code(), Some(0), "loopback wants no TLS: {}", stderr(&output));
}

#[test]
fn every_mistake_is_a_line_with_its_place_and_the_nearest_key() {
    let text = "\
polcy = \"strict\"
max-requests = \"many\"
insecure = \"yes\"
small = [\"127.0.0.1:7101\", true]
large-token-file = \"t\"
reasoning = \"splitt\"
check = \"x\"

[endpoints.gpu]
token_file = \"x\"
adress = \"h:1\"
[endpoints.laptop]
ca = \"x\"

[policies]
small = \"strict\"
mine = \"strickt\"
yours = { name = \"random\", parameters = { shar = 1 } }
theirs = 7
late = \"strict:resend\"
";
    let found = mistakes(text, &[]);
    for (line, words) in [
        (1, &["\"polcy\"", "write policy"][..]),
        (2, &["'many'", "--max-requests"]),
        (3, &["insecure must be true or false"]),
        (4, &["small", "boolean", "a text or a number"]),
        (5, &["[endpoints.NAME]", "token-file"]),
        (6, &["'splitt'", "split, inline"]),
        (7, &["\"check\" is not a known key"]),
        (9, &["\"gpu\"", "write address"]),
        (12, &["\"laptop\"", "no address"]),
        (16, &["\"small\"", "a model cannot have this name"]),
        (17, &["\"mine\"", "strickt"]),
        (18, &["\"yours\"", "shar", "share"]),
        (19, &["\"theirs\"", "integer"]),
        (20, &["\"late\"", "resend applies to all policies"]),
    ] {
        let begin = format!("{line}: ");
        let told = found.iter().find(|told| told.starts_with(&begin));
        let told = told.unwrap_or_else(|| panic!("line {line} is not reported: {found:#?}"));
        assert!(words.iter().all(|word| told.contains(word)), "{words:?}: {told}");
    }
    assert_eq!(found.len(), 14, "{found:#?}");
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn what_is_no_toml_is_told_by_its_lines() {
    let found = mistakes("listen = \nsmall = \"a\"\nlarge = = 3\n", &[]);
    let lines: Vec<&str> = found.iter().map(|told| &told[..3]).collect();
    assert_eq!(lines, ["1: ", "3: "], "{found:?}");
    assert!(found.iter().all(|told| told.contains("write TOML")), "{found:?}");
    insta::assert_snapshot!(found.join("\n"));
    let missing = check("/no/such/serve.toml", &[]);
    assert_eq!(missing.status.code(), Some(22));
    assert!(
        stderr(&missing).starts_with("error: /no/such/serve.toml: cannot read it: "),
        "{missing:?}"
    );
}

#[test]
fn what_makes_no_sense_together_is_told_too() {
    for (text, words) in [
        ("journal-keep = 5\n", "--journal-dir"),
        ("policy-file = \"p.yaml\"\npreset = \"instruct\"\n", "--preset"),
        ("top-p = 1.5\n", "--top-p is 1.5"),
        ("policy = \"strict\"\nshare = 0.2\n", "--share is for"),
        ("small = \"@gpu\"\n[endpoints.laptop]\naddress = \"h:1\"\n", "write @laptop"),
        ("listen = \"0.0.0.0:8080\"\n", "--api-key-file"),
        ("api-key-file = \"no-such-file\"\n", "no-such-file"),
        ("policies.a = \"strict:target=cost<=1\"\n", "policy \"a\""),
        ("prices = \"no-such-prices\"\ntarget = \"cost<=1\"\n", "no-such-prices"),
    ] {
        let (_folder, path) = file(text);
        let output = check(&path, &[]);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(22), "{text}: {error}");
        assert!(error.lines().all(|line| line.starts_with(&format!("error: {path}:"))), "{error}");
        assert!(error.contains(words), "{words}: {error}");
        let mut once: Vec<&str> = error.lines().collect();
        once.dedup();
        assert_eq!(once.len(), error.lines().count(), "each is reported once: {error}");
    }
    let (folder, path) = file("prices = \"prices.toml\"\n");
    let prices = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/answer/prices.toml");
    std::fs::copy(prices, folder.path().join("prices.toml")).unwrap();
    let output = check(&path, &[]);
    assert_eq!(output.status.code(), Some(0), "prices need no target of the file's: {output:?}");
    let (_folder, path) = file("max-queue = 3\n");
    let output = specthink(&["serve", "--check", &path, "--top-p", "x"], None);
    assert_eq!(output.status.code(), Some(2), "the command line's own mistakes: {output:?}");
}

#[test]
fn a_tokenizer_by_name_is_looked_at_where_it_is_and_never_downloaded() {
    let hub = TcpListener::bind("127.0.0.1:0").unwrap();
    hub.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}", hub.local_addr().unwrap());
    let (folder, path) = file(
        "small = \"127.0.0.1:7101\"\nlarge = \"@big\"\n\
         [endpoints.big]\naddress = \"openai+http://127.0.0.1:8000/v1\"\ntokenizer = \"owner/fake\"\n",
    );
    let check = |offline: &str| {
        let mut command = command();
        command.args(["serve", "--check", &path]).env("HF_ENDPOINT", &endpoint);
        command.env("HF_HUB_CACHE", folder.path().join("hub")).env("HF_HUB_OFFLINE", offline);
        to_its_end(command, None)
    };
    let refused = |words: &str| {
        let output = check("1");
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(22), "{error}");
        assert!(error.contains("the tokenizer of openai+http://127.0.0.1:8000/v1: "), "{error}");
        assert!(error.contains(words), "{error}");
    };
    let in_order = |offline: &str| {
        let output = check(offline);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    };
    in_order("0");
    refused("owner/fake is not complete in the cache");
    let repository = folder.path().join("hub/models--owner--fake");
    let snapshot = repository.join("snapshots").join("a".repeat(40));
    write_tokenizer(&snapshot).unwrap();
    std::fs::create_dir(repository.join("refs")).unwrap();
    std::fs::write(repository.join("refs/main"), "a".repeat(40)).unwrap();
    in_order("0");
    in_order("1");
    std::fs::write(snapshot.join("tokenizer.json"), "{").unwrap();
    assert_eq!(check("0").status.code(), Some(22));
    refused("tokenizer.json");
    assert_eq!(hub.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nothing connected");
}

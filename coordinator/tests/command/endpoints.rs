//! How nodes are named, and which node is shown which secret. A node that refuses a client says whether it was shown no
//! token or a wrong one, so its message reveals what it was shown.

use std::{path::PathBuf, process::Output};

use tempfile::TempDir;
use thinking::testing::Options;
use tokio::runtime::Runtime;

use crate::{
    nodes::{Served, command, large, served_to, small, specthink, stderr, to_its_end},
    refusals::refused,
};

/// Part of what a node says if it was shown no token.
const NONE_SHOWN: &str = "requires a token";
/// Part of what a node says if it was shown another node's token.
const WRONG_SHOWN: &str = "does not accept this token";

/// Two nodes that ask for tokens, and the files that hold the tokens.
struct Guarded {
    small: Served,
    large: Served,
    folder: TempDir,
    _runtime: Runtime,
}

impl Guarded {
    /// Starts the nodes. Each asks for the token of this text, if there is one.
    fn new(small_token: Option<&str>, large_token: Option<&str>) -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        for token in ["one", "two"] {
            std::fs::write(folder.path().join(token), token).unwrap();
        }
        Guarded {
            small: served_to(&runtime, small(), small_token),
            large: served_to(&runtime, large(), large_token),
            folder,
            _runtime: runtime,
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(PathBuf::from(self.path(name)), text).unwrap();
        self.path(name)
    }

    /// Returns the arguments of `ask` with these flags. SMALL and LARGE become the nodes' addresses, ONE and TWO the
    /// paths of the token files.
    fn flags(&self, flags: &str) -> Vec<String> {
        let real = |flag: &str| match flag {
            "SMALL" => self.small.url.clone(),
            "LARGE" => self.large.url.clone(),
            "ONE" => self.path("one"),
            "TWO" => self.path("two"),
            flag => flag.to_owned(),
        };
        ["ask", "x"].into_iter().chain(flags.split_whitespace()).map(real).collect()
    }

    fn ask(&self, flags: &str) -> Output {
        specthink(&self.flags(flags), None)
    }

    fn refuses(&self, flags: &str, exit: i32, words: &[&str]) {
        let flags = self.flags(flags);
        refused(&flags.iter().map(String::as_str).collect::<Vec<_>>(), None, exit, words);
    }
}

/// Expects that both nodes took part.
fn both_answer(output: &Output) {
    let error = stderr(output);
    assert_eq!(output.status.code(), Some(0), "{error}");
    assert!(!error.contains("degraded"), "{error}");
}

#[test]
fn one_token_is_shown_to_the_large_node_and_not_to_the_small_one() {
    let open = Guarded::new(None, Some("one"));
    both_answer(&open.ask("--small SMALL --large LARGE --token-file ONE"));
    let guarded = Guarded::new(Some("one"), Some("one"));
    let hint = [NONE_SHOWN, "--small-token-file"];
    guarded.refuses("--small SMALL --large LARGE --token-file ONE", 8, &hint);
    // With a policy that does not use the large node, its secret is not given to another node.
    let alone = "--policy small-only --token-file ONE";
    guarded.refuses(&format!("--small SMALL --large LARGE {alone}"), 8, &hint);
    // If no large node is named, the secret is for the first small node, and for no other.
    assert!(guarded.ask(&format!("--small SMALL {alone}")).status.success());
    let reserve = format!("--small http://127.0.0.1:9 --small SMALL {alone}");
    guarded.refuses(&reserve, 8, &hint);
    // A user who wants to show it to both nodes says so.
    both_answer(
        &guarded.ask("--small SMALL --small-token-file ONE --large LARGE --token-file ONE"),
    );
}

#[test]
fn the_variable_is_shown_to_the_large_node_and_not_to_the_small_one() {
    let guarded = Guarded::new(Some("one"), Some("one"));
    let with_variable = |flags: &str| {
        let mut command = command();
        command.args(guarded.flags(flags)).env("SPECTHINK_TOKEN", "one");
        to_its_end(command, None)
    };
    let output = with_variable("--small SMALL --large LARGE");
    assert_eq!(output.status.code(), Some(8));
    assert!(stderr(&output).contains(NONE_SHOWN), "{}", stderr(&output));
    both_answer(&with_variable("--small SMALL --small-token-file ONE --large LARGE"));
    assert!(with_variable("--small SMALL --policy small-only").status.success());
}

#[test]
fn each_node_is_shown_the_token_that_is_given_behind_it() {
    let guarded = Guarded::new(Some("one"), Some("two"));
    let large = "--large LARGE --large-token-file TWO";
    both_answer(&guarded.ask(&format!("--small SMALL --small-token-file ONE {large}")));
    both_answer(&guarded.ask(&format!("{large} --small SMALL --small-token-file ONE")));
    // A node's own token overrides the one for the large node, which is then unused.
    let unused = format!("--token-file ONE {large} --small SMALL --small-token-file ONE");
    let output = guarded.ask(&unused);
    both_answer(&output);
    let note = format!("note: --token-file is for {}, which has security", guarded.large.url);
    assert!(stderr(&output).starts_with(&note), "{}", stderr(&output));
    let swapped = format!("--small SMALL --small-token-file TWO {large}");
    guarded.refuses(&swapped, 8, &[WRONG_SHOWN, "--small-token-file"]);
    guarded.refuses(&format!("--small SMALL {large}"), 8, &[NONE_SHOWN]);
}

#[test]
fn where_a_large_node_cannot_be_reached_another_one_takes_over() {
    let open = Guarded::new(None, Some("two"));
    let journal = open.path("journal");
    let large = "--large http://127.0.0.1:9 --large LARGE --large-token-file TWO";
    let output = open.ask(&format!("--small SMALL {large} --token-file ONE --journal {journal}"));
    both_answer(&output);
    let journal = std::fs::read_to_string(journal).unwrap();
    let spare = format!(r#""large":"{}","large_spares":["http://127.0.0.1:9"]"#, open.large.url);
    assert!(journal.contains(&spare), "it is known to be unreachable: {journal}");
}

#[test]
fn a_name_stands_for_what_the_file_says() {
    let guarded = Guarded::new(Some("one"), Some("two"));
    let (small, large) = (&guarded.small.url, &guarded.large.url);
    let text = format!(
        "[laptop]\naddress = \"{small}\"\ntoken-file = \"one\"\n\
         [gpu]\naddress = \"{large}\"\ntoken-file = \"two\"\n\
         [bare]\naddress = \"{large}\"\n\
         [own]\naddress = \"{large}\"\ninsecure = false\n"
    );
    let file = guarded.write("nodes.toml", &text);
    let ask = |flags: &str| guarded.ask(&format!("--endpoints {file} {flags}"));
    both_answer(&ask("--small @laptop --large @gpu"));
    // The flags apply to a table that says nothing about security, and to no other.
    both_answer(&ask("--small @laptop --large @bare --token-file TWO"));
    both_answer(&ask("--small @laptop --large @own --large-token-file TWO"));
    let output = ask("--small @laptop --large @own --token-file TWO");
    assert!(stderr(&output).contains(NONE_SHOWN), "{}", stderr(&output));
    let named = format!("--endpoints {file} --small @labtop --large @gpu");
    guarded.refuses(&named, 2, &["nodes.toml", "\"labtop\"", "@laptop", "bare, gpu, laptop, own"]);
}

#[test]
fn a_file_of_endpoints_or_a_flag_that_does_not_work_is_one_line() {
    let guarded = Guarded::new(None, None);
    guarded.refuses("--small @laptop", 2, &["@laptop", "--endpoints FILE"]);
    let missing = guarded.path("missing.toml");
    let words = ["missing.toml", "--endpoints"];
    guarded.refuses(&format!("--small SMALL --endpoints {missing}"), 2, &words);
    let file = guarded.write("nodes.toml", "[laptop]\naddress = \"h:1\"\ntoken_file = \"x\"\n");
    let words = ["nodes.toml", "\"laptop\"", "token_file", "write token-file"];
    guarded.refuses(&format!("--small @laptop --endpoints {file}"), 2, &words);
    let file = guarded.write("nodes.toml", "[laptop]\naddress = \"h:1\"\ntoken-file = \"none\"\n");
    let insecure = format!("--small @laptop --endpoints {file}");
    guarded.refuses(&insecure, 6, &["token file", guarded.path("none").as_str()]);
    guarded.refuses("--small-token-file ONE --small SMALL", 2, &["no --small before it"]);
    guarded.refuses("--small SMALL --large-token-file ONE", 2, &["no --large before it"]);
}

#[test]
fn an_endpoint_says_what_the_node_is_called_which_model_it_serves_and_what_that_costs() {
    let open = Guarded::new(None, None);
    let (small, large) = (&open.small.url, &open.large.url);
    let model = Options::default().card.name;
    let price = |each: u32| {
        format!(
            "{{ input_per_million = {each}, cached_input_per_million = {each}, output_per_million = {each} }}"
        )
    };
    let (cheap, dear) = (price(0), price(1000));
    let text = format!(
        "[laptop]\naddress = \"{small}\"\nmodel = \"{model}\"\nprice = {cheap}\n\
         [gpu]\naddress = \"{large}\"\nmodel = \"{model}\"\nprice = {dear}\n\
         [other]\naddress = \"{large}\"\nmodel = \"another-32b\"\n\
         [gone]\naddress = \"127.0.0.1:9\"\nname = \"the attic\"\n"
    );
    let file = open.write("nodes.toml", &text);
    let flags = |flags: &str| format!("--endpoints {file} {flags}");
    both_answer(&open.ask(&flags("--small @laptop --large @gpu")));
    let journal = open.path("gone.jsonl");
    let degraded = open.ask(&flags(&format!("--small @laptop --large @gone --journal {journal}")));
    let said = "large node: cannot reach http://127.0.0.1:9";
    assert!(stderr(&degraded).contains(said), "{}", stderr(&degraded));
    let header = std::fs::read_to_string(journal).unwrap();
    assert!(header.contains("the attic (http://127.0.0.1:9)"), "{header}");
    let another = [model.as_str(), "\"another-32b\"", large];
    let degraded = open.ask(&flags("--small @laptop --large @other"));
    for word in another {
        assert!(stderr(&degraded).contains(word), "{word:?} is not in {}", stderr(&degraded));
    }
    open.refuses(&flags("--small @other --policy small-only"), 15, &another);
    let target = "--target cost<=0.000001";
    let journal = open.path("journal");
    let output =
        open.ask(&flags(&format!("--small @laptop --large @gpu {target} --journal {journal}")));
    assert!(output.status.success(), "{}", stderr(&output));
    let header = std::fs::read_to_string(journal).unwrap();
    assert!(header.contains("\"output_per_million\":1000.0"), "{header}");
    open.refuses(
        &flags(&format!("--small @laptop --large @gone {target}")),
        2,
        &["price", "large"],
    );
    open.refuses(&format!("--small SMALL --large LARGE {target}"), 2, &["--prices", "--endpoints"]);
}

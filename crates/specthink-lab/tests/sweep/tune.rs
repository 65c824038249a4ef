//! `specthink-lab tune`: which gap is chosen, which policy is written, and what is refused.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use thinking::testing::{Options, Script, ScriptedThinker, pieces};

use crate::bench::{Bench, asked, stderr};

const PRODUCTS: &str = r#"{"id":"a","question":"7 x 8?","answer":"56"}
{"id":"b","question":"8 x 7?","answer":"56"}
"#;

/// A small model that is wrong about one product, and a large one that knows better, by a gap from 1 to 4.
fn bench() -> Bench {
    let wrong = Script::function(|committed, _| {
        let rest = "7 x 8 is 54 then".get(committed.len()..).unwrap_or_default();
        pieces(rest).map(str::to_owned).collect()
    });
    let mut options = Options::default();
    options.card.can_review = true;
    let right = ScriptedThinker::with_options(Script::text("7 x 8 is 56 then"), options);
    Bench::of(PRODUCTS, [ScriptedThinker::new(wrong), right])
}

impl Bench {
    fn tune(&self, flags: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_specthink-lab"));
        command.arg("tune").arg(self.folder.path().join("data.jsonl")).arg("--out").arg(self.out());
        command.args(["--small", &self.urls[0], "--large", &self.urls[1], "--limit", "10"]);
        for name in ["RUST_LOG", "SPECTHINK_LOG", "SPECTHINK_TOKEN"] {
            command.env_remove(name);
        }
        command.args(flags).output().unwrap()
    }

    /// Writes a file of policies that contains one.
    fn config(&self) -> PathBuf {
        let path = self.folder.path().join("policies.toml");
        fs::write(&path, CONFIG).unwrap();
        path
    }
}

const CONFIG: &str = "# Ours.\n[policies]\nhasty = \"strict:overlap=20\"\n";
const TWO: [&str; 6] = ["--name", "careful", "--gap", "5", "--gap", "0.5"];

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn a_gap_is_chosen_and_written_as_a_policy_and_nothing_is_asked_twice() {
    let bench = bench();
    let config = bench.config();
    let flags = ["--target", "accuracy>=90%", "--config", config.to_str().unwrap()];
    let output = bench.tune(&[&TWO[..], &flags].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let head =
        "| gap | right | 95 % interval | corrections | large share | latency median | choice |\n";
    assert!(text.starts_with(head), "{text}");
    assert!(text.contains("\n| 0.5 | 100.0 % of 2 | 34.2 to 100.0 % | 1.00 | "), "{text}");
    assert!(text.contains("\n| 5 | 0.0 % of 2 | 0.0 to 65.8 % | 0.00 | 0.0 % | "), "{text}");
    assert!(text.contains(" | **chosen** |\n| 5 | ") && text.contains(" | misses accuracy>=90% |"));
    assert!(text.contains("\n0.5 is the largest gap that meets accuracy>=90%.\n"), "{text}");
    let tables = text.lines().filter(|line| line.starts_with("| --- |")).count();
    assert_eq!(tables, 1, "one table: {text}");

    let written = fs::read_to_string(&config).unwrap();
    let (before, added) = written.split_at(CONFIG.len());
    assert_eq!(before, CONFIG);
    assert!(text.ends_with(&format!("\n\n[policies]\n{added}")), "{text}");
    assert!(added.ends_with("\ncareful = \"review:review-gap=0.5\"\n"), "{added}");
    let said = [
        "# Chosen by specthink-lab tune from the gaps 0.5, 5, for accuracy>=90%.\n",
        "data.jsonl, 2 questions, seeds 0; SHA-256 ",
        "# Models: scripted + scripted.\n",
        "# Over loopback: 100.0 % right (95 % interval 34.2 to 100.0 %), 1.00 corrections per answer, ",
    ];
    for line in said {
        assert!(added.contains(line), "{line}: {added}");
    }
    assert!(stderr(&output).ends_with(&format!("careful was added to {}\n", config.display())));

    let before = asked(&bench.small);
    assert_eq!(before, 4);
    let output = bench.tune(&[&TWO[..], &["--target", "corrections<=0.5"]].concat());
    assert!(stdout(&output).ends_with("\ncareful = \"review:review-gap=5\"\n"), "{output:?}");
    assert_eq!(asked(&bench.small), before, "with another target too");
}

#[test]
fn where_no_gap_keeps_the_targets_the_nearest_is_named_and_nothing_is_written() {
    let bench = bench();
    let config = bench.config();
    let targets = ["--target", "corrections<=0.5", "--target", "accuracy>=90%"];
    let flags = ["--config", config.to_str().unwrap(), "--with", "strict+review:loops=end"];
    let output = bench.tune(&[&TWO[..], &targets, &flags].concat());
    assert!(output.status.success(), "as of a plan: {}", stderr(&output));
    let text = stdout(&output);
    let line =
        "No gap meets corrections<=0.5, accuracy>=90%, so no policy is written. The nearest is ";
    assert!(text.contains(line) && !text.contains("[policies]"), "{text}");
    assert!(text.contains(" | misses corrections<=0.5 |") && !text.contains("chosen"), "{text}");
    assert_eq!(fs::read_to_string(&config).unwrap(), CONFIG);
    assert!(bench.out().join("strict%2breview%3aloops=end,review-gap=5").is_dir());
}

#[test]
fn the_thresholds_of_other_policies_are_chosen_too() {
    let bench = bench();
    let two = ["--name", "sure", "--gap", "4", "--gap", "0"];
    let flags = ["--with", "entropy", "--target", "accuracy>=90%"];
    let output = bench.tune(&[&two[..], &flags].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("| entropy | right |"), "{text}");
    assert!(text.contains("\n0 is the largest entropy that meets accuracy>=90%.\n"), "{text}");
    assert!(text.ends_with("\nsure = \"entropy:entropy=0\"\n"), "{text}");
}

#[test]
fn costs_have_a_column_where_there_are_prices() {
    let bench = bench();
    let prices = concat!(env!("CARGO_MANIFEST_DIR"), "/../answer/prices.toml");
    let flags = ["--prices", prices, "--target", "cost<=1"];
    let output = bench.tune(&[&TWO[..], &flags].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("| large share | cost ("), "{output:?}");
    assert!(stdout(&output).contains("\nThe gap 0.5 meets cost<=1.\n"), "{output:?}");
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line_before_anything_is_asked() {
    let bench = bench();
    let config = bench.config();
    let config = config.to_str().unwrap();
    let lost = bench.folder.path().join("none").join("policies.toml");
    let table: [(&[&str], i32, &str); 15] = [
        (&[], 2, "--name"),
        (&["--name", "care ful"], 2, "not a valid policy name"),
        (&["--name", "small"], 2, "not a valid policy name"),
        (&["--name", "a", "--target", "speed<=1"], 2, "corrections<=2"),
        (&["--name", "a", "--target", "cost<=1"], 2, "give --prices FILE"),
        (&["--name", "a", "--gap"], 2, "--gap"),
        (&["--name", "a", "--gap", ""], 2, "--gap"),
        (&["--name", "a", "--gap", "-1"], 2, "from 0 to 100"),
        (&["--name", "a", "--gap", "1", "--gap", "1.0"], 2, "--gap 1 is given twice"),
        (&["--name", "a", "--with", "strict"], 2, "strict has no threshold"),
        (&["--name", "a", "--with", "score:score=3"], 2, "leave score out"),
        (&["--name", "a", "--with", "score", "--gap", "2.5"], 2, "--gap 2.5 is not a mark"),
        (&["--name", "a", "--no-keep-warm"], 2, "--no-keep-warm"),
        (&["--name", "hasty", "--config", config], 22, "already has a policy \"hasty\""),
        (&["--name", "a", "--config", lost.to_str().unwrap()], 22, "its folder does not exist"),
    ];
    for (flags, code, what) in table {
        let output = bench.tune(flags);
        assert_eq!(output.status.code(), Some(code), "{what}: {}", stderr(&output));
        assert!(stderr(&output).contains(what), "{what}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    assert_eq!(asked(&bench.small), 0);
    assert_eq!(fs::read_to_string(config).unwrap(), CONFIG);
    assert!(!bench.out().exists(), "nothing was begun");
}

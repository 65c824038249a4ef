//! Sweeps over several pairs of models.

use std::{fs, process::Command};

use lab::results::Results;

use crate::bench::{Bench, TWO, asked, stderr};

#[test]
fn every_pair_has_its_folder_and_one_report_is_on_all() {
    let bench = Bench::new();
    let [small, large] = &bench.urls;
    // The second pair has the nodes in the opposite roles.
    let pairs = [format!("--pair=one={small},{large}"), format!("--pair=two={large},{small}")];
    let flags = [pairs.each_ref().map(String::as_str).as_slice(), &TWO].concat();
    let output = bench.command_without_nodes(&flags).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.starts_with("one:\n\n| policy | ") && text.contains("\n\ntwo:\n\n"), "{text}");
    let all = asked(&bench.small) + asked(&bench.large);

    let report = bench.out().join("report").join("report.html");
    assert!(stderr(&output).ends_with(&format!("report: {}\n", report.display())));
    let page = fs::read_to_string(&report).unwrap();
    assert!(page.contains("strict (one)") && page.contains("strict (two)"), "by the pairs' names");
    let results = Results::read(&[bench.out()]).unwrap();
    assert_eq!((results.sweeps.len(), results.cells.len()), (2, 4));
    assert!(results.skipped.is_empty(), "{:?}", results.skipped);
    let one = Results::read(&[bench.out().join("one")]).unwrap();
    assert_eq!((one.sweeps.len(), one.cells.len()), (1, 2));

    let again = bench.command_without_nodes(&flags).output().unwrap();
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(asked(&bench.small) + asked(&bench.large), all, "nothing is asked twice");

    let mut plan = Command::new(env!("CARGO_BIN_EXE_specthink-lab"));
    let plan = plan.arg("plan").arg(bench.out()).args(["--link", "rtt=40ms"]).output().unwrap();
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(plan.contains("| strict (one) | ") && plan.contains("| strict (two) | "), "{plan}");
}

#[test]
fn a_target_of_costs_takes_the_prices_of_the_pairs_endpoints() {
    let bench = Bench::new();
    let [small, large] = &bench.urls;
    let table = |name: &str, address: &str, price: u32| {
        format!(
            "[{name}]\naddress = \"{address}\"\nprice = {{ input_per_million = {price}, \
             cached_input_per_million = {price}, output_per_million = {price} }}\n"
        )
    };
    let text = [table("laptop", small, 0), table("gpu", large, 3), table("dear", large, 7)];
    let file = bench.folder.path().join("nodes.toml");
    fs::write(&file, text.concat()).unwrap();
    let sweep = |pairs: &[&str]| {
        let pairs: Vec<String> = pairs.iter().map(|pair| format!("--pair={pair}")).collect();
        let mut command = bench.command_without_nodes(&["--policy", "strict:target=cost<=1"]);
        command.arg("--endpoints").arg(&file).args(pairs).output().unwrap()
    };
    let refused = |pairs: &[&str], what: &str| {
        let output = sweep(pairs);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(what), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    };
    refused(
        &["one=@laptop,@gpu", "two=@laptop,@dear"],
        "the pairs' endpoints have different prices",
    );
    refused(&[&format!("one=@laptop,{large}")], "the small node has a price");
    refused(&[&format!("one={small},{large}")], "--endpoints that have a price");
    let output = sweep(&["one=@laptop,@gpu", "two=@laptop,@gpu"]);
    assert!(output.status.success(), "{}", stderr(&output));
    for pair in ["one", "two"] {
        let experiment = fs::read_to_string(bench.out().join(pair).join("sweep.toml")).unwrap();
        assert!(experiment.contains("\"output_per_million\":3.0"), "{experiment}");
    }
}

#[test]
fn pairs_that_make_no_sense_are_refused_in_one_line() {
    let bench = Bench::new();
    let [small, large] = &bench.urls;
    let one = format!("--pair=one={small},{large}");
    let table: [(&[&str], &str); 4] = [
        (&[&one, &one], "--pair one is given twice"),
        (&["--pair", "one"], "NAME=SMALL,LARGE"),
        (&["--pair", "report=a,b"], "another name"),
        (&[&one, "--small", small], "--small"),
    ];
    for (flags, what) in table {
        let output = bench.command_without_nodes(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{what}: {}", stderr(&output));
        assert!(stderr(&output).contains(what), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
    let file = bench.folder.path().join("experiment.toml");
    fs::write(&file, format!("small = \"{small}\"\nlarge = \"{large}\"\n")).unwrap();
    let flags = [&one, "--experiment", file.to_str().unwrap(), "--limit=1", "--policy=small-only"];
    let output = bench.command_without_nodes(&flags).output().unwrap();
    assert!(output.status.success(), "a flag takes the file's place: {}", stderr(&output));
    assert!(bench.out().join("one").join("sweep.toml").exists());
    let output = bench.sweep(&TWO);
    assert_eq!(
        output.status.code(),
        Some(5),
        "a folder of pairs is not a sweep's: {}",
        stderr(&output)
    );

    let bench = Bench::new();
    assert!(bench.sweep(&["--policy=small-only"]).status.success());
    let output = bench.command_without_nodes(&[&one]).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "and the reverse: {}", stderr(&output));
    assert!(
        stderr(&output).contains("it belongs to a sweep without --pair"),
        "{}",
        stderr(&output)
    );

    let bench = Bench::new();
    let gone = format!("--pair=gone={small},http://127.0.0.1:1");
    let output = bench.command_without_nodes(&[&one, &gone]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(stderr(&output).contains("large node of pair gone: "), "{}", stderr(&output));
    assert!(!bench.out().exists(), "nothing was begun");
}

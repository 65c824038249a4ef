//! The commands that the documentation shows. Each must be one that its program takes: flags and their values are
//! checked; which flags a command requires, and which exclude each other, is not. Those that need nothing from outside
//! are [run](run).

mod page;
#[cfg(unix)]
mod run;

use std::path::Path;

use tests::Process;

use self::page::Block;
use crate::{LARGE, SMALL, SPECTHINK, lab::LAB, tidy};

/// Commands that are documented in some folder must not vanish because nobody finds them any more.
const FEWEST: usize = 100;

/// A command in a page: where it is, and its words.
struct Shown {
    place: String,
    words: Vec<String>,
}

#[test]
fn every_documented_command_is_one_that_its_program_takes() {
    let shown = all();
    assert!(shown.len() >= FEWEST, "only {} commands were found", shown.len());
    let mut faults = Vec::new();
    for Shown { place, words } in shown {
        let Some((program, args)) = split(&words) else { continue };
        // A program reads its arguments in order: `--help` at the end is reached only if it takes those before it.
        let args = args.iter().map(String::as_str).take_while(|word| *word != "--");
        let args: Vec<&str> = args.chain(["--help"]).collect();
        let ended = Process::spawn(program, &args, &[]).wait();
        if ended.code != Some(0) {
            let why = ended.stderr.lines().next().unwrap_or_default().to_owned();
            faults.push(format!("{place}: {}: {why}", words.join(" ")));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The program under test that a command names, and what it is given.
fn split(words: &[String]) -> Option<(&'static str, &[String])> {
    let words: &[String] = match words {
        [cargo, run, rest @ ..] if cargo == "cargo" && run == "run" => {
            let at = rest.iter().position(|word| word == "--")?;
            let (build, args) = rest.split_at(at);
            if build.iter().any(|word| word == "--example") {
                return None;
            }
            let is_lab = build.iter().any(|word| word == "specthink-lab");
            return Some((if is_lab { LAB } else { SPECTHINK }, &args[1..]));
        }
        words => words,
    };
    let (program, args) = words.split_first()?;
    let program = match Path::new(program).file_name()?.to_str()? {
        "specthink" => SPECTHINK,
        "specthink-lab" => LAB,
        "small-node" => SMALL,
        "large-node" => LARGE,
        _ => return None,
    };
    // What a variable holds is not known.
    if args.iter().any(|word| word.contains('$')) {
        return None;
    }
    // `...` stands for more of the same.
    let end = args.iter().position(|word| word == "..." || word == "…").unwrap_or(args.len());
    Some((program, &args[..end]))
}

/// All commands of all pages.
fn all() -> Vec<Shown> {
    let pages = pages();
    let blocks = pages.iter().flat_map(|page| page::blocks(page, &tidy::read(page)));
    blocks.filter(|block| block.language == "sh").flat_map(|block| of_block(&block)).collect()
}

/// The pages for users.
fn pages() -> Vec<String> {
    let folders = ["docs", "docs/tutorials", "deploy", "models"];
    let mut pages: Vec<String> =
        folders.into_iter().flat_map(|folder| tidy::files(folder, "md")).collect();
    pages.push("README.md".to_owned());
    pages.sort_unstable();
    pages.dedup();
    pages
}

fn of_block(block: &Block) -> Vec<Shown> {
    let mut shown = Vec::new();
    let (mut line, mut begins) = (String::new(), 0);
    for (number, raw) in (block.line + 1..).zip(block.text.lines()) {
        if line.is_empty() {
            begins = number;
        }
        match raw.strip_suffix('\\') {
            Some(part) => line.push_str(part),
            // A text in quotes may go on in the next line.
            None if shlex::split(&format!("{line}{raw}")).is_none() => {
                line.push_str(raw);
                line.push('\n');
            }
            None => {
                line.push_str(raw);
                let place = format!("{}:{begins}", block.page);
                shown.extend(
                    commands(&line).into_iter().map(|words| Shown { place: place.clone(), words }),
                );
                line.clear();
            }
        }
    }
    shown
}

/// The simple commands of a line, without what sets variables, redirects or runs in the background.
fn commands(line: &str) -> Vec<Vec<String>> {
    let words = shlex::split(line).unwrap_or_default();
    let ends = |word: &String| ["|", "||", "&&", "&", ";", "do"].contains(&word.as_str());
    let commands = words.split(ends);
    commands
        .map(|words| {
            let is_variable = |word: &&String| {
                word.split_once('=').is_some_and(|(name, _)| {
                    name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
                })
            };
            let words = words.iter().skip_while(is_variable);
            let is_argument = |word: &&String| {
                !word
                    .trim_start_matches(|c: char| c.is_ascii_digit() || c == '&')
                    .starts_with(['<', '>'])
            };
            let words = words.take_while(is_argument);
            words.map(|word| word.trim_end_matches(';').to_owned()).collect()
        })
        .collect()
}

#[test]
fn commands_are_found_where_pages_show_them() {
    let text = "text\n```sh run\nA=1 specthink ask --seed 1 \\\n    \"x & y\"   # why\nls | small-node > log &\n```\n\
                ```toml\nspecthink = 1\n```\n    ```\n    ```\n";
    let blocks = page::blocks("p.md", text);
    let found: Vec<Vec<String>> = blocks
        .iter()
        .filter(|block| block.language == "sh")
        .flat_map(of_block)
        .map(|shown| shown.words)
        .filter(|words| !words.is_empty())
        .collect();
    assert_eq!(
        found,
        [vec!["specthink", "ask", "--seed", "1", "x & y"], vec!["ls"], vec!["small-node"]]
    );
}

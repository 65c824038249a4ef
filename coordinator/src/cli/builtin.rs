//! The pair of nodes that a program may carry in itself, as the command sees it. This library links no
//! node: the program that runs the command brings the pair along, or does not.

use std::{any::Any, process::ExitCode};

use super::{
    args::{NodesArgs, SecurityArgs},
    exit::{Exit, Stop},
};

/// A pair of nodes inside the program, which answers when no node is named.
pub trait Builtin {
    /// What the pair can do, to follow the words "it can do".
    fn can(&self) -> &str;

    /// Comes before anything is read or written. May do all of the program's work in another
    /// process, which is set up better; then it returns that one's exit code.
    ///
    /// # Errors
    /// Why there is no such process, in one line.
    fn prepare(&self) -> Result<Option<ExitCode>, String>;

    /// Starts the small node, and the large one if there is a use for it.
    ///
    /// # Errors
    /// Why they cannot be started, in one line.
    fn start(&self, large: bool) -> Result<Pair, String>;
}

/// Running nodes. They stop when it is dropped.
pub struct Pair {
    /// Where the small node is.
    pub small: String,
    /// Where the large node is, where it was started.
    pub large: Option<String>,
    /// Stops the nodes when it is dropped.
    pub guard: Box<dyn Any + Send>,
}

/// The pair, when it is the one to answer: when no node is named.
pub(super) fn answering<'a>(
    builtin: Option<&'a dyn Builtin>,
    nodes: &NodesArgs,
) -> Option<&'a dyn Builtin> {
    builtin.filter(|_| nodes.small.is_empty() && nodes.large.is_none())
}

/// Starts the pair. It is on loopback and this process's own, so flags about credentials are mistakes.
pub(super) fn start(
    builtin: &dyn Builtin,
    large: bool,
    security: &SecurityArgs,
) -> Result<Pair, Stop> {
    let given = [
        ("--tls-ca", security.tls_ca.is_some()),
        ("--tls-cert", security.tls_cert.is_some()),
        ("--token-file", security.token_file.is_some()),
        ("--insecure", security.insecure),
    ];
    if let Some((flag, _)) = given.into_iter().find(|(_, given)| *given) {
        let message = format!(
            "{flag} is for nodes that are named, and without --small and --large the built-in pair \
             answers: name the nodes too, or leave {flag} out"
        );
        return Err(Stop::new(Exit::Usage, message));
    }
    builtin.start(large).map_err(no_pair)
}

/// The pair cannot be used.
pub(super) fn no_pair(why: String) -> Stop {
    let mend = "name other nodes with --small and --large";
    Stop::new(Exit::Unreachable, format!("cannot start the built-in pair: {why}; {mend}"))
}

/// What is said before the pair answers.
pub(super) fn banner(builtin: &dyn Builtin) -> String {
    format!(
        "note: the built-in pair answers: it can do {}, and nothing else; for other questions name \
         your own nodes with --small URL and --large URL",
        builtin.can()
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{
        super::args::{Args, AskArgs, Command},
        *,
    };

    /// A pair that cannot be started.
    struct Broken;

    impl Builtin for Broken {
        fn can(&self) -> &str {
            "nothing"
        }

        fn prepare(&self) -> Result<Option<ExitCode>, String> {
            Ok(None)
        }

        fn start(&self, _large: bool) -> Result<Pair, String> {
            Err("no\nmemory".to_owned())
        }
    }

    fn ask(flags: &[&str]) -> AskArgs {
        match Args::parse_from([&["specthink", "ask", "x"], flags].concat()).command {
            Command::Ask(ask) => *ask,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_answers_when_no_node_is_named_at_all() {
        let answers = |flags: &[&str]| answering(Some(&Broken), &ask(flags).nodes).is_some();
        assert!(answers(&[]));
        assert!(!answers(&["--small", "http://127.0.0.1:7101"]));
        assert!(!answers(&["--large", "http://127.0.0.1:7102"]));
        assert!(answering(None, &ask(&[]).nodes).is_none());
    }

    #[test]
    fn one_that_cannot_be_started_is_one_line() {
        let stop = start(&Broken, true, &ask(&[]).security).err().unwrap();
        assert_eq!(stop.exit, Exit::Unreachable);
        let line =
            "cannot start the built-in pair: no memory; name other nodes with --small and --large";
        assert_eq!(stop.to_string(), line);
        let stop = start(&Broken, true, &ask(&["--insecure"]).security).err().unwrap();
        assert_eq!(stop.exit, Exit::Usage, "{stop}");
    }
}

//! The pair of nodes that may be built into a program, as the command uses it. This library links no node: the program
//! that runs the command passes the pair in, or none.

use pair::{Builtin, BuiltinNodes};

use crate::{
    args::{NodesArgs, SecurityArgs},
    exit::{CliError, Exit},
};

/// Returns the pair if it is to answer, which is when no node is named.
pub(crate) fn answering<'a>(
    builtin: Option<&'a dyn Builtin>,
    nodes: &NodesArgs,
) -> Option<&'a dyn Builtin> {
    builtin.filter(|_| nodes.named.is_empty())
}

/// Starts the pair. It runs in this process and on loopback, so flags about credentials are refused.
pub(crate) fn start(
    builtin: &dyn Builtin,
    large: bool,
    security: &SecurityArgs,
) -> Result<BuiltinNodes, CliError> {
    let given = [
        ("--tls-ca", security.tls_ca.is_some()),
        ("--tls-cert", security.tls_cert.is_some()),
        ("--token-file", security.token_file.is_some()),
        ("--insecure", security.insecure),
    ];
    if let Some((flag, _)) = given.into_iter().find(|(_, given)| *given) {
        let message = format!(
            "{flag} is for named nodes, and without --small and --large the built-in pair answers: \
             name the nodes too, or leave {flag} out"
        );
        return Err(CliError::new(Exit::Usage, message));
    }
    builtin.start(large).map_err(no_pair)
}

/// Returns the error for a pair that cannot be used.
pub(crate) fn no_pair(why: String) -> CliError {
    let remedy = "name other nodes with --small and --large";
    CliError::new(Exit::Unreachable, format!("cannot start the built-in pair: {why}; {remedy}"))
}

/// Returns the note that is printed before the pair answers.
pub(crate) fn banner(builtin: &dyn Builtin) -> String {
    format!(
        "the built-in pair answers: it can do {}, and nothing else; for other questions name \
         your own nodes with --small URL and --large URL",
        builtin.can()
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Given {
        #[command(flatten)]
        nodes: NodesArgs,
        #[command(flatten)]
        security: SecurityArgs,
    }

    /// A pair that cannot be started.
    struct Broken;

    impl Builtin for Broken {
        fn can(&self) -> &str {
            "nothing"
        }

        fn start(&self, _large: bool) -> Result<BuiltinNodes, String> {
            Err("no\nmemory".to_owned())
        }
    }

    fn read(flags: &[&str]) -> Given {
        Given::parse_from([&["specthink"], flags].concat())
    }

    #[test]
    fn it_answers_when_no_node_is_named_at_all() {
        let answers = |flags: &[&str]| answering(Some(&Broken), &read(flags).nodes).is_some();
        assert!(answers(&[]));
        assert!(!answers(&["--small", "http://127.0.0.1:7101"]));
        assert!(!answers(&["--large", "http://127.0.0.1:7102"]));
        assert!(answering(None, &read(&[]).nodes).is_none());
    }

    #[test]
    fn one_that_cannot_be_started_is_one_line() {
        let error = start(&Broken, true, &read(&[]).security).err().unwrap();
        assert_eq!(error.exit, Exit::Unreachable);
        let line =
            "cannot start the built-in pair: no memory; name other nodes with --small and --large";
        assert_eq!(error.to_string(), line);
        let error = start(&Broken, true, &read(&["--insecure"]).security).err().unwrap();
        assert_eq!(error.exit, Exit::Usage, "{error}");
    }
}

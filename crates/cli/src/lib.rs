//! The toolkit of the commands `specthink` and `specthink-lab`: what they share between their arguments and the
//! libraries that do the work.
//!
//! Shared arguments are turned into values in one place: nodes ([`NodeEndpoints`]), a policy ([`policy_spec`]), how an
//! answer is written ([`sampling`], [`settings`]), a run over a data set ([`run_header`]). Every library error becomes
//! a [`CliError`]: one line and an exit code. The log, the progress bar and signal handling are here too. What is not
//! here: any command itself, and what the command lines of the nodes share as well (the crate `flags`).

mod answering;
mod args;
mod bar;
mod builtin;
mod connection;
mod endpoint;
mod endpoints;
mod errors;
mod exit;
mod keeper;
mod log;
mod node_endpoints;
mod node_pools;
mod output;
mod policy;
mod run;
mod signals;

pub use self::{
    answering::{sampling, settings},
    args::{
        AnsweringArgs, NamedNode, NodesArgs, PolicyArgs, RunArgs, SecurityArgs, SeedArgs,
        WritingArgs,
    },
    bar::Bar,
    endpoint::{NodePlace, NodeWay},
    endpoints::Endpoints,
    exit::{CliError, Exit, argument_fault, fail, help as exit_help, usage},
    log::start_logging,
    node_endpoints::{DEFAULT_LARGE, DEFAULT_SMALL, EndpointSource, NodeEndpoints},
    node_pools::{AskedServer, Nodes, Watching},
    output::written,
    policy::{known_prices, prices as token_prices, spec as policy_spec},
    run::{grader, header as run_header},
    signals::{until_enough, until_stopped},
};
pub use transport::{
    Address as NodeAddress, CertificateFacts, Description, Examination, RemoteConfig, ServerTls,
};

//! OpenAI's API in front of answers: `specthink serve` without its command line.
//!
//! [`ApiServer`] serves on a listener. A request is read field by field (`request`), becomes a run over the nodes
//! (`backend`), waits for its turn (`queue`) and is answered in a task of its own (`answering`), whose news becomes a
//! response (`reply`). `tokens` asks the small model's tokenizer, and `earlier` reads answers from journals. The page
//! (`page`) is a browser client of the same API. docs/serve.md documents the API. Only this crate uses axum, and no
//! axum type appears in its public interface. Not here: any rule of an answer, the transport to nodes, and the command
//! line.

mod answering;
mod app;
mod backend;
mod earlier;
mod error;
#[cfg(test)]
mod error_tests;
mod gate;
mod journals;
mod keys;
mod metrics;
mod nodes;
mod openapi;
mod page;
mod queue;
mod reply;
mod report;
mod request;
mod routes;
mod server;
mod tokens;
mod turns;

pub use self::{
    backend::AnswerBackend,
    gate::AccessRules,
    journals::{JournalFolder, JournalLimits},
    keys::{ApiKeys, ApiKeysError},
    queue::RequestLimits,
    server::ApiServer,
};

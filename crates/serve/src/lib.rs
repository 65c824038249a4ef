//! OpenAI's API in front of answers: `specthink serve` without its command line.
//!
//! [`ApiServer`] serves on a listener. A request is read field by field (`request`), becomes a run of the nodes
//! (`backend`), waits for its turn (`queue`) and is answered in a task of its own (`answering`), whose news become a
//! response (`reply`). `tokens` asks the small model's tokenizer, `earlier` reads answers in journals. The page in a
//! browser (`page`) asks over the same API. docs/serve.md says what it takes and gives. Here live the only users of
//! axum, and none of its types appears in what this crate offers. Here live no rule of an answer, no transport to nodes
//! and no command line.

mod answering;
mod app;
mod backend;
mod earlier;
mod error;
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

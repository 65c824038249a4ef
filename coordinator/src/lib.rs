//! Around the answer to one question (the crate [`answer`]): [`eval`] asks all questions of a data set, [`render`]
//! shows an answer, and the command `specthink` is in [`cli`].

pub mod cli;
pub mod eval;
pub mod render;

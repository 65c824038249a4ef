//! OpenAI's API on the wire, as plain values: for `serve`, which writes them, and `upstream`, which reads them.
//!
//! Fields in which servers differ are read leniently: they may be absent, unknown or of another type. Source:
//! <https://platform.openai.com/docs/api-reference>; DeepSeek, llama.cpp, SGLang and vLLM added `reasoning_content` and
//! `reasoning`. Not here: HTTP, requests (`serve` reads those field by field, to say what is wrong with one), and
//! anything of our own.

mod chat;
mod error;
mod lenient;
mod model;
mod response;
mod text;
mod usage;

pub use self::{
    chat::{
        ChatChoice, ChatChunk, ChatCompletion, ChatDelta, ChunkChoice, FinishReply, ReplyMessage,
    },
    error::{ErrorBody, ErrorDetail},
    model::{ModelEntry, ModelList},
    response::{
        IncompleteDetails, InputDetails, OutputItem, OutputPart, ResponseError, ResponseEvent,
        ResponseNews, ResponseObject, ResponseStatus, ResponseUsage, TextFormat,
    },
    text::{TextChoice, TextCompletion},
    usage::{CompletionDetails, PromptDetails, TokenUsage},
};

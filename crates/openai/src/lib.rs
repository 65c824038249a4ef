//! OpenAI's API on the wire, as plain values: for whoever serves it and for whoever asks it.
//!
//! What is read leniently (fields that are absent, unknown or of another type) is what servers differ in. Source:
//! <https://platform.openai.com/docs/api-reference>; `reasoning_content` and `reasoning` are what DeepSeek, llama.cpp,
//! SGLang and vLLM added to it. Here live no HTTP, no request (whoever serves reads those field by field, to say what
//! is wrong with one) and nothing of ours.

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

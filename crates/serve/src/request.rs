//! A request for answers, read from its JSON. What the request leaves to the server's defaults is `None` here.

mod continued;
mod fields;
mod messages;
mod ours;
mod prompts;
mod refused;
mod tokens;
mod turns;

use serde_json::Value;
use thinking::{beginning::AnswerBeginning, thinker::Prompt};

#[cfg(test)]
pub(crate) use self::fields::asked_fields;
use self::{
    continued::take_beginning,
    fields::{Fields, wrong_type, wrong_value},
    messages::messages,
    prompts::{TextPrompts, prompts},
    refused::{NOT_DONE_IN_CHATS, NOT_DONE_IN_RESPONSES, NOT_DONE_IN_TEXTS, ignored, refuse},
    turns::turns,
};
pub(crate) use self::{
    ours::{OursWanted, PolicyWanted},
    tokens::{read_detokenize, read_tokenize},
};
use crate::error::{ApiError, ErrorCode};

/// The maximum number of answers to each prompt of a request.
const MOST_CHOICES: u64 = 16;
/// The maximum number of stop texts, and of bytes of each.
const MOST_STOPS: usize = 16;
const LONGEST_STOP_BYTES: usize = 1024;

/// Which of OpenAI's routes a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    /// `/v1/chat/completions`: an answer to a conversation.
    Chat,
    /// `/v1/completions`: the continuation of a text.
    Text,
    /// `/v1/responses`: an answer to a conversation, as items.
    Response,
}

impl ReplyKind {
    /// Returns the name of the field with the prompt.
    pub(crate) fn prompt_field(self) -> &'static str {
        match self {
            ReplyKind::Chat => "messages",
            ReplyKind::Text => "prompt",
            ReplyKind::Response => "input",
        }
    }

    /// Returns the id of the answer to the request with this id.
    pub(crate) fn answer_id(self, name: &str) -> String {
        match self {
            ReplyKind::Chat => format!("chatcmpl-{name}"),
            ReplyKind::Text => format!("cmpl-{name}"),
            ReplyKind::Response => format!("resp_{name}"),
        }
    }
}

/// A request for answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AnswerRequest {
    pub(crate) kind: ReplyKind,
    pub(crate) model: Option<String>,
    /// The prompts, each answered separately.
    pub(crate) prompts: Vec<Prompt>,
    /// The prompts as token ids, if they are given so; then `prompts` is empty.
    pub(crate) ids: Vec<Vec<u32>>,
    /// The given beginning of the answer to a conversation.
    pub(crate) beginning: AnswerBeginning,
    /// The system message beside the input of a request for a response.
    pub(crate) instructions: Option<String>,
    pub(crate) is_streamed: bool,
    pub(crate) includes_usage: bool,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) sampling: SamplingWanted,
    pub(crate) seed: Option<u64>,
    pub(crate) stop: Vec<String>,
    /// How many answers to each prompt.
    pub(crate) choices: u32,
    pub(crate) ours: OursWanted,
    /// Known fields that have no effect.
    pub(crate) ignored: Vec<&'static str>,
}

/// How to sample tokens, as far as the request says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct SamplingWanted {
    pub(crate) temperature: Option<f32>,
    pub(crate) top_p: Option<f32>,
    pub(crate) top_k: Option<u32>,
    pub(crate) min_p: Option<f32>,
    pub(crate) repetition_penalty: Option<f32>,
}

impl AnswerRequest {
    /// Returns how many answers are requested in all.
    pub(crate) fn answers(&self) -> u32 {
        let prompts = u32::try_from(self.prompts.len() + self.ids.len());
        prompts.unwrap_or(u32::MAX).saturating_mul(self.choices)
    }

    /// Reads a body. `most_tokens` is the largest maximum that a request may ask for.
    ///
    /// When a field is wrong. Names the first one.
    pub(crate) fn read(kind: ReplyKind, body: &[u8], most_tokens: u32) -> Result<Self, ApiError> {
        let body = json(body)?;
        let fields = Fields::of(&body)?;
        let (mut beginning, mut ids) = (AnswerBeginning::default(), Vec::new());
        let prompts = match kind {
            ReplyKind::Chat => {
                refuse(&NOT_DONE_IN_CHATS, &fields)?;
                let mut messages = messages(fields.required("messages")?)?;
                beginning = take_beginning(&fields, "messages", &mut messages)?;
                vec![Prompt::Messages(messages)]
            }
            ReplyKind::Text => {
                refuse(&NOT_DONE_IN_TEXTS, &fields)?;
                match prompts(fields.required("prompt")?)? {
                    TextPrompts::Texts(prompts) => prompts,
                    TextPrompts::Ids(given) => {
                        ids = given;
                        Vec::new()
                    }
                }
            }
            ReplyKind::Response => {
                refuse(&NOT_DONE_IN_RESPONSES, &fields)?;
                let (turns, begun) = turns(&fields)?;
                beginning = begun;
                vec![Prompt::Messages(turns)]
            }
        };
        let stream = fields.flag("stream")?.unwrap_or(false);
        let options = fields.object("stream_options")?;
        let includes_usage = options.map(|options| options.flag("include_usage")).transpose()?;
        let max_tokens = |name| fields.whole(name, 1, most_tokens.into());
        let (new, old) = match kind {
            ReplyKind::Response => (max_tokens("max_output_tokens")?, None),
            _ => (max_tokens("max_completion_tokens")?, max_tokens("max_tokens")?),
        };
        let choices = fields.whole("n", 1, MOST_CHOICES)?.unwrap_or(1);
        let instructions = match kind {
            ReplyKind::Response => fields.text("instructions")?,
            _ => None,
        };
        Ok(AnswerRequest {
            kind,
            model: fields.text("model")?.map(str::to_owned),
            prompts,
            ids,
            beginning,
            instructions: instructions.map(str::to_owned),
            is_streamed: stream,
            includes_usage: stream && includes_usage.flatten().unwrap_or(false),
            max_tokens: new.or(old).and_then(|tokens| u32::try_from(tokens).ok()),
            sampling: sampling(&fields)?,
            seed: seed(&fields)?,
            stop: stop(&fields)?,
            choices: u32::try_from(choices).unwrap_or(1),
            ours: OursWanted::read(fields.object("specthink")?)?,
            ignored: ignored(&fields),
        })
    }
}

fn json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|why| {
        let message = format!("the body is not JSON: {why}; send one JSON object in UTF-8");
        ApiError::new(ErrorCode::InvalidJson, message)
    })
}

#[expect(clippy::cast_possible_truncation, reason = "as near as the samplers' numbers are")]
fn sampling(fields: &Fields) -> Result<SamplingWanted, ApiError> {
    let number = |name, least, most| -> Result<Option<f32>, ApiError> {
        Ok(fields.number(name, least, most)?.map(|number| number as f32))
    };
    let top_k = fields.whole("top_k", 0, u32::MAX.into())?;
    Ok(SamplingWanted {
        temperature: number("temperature", 0.0, 2.0)?,
        top_p: number("top_p", 0.0, 1.0)?,
        top_k: top_k.and_then(|top_k| u32::try_from(top_k).ok()),
        min_p: number("min_p", 0.0, 1.0)?,
        repetition_penalty: number("repetition_penalty", 0.01, 100.0)?,
    })
}

/// Reads the seed: any 64-bit integer, a negative one as its two's complement.
fn seed(fields: &Fields) -> Result<Option<u64>, ApiError> {
    let Some(value) = fields.get("seed") else { return Ok(None) };
    let seed = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
    seed.map(Some).ok_or_else(|| wrong_type("seed", value, "a whole number of 64 bits"))
}

fn stop(fields: &Fields) -> Result<Vec<String>, ApiError> {
    let texts = match fields.get("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => vec![text.as_str()],
        Some(Value::Array(list)) => list
            .iter()
            .map(|value| value.as_str().ok_or_else(|| wrong_type("stop", value, "a text")))
            .collect::<Result<_, _>>()?,
        Some(value) => return Err(wrong_type("stop", value, "a text or a list of texts")),
    };
    let is_fit = |text: &&str| !text.is_empty() && text.len() <= LONGEST_STOP_BYTES;
    if texts.len() > MOST_STOPS || !texts.iter().all(is_fit) {
        let must_be = format!(
            "at most {MOST_STOPS} texts, none of them empty or longer than {LONGEST_STOP_BYTES} bytes"
        );
        let value = fields.get("stop").unwrap_or(&Value::Null);
        return Err(wrong_value("stop", value, &must_be));
    }
    Ok(texts.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(more: Value) -> Result<AnswerRequest, ApiError> {
        let mut body = json!({ "messages": [{ "role": "user", "content": "Is 221 prime?" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        AnswerRequest::read(ReplyKind::Chat, &serde_json::to_vec(&body).unwrap(), 1000)
    }

    fn refusal(more: Value) -> (&'static str, String, String) {
        let error = read(more.clone()).expect_err(&more.to_string());
        (error.code.into(), error.param.clone().unwrap_or_default(), error.to_string())
    }

    #[test]
    fn what_is_left_out_or_null_is_up_to_the_server() {
        let request = read(json!({})).unwrap();
        assert_eq!(request.prompts, [Prompt::question("Is 221 prime?".to_owned(), None)]);
        assert!(request.beginning.is_empty() && request.ids.is_empty());
        assert_eq!((request.choices, request.is_streamed), (1, false));
        let nulls = json!({ "model": null, "stream": null, "stream_options": null, "max_tokens": null, "n": null,
            "temperature": null, "seed": null, "stop": null, "specthink": null, "tools": null, "logprobs": null,
            "response_format": null, "user": null });
        assert_eq!(read(nulls).unwrap(), request);
        assert_eq!(read(json!({ "user": 7, "no_such_field": [1] })).unwrap(), request);
    }

    #[test]
    fn fields_are_read_as_clients_send_them() {
        let request = read(
            json!({ "model": "small", "stream": true, "stream_options": { "include_usage": true },
            "max_tokens": 9, "max_completion_tokens": 64, "temperature": 0, "top_p": 0.5, "top_k": 20, "min_p": 0.1,
            "repetition_penalty": 1.1, "seed": -1, "stop": ["\n\n", "Q:"], "n": 3, "reasoning_effort": "low" }),
        );
        let request = request.unwrap();
        assert_eq!(request.model.as_deref(), Some("small"));
        assert!(request.is_streamed && request.includes_usage);
        assert_eq!((request.max_tokens, request.seed), (Some(64), Some(u64::MAX)));
        assert_eq!((request.sampling.temperature, request.sampling.top_k), (Some(0.0), Some(20)));
        assert_eq!((request.stop.join("|").as_str(), request.choices), ("\n\n|Q:", 3));
        assert_eq!(request.ignored, ["reasoning_effort"]);
        assert_eq!(read(json!({ "stop": "x" })).unwrap().stop, ["x"]);
        assert_eq!(read(json!({ "max_tokens": 9 })).unwrap().max_tokens, Some(9));
    }

    #[test]
    fn neutral_values_of_what_is_not_done_are_accepted() {
        let neutral = json!({ "tools": [], "functions": [], "tool_choice": "none", "function_call": "auto",
            "response_format": { "type": "text" }, "logit_bias": {}, "logprobs": false, "top_logprobs": 0,
            "echo": false, "frequency_penalty": 0, "presence_penalty": 0.0, "modalities": ["text"] });
        assert_eq!(read(neutral).unwrap(), read(json!({})).unwrap());
    }

    #[test]
    fn what_is_not_done_is_refused_by_its_name() {
        for (name, value) in [
            ("tools", json!([{ "type": "function" }])),
            ("functions", json!([{}])),
            ("tool_choice", json!("required")),
            ("function_call", json!({ "name": "f" })),
            ("response_format", json!({ "type": "json_object" })),
            ("logit_bias", json!({ "50256": -100 })),
            ("logprobs", json!(true)),
            ("top_logprobs", json!(2)),
            ("echo", json!(true)),
            ("frequency_penalty", json!(0.5)),
            ("presence_penalty", json!(-0.5)),
            ("modalities", json!(["text", "audio"])),
            ("audio", json!({ "voice": "alloy" })),
            ("prediction", json!({ "type": "content" })),
            ("web_search_options", json!({})),
        ] {
            let (code, param, message) = refusal(json!({ name: value }));
            assert_eq!((code, param.as_str()), ("unsupported_field", name));
            assert!(message.starts_with(name) && message.contains("leave it out"), "{message}");
        }
    }

    #[test]
    fn a_wrong_value_is_named_with_what_it_must_be() {
        for (more, code, param, words) in [
            (
                json!({ "temperature": "hot" }),
                "invalid_type",
                "temperature",
                "\"hot\": it must be a number from 0",
            ),
            (json!({ "temperature": 2.1 }), "invalid_value", "temperature", "from 0 to 2"),
            (json!({ "top_p": -1 }), "invalid_value", "top_p", "from 0 to 1"),
            (json!({ "top_k": 1.5 }), "invalid_value", "top_k", "a whole number"),
            (json!({ "max_tokens": 0 }), "invalid_value", "max_tokens", "from 1 to 1000"),
            (
                json!({ "max_completion_tokens": 1001 }),
                "invalid_value",
                "max_completion_tokens",
                "to 1000",
            ),
            (json!({ "max_tokens": "64" }), "invalid_type", "max_tokens", "a whole number"),
            (json!({ "n": 17 }), "invalid_value", "n", "from 1 to 16"),
            (json!({ "seed": 0.5 }), "invalid_type", "seed", "64 bits"),
            (json!({ "stream": "yes" }), "invalid_type", "stream", "true or false"),
            (json!({ "stream_options": 1 }), "invalid_type", "stream_options", "an object"),
            (json!({ "stop": 7 }), "invalid_type", "stop", "a list of texts"),
            (json!({ "stop": ["a", 7] }), "invalid_type", "stop", "a text"),
            (json!({ "stop": ["a", ""] }), "invalid_value", "stop", "none of them empty"),
            (json!({ "stop": vec!["a"; 17] }), "invalid_value", "stop", "at most 16"),
            (json!({ "model": 1 }), "invalid_type", "model", "a text"),
        ] {
            let (found, about, message) = refusal(more);
            assert_eq!((found, about.as_str()), (code, param), "{message}");
            assert!(message.contains(words) && !message.contains('\n'), "{message}");
        }
        let long = refusal(json!({ "seed": "x".repeat(1_000_000) })).2;
        assert!(long.len() < 200, "a value is shown in part: {long}");
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        let deep = "[".repeat(100_000);
        for (body, code) in [
            (&b""[..], ErrorCode::InvalidJson),
            (b"{", ErrorCode::InvalidJson),
            (b"{\"messages\": [1e999]}", ErrorCode::InvalidJson),
            (b"\xff", ErrorCode::InvalidJson),
            (deep.as_bytes(), ErrorCode::InvalidJson),
            (b"[]", ErrorCode::InvalidType),
            (b"{}", ErrorCode::MissingField),
        ] {
            assert_eq!(AnswerRequest::read(ReplyKind::Chat, body, 1).unwrap_err().code, code);
        }
    }
}

//! The model of the fake server: a vocabulary of single bytes, some words and two control tokens, and what it writes.

use thinking::{draw::splitmix64, thinker::TextHash};

/// The words; the token of a word is 256 plus its index here.
pub(super) const WORDS: [&str; 22] = [
    " the",
    " sum",
    " is",
    " 7",
    " x",
    "\n\n",
    "Wait",
    " Let",
    " me",
    " check",
    " Yes",
    " so",
    " another",
    " we",
    " have",
    " equals",
    "ly",
    " 数学",
    "assistant\n",
    "user\n",
    THINK,
    THOUGHT,
];
/// Opens a thought; one token, as in real models.
pub(super) const THINK: &str = "<think>";
/// Closes a thought.
pub(super) const THOUGHT: &str = "</think>";
/// Control tokens, after the words.
pub(super) const CONTROL: [&str; 2] = ["<|im_start|>", "<|im_end|>"];
/// The first control token.
pub(super) const CONTROL_ID: u32 = 256 + WORDS.len() as u32;
/// Ends the text.
pub(super) const END: u32 = CONTROL_ID + 1;
/// The babble: words, and characters of which each byte is a token.
const BABBLE: [&str; 22] = [
    " the", " sum", " is", " 7", " x", ".", "\n\n", "\n\n", "\n", "Wait", ",", " Let", " me",
    " check", " Yes", " so", " 数学", " é", " 🙂", " another", " we", "ly",
];

/// Renders the prompt of a conversation: each message with its role and content.
pub(super) fn render<'a>(messages: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let turn = |(role, content): (&str, &str)| format!("<|im_start|>{role}\n{content}<|im_end|>\n");
    let turns: String = messages.map(turn).collect();
    format!("{turns}<|im_start|>assistant\n")
}

/// Returns the tokens of a text; `control` says whether control tokens in it are parsed.
pub(super) fn encode(text: &str, control: bool) -> Vec<u32> {
    let (mut ids, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let words = WORDS.iter().zip(256..);
        let controls = CONTROL.iter().zip(CONTROL_ID..).filter(|_| control);
        let known = words.chain(controls).filter(|(word, _)| rest.starts_with(**word));
        let length = match known.max_by_key(|(word, _)| word.len()) {
            Some((word, id)) => {
                ids.push(id);
                word.len()
            }
            None => {
                let length = rest.chars().next().map_or(0, char::len_utf8);
                ids.extend(rest.as_bytes()[..length].iter().map(|byte| u32::from(*byte)));
                length
            }
        };
        rest = &rest[length..];
    }
    ids
}

/// Returns the bytes of a token.
pub(super) fn piece(id: u32) -> Vec<u8> {
    match id {
        0..256 => vec![id as u8],
        CONTROL_ID.. => CONTROL.get((id - CONTROL_ID) as usize).unwrap_or(&"").as_bytes().to_vec(),
        _ => WORDS[(id - 256) as usize].as_bytes().to_vec(),
    }
}

/// Returns the text of tokens.
fn decode(ids: &[u32]) -> String {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| piece(*id)).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns what follows a prompt. Without a fixed answer, this is babble that depends on the prompt and on `drawn`.
pub(super) fn tokens(
    prompt: &[u32],
    drawn: &str,
    answer: Option<&str>,
) -> Box<dyn Iterator<Item = u32> + Send> {
    if let Some(answer) = answer {
        let text = decode(prompt);
        let committed = text.rsplit_once("<|im_start|>assistant\n").map_or("", |(_, after)| after);
        let rest = answer.strip_prefix(committed).unwrap_or_default();
        return Box::new(encode(rest, false).into_iter().chain([END]));
    }
    let seed = TextHash::of(&format!("{prompt:?}{drawn}")).0;
    let babbled = move |n: u64| BABBLE[(splitmix64(seed, n) % BABBLE.len() as u64) as usize];
    Box::new((1..).flat_map(move |n| encode(babbled(n), false)))
}

/// Returns the model's log-probability of every token after a prompt, by token.
pub(super) fn log_odds(prompt: &[u32]) -> Vec<f32> {
    let seed = TextHash::of(&format!("{prompt:?}")).0;
    let logit = |id: u64| (splitmix64(seed, id) % 4096) as f32 / 512.0;
    let logits: Vec<f32> = (0..=u64::from(END)).map(logit).collect();
    let total: f32 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit - total.ln()).collect()
}

/// Returns the likeliest tokens with their log-probabilities.
pub(super) fn likeliest(log_odds: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut all: Vec<(u32, f32)> = (0..).zip(log_odds.iter().copied()).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(count);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stand_for_their_text() {
        let text = "<|im_start|>user\nHi 数学 🙂<|im_end|>\n\nWait";
        for control in [true, false] {
            assert_eq!(decode(&encode(text, control)), text);
        }
        assert_eq!(encode("<|im_end|>", true), [END]);
        assert_eq!(tokens(&encode("a", true), "", Some("a b")).collect::<Vec<_>>().len(), 4);
    }
}

//! Which tokens end a turn: those that the files name, those known by name, and the one that the chat template writes
//! after an assistant's message.

use std::collections::BTreeSet;

use super::special::SpecialText;
use crate::{template::ChatTemplate, thought};

/// Names that end a turn in every family that has them, whatever else the files say.
const NAMES: [&str; 15] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "<｜end▁of▁sentence｜>",
    "<|end|>",
    "<|eot|>",
    "<|EOT|>",
    "<|eom|>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<|eos|>",
];

/// Names that also occur in texts: they end a turn only if the file marks them as control tokens.
const NAMES_OF_CONTROL_TOKENS: [&str; 4] = ["</s>", "<eos>", "[EOS]", "[EOT]"];

/// Returns every token that ends a turn.
pub(super) fn of(
    tokenizer: &tokenizers::Tokenizer,
    special: &SpecialText,
    template: &ChatTemplate,
) -> BTreeSet<u32> {
    let id = |name: &&str| tokenizer.token_to_id(name);
    let added = tokenizer.get_added_tokens_decoder();
    let is_control = |id: &u32| added.get(id).is_some_and(|token| token.special);
    let written = template.after_answer().and_then(|text| first_mark(tokenizer, &text));
    let known = NAMES.iter().filter_map(id);
    let known = known.chain(NAMES_OF_CONTROL_TOKENS.iter().filter_map(id).filter(is_control));
    let eos = special.eos.as_deref().and_then(|token| tokenizer.token_to_id(token));
    special.ends.iter().copied().chain(eos).chain(known).chain(written).collect()
}

/// Returns the token whose name a text begins with, after optional white space, if it is written like a mark.
fn first_mark(tokenizer: &tokenizers::Tokenizer, text: &str) -> Option<u32> {
    let text = text.trim_start();
    let close = match text.chars().next()? {
        '<' => '>',
        '[' => ']',
        _ => return None,
    };
    let name = &text[..text.find(close)? + close.len_utf8()];
    if thought::is_mark(name) { None } else { tokenizer.token_to_id(name) }
}

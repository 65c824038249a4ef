//! The tokenizer of the fake server's model, as files.

use std::{fs, io, path::Path};

use serde_json::{Value, json};

use super::model::{CONTROL, CONTROL_ID, WORDS};

/// The fake server's own chat template.
const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n\
                        {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Writes it into a folder: bytes without merges, and the words as added tokens.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    let vocabulary: serde_json::Map<String, Value> = (0..=u8::MAX)
        .zip(byte_letters())
        .map(|(byte, letter)| (letter.to_string(), byte.into()))
        .collect();
    let added = |(id, content): (u32, &&str), special: bool| {
        json!({
            "id": id, "content": content, "special": special, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false,
        })
    };
    let words = (256..).zip(&WORDS).map(|word| added(word, false));
    let control = (CONTROL_ID..).zip(&CONTROL).map(|word| added(word, true));
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false,
    });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": words.chain(control).collect::<Vec<_>>(),
        "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": vocabulary, "merges": [],
        },
    });
    let config = json!({ "eos_token": CONTROL[1], "chat_template": TEMPLATE });
    fs::create_dir_all(folder)?;
    fs::write(folder.join("tokenizer_config.json"), config.to_string())?;
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string())
}

/// The letter that represents each byte in byte-level vocabularies: itself if printable, otherwise one from 256 on.
fn byte_letters() -> impl Iterator<Item = char> {
    let mut hidden = 256..;
    (0..=u8::MAX).filter_map(move |byte| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae.. => Some(char::from(byte)),
        _ => char::from_u32(hidden.next()?),
    })
}

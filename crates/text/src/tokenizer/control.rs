//! Control tokens that a file does not mark as such: a token's name and use show what it is, and converters of models
//! often forget the mark.

use tokenizers::AddedToken;

use crate::thought::MARKS;

/// Makes control tokens of tokens that end a turn, and of the marks around thoughts, if they are not yet. Only names
/// that are written like marks qualify: a file may end texts with a word or a line break. Returns the names of the turn
/// ends that were changed.
pub(super) fn complete(
    tokenizer: &mut tokenizers::Tokenizer,
    turn_ends: impl IntoIterator<Item = u32>,
) -> Result<Vec<String>, String> {
    let ends = turn_ends.into_iter().filter_map(|id| tokenizer.id_to_token(id));
    let ends: Vec<String> = ends.filter(|name| is_written_as_mark(name)).collect();
    let added = tokenizer.get_added_tokens_decoder();
    let marks = MARKS.iter().flat_map(|(open, close)| [*open, *close]);
    let marks = marks.filter(|name| tokenizer.token_to_id(name).is_some()).map(str::to_owned);
    let ends = ends.into_iter().map(|name| (name, true));
    let (mut changed, mut changed_ends) = (Vec::new(), Vec::new());
    for (name, is_end) in ends.chain(marks.map(|name| (name, false))) {
        let known = added.values().find(|token| token.content == name);
        if known.is_some_and(|token| token.special) {
            continue;
        }
        if is_end {
            changed_ends.push(name.clone());
        }
        changed.push(match known {
            Some(token) => token.clone().special(true),
            None => AddedToken::from(name, true),
        });
    }
    tokenizer.add_special_tokens(changed).map_err(|error| error.to_string())?;
    Ok(changed_ends)
}

fn is_written_as_mark(name: &str) -> bool {
    let within = |open: char, close: char| name.starts_with(open) && name.ends_with(close);
    name.len() > 2 && (within('<', '>') || within('[', ']'))
}

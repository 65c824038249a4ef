//! The fenced blocks of a page.

/// A fenced block: what stands between two lines of three backticks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) page: String,
    /// The number of the line that opens it, from 1.
    pub(super) line: usize,
    /// The first word behind the backticks.
    pub(super) language: String,
    /// The words after it, which no reader of the page sees.
    pub(super) marks: Vec<String>,
    pub(super) text: String,
}

/// Returns the blocks of a page, in order.
pub(super) fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, raw) in (1..).zip(text.lines()) {
        match (raw.trim_start().strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => blocks.push(block),
            (Some(words), None) => {
                let mut words = words.split_whitespace().map(str::to_owned);
                open = Some(Block {
                    page: page.to_owned(),
                    line,
                    language: words.next().unwrap_or_default(),
                    marks: words.collect(),
                    text: String::new(),
                });
            }
            (None, Some(mut block)) => {
                block.text.push_str(raw);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    if let Some(Block { line, .. }) = open {
        panic!("{page}:{line}: this block is never closed");
    }
    blocks
}

#[test]
fn a_block_has_a_language_marks_and_a_text() {
    let found = blocks("p.md", "a\n```sh run open\nls\n```\n```\nb\n```\n");
    let block = |line, language: &str, marks: &[&str], text: &str| Block {
        page: "p.md".to_owned(),
        line,
        language: language.to_owned(),
        marks: marks.iter().map(|&mark| mark.to_owned()).collect(),
        text: text.to_owned(),
    };
    assert_eq!(found, [block(2, "sh", &["run", "open"], "ls\n"), block(5, "", &[], "b\n")]);
}

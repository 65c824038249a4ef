//! The trigger matcher: tables of what matches, and properties against a naive whole-text search.

use proptest::prelude::*;
use thinking::trigger::{Matcher, Phrase, TriggerKind, TriggerMatch, Watch};
use unicode_segmentation::UnicodeSegmentation as _;

fn watch(delimiters: &[&str], window_chars: u32, phrases: &[&str]) -> Watch {
    let phrase = |text: &&str| Phrase { kind: TriggerKind::Reflection, text: (*text).into() };
    Watch {
        delimiters: delimiters.iter().map(|d| (*d).to_owned()).collect(),
        window_chars,
        phrases: phrases.iter().map(phrase).collect(),
        from_next_break: false,
        until: Vec::new(),
    }
}

fn usual() -> Watch {
    watch(&["\n\n"], 80, &["wait", "yes", "another", "hold on", "let me check", "check", "yes,"])
}

/// Returns the match in a whole text, if any, as (phrase, cut, start, end).
fn find(watch: Watch, committed: &str, text: &str) -> Option<(String, u64, u64, u64)> {
    let mut matcher = Matcher::new(watch, committed);
    let found = matcher.push(text).or_else(|| matcher.finish());
    found.map(|m| (m.phrase, m.cut, m.start, m.end))
}

fn some(phrase: &str, cut: u64, start: u64, end: u64) -> Option<(String, u64, u64, u64)> {
    Some((phrase.into(), cut, start, end))
}

#[test]
fn phrase_after_a_paragraph_break_matches() {
    assert_eq!(find(usual(), "", "So.\n\nWait, no"), some("wait", 5, 5, 9));
    assert_eq!(find(usual(), "", "So.\n\nBut WAIT! no"), some("wait", 5, 9, 13));
    assert_eq!(find(usual(), "", "Wait, no break before it"), None);
    assert_eq!(find(usual(), "", "So.\nWait, one line feed only"), None);
}

#[test]
fn phrases_match_on_word_boundaries_only() {
    assert_eq!(find(usual(), "", "\n\nyesterday was fine"), None);
    assert_eq!(find(usual(), "", "\n\nanothers, await, wait_, wait7 éwait"), None);
    assert_eq!(find(usual(), "", "\n\nanother way"), some("another", 2, 2, 9));
    assert_eq!(find(usual(), "", "\n\n(yes)"), some("yes", 2, 3, 6));
    assert_eq!(find(usual(), "", "\n\nwait's, can’wait, wait\u{301}"), None);
    assert_eq!(find(usual(), "", "\n\nwait.is wait' "), some("wait", 2, 10, 14));
    assert_eq!(find(usual(), "", "\n\n🙂wait🙂"), some("wait", 2, 6, 10));
}

#[test]
fn no_border_is_asked_for_where_a_script_has_no_spaces() {
    let watch =
        || watch(&["\n\n"], 80, &["等等", "検算", "ちょっと", "マッテ", "เดี๋ยว", "잠깐", "wait"]);
    for (text, phrase) in [
        ("等等，再看。", "等等"),
        ("但是等等我再看", "等等"),
        ("では検算します", "検算"),
        ("あちょっとまって", "ちょっと"),
        ("チョットマッテネ", "マッテ"),
        ("แต่เดี๋ยวก่อน", "เดี๋ยว"),
        ("아, 잠깐만요", "잠깐"),
        ("我们wait一下", "wait"),
    ] {
        let found = find(watch(), "", &format!("\n\n{text}"));
        assert_eq!(found.map(|found| found.0).as_deref(), Some(phrase), "{text}");
    }
}

#[test]
fn a_phrase_may_wear_other_quotes_widths_and_marks() {
    let phrases = ["wait", "let's check", "hold on", "yes,", "\"so\"", "re-check"];
    let watch = || watch(&["\n\n"], 80, &phrases);
    for (text, phrase) in [
        ("**Wait**, no", "wait"),
        ("_Wait_, no", "wait"),
        ("__Wait__ no", "wait"),
        ("> _Wait, no_", "wait"),
        ("> Wait", "wait"),
        ("- Wait", "wait"),
        ("1. Wait", "wait"),
        ("### Wait!", "wait"),
        ("<b>Wait</b>", "wait"),
        ("“Wait”", "wait"),
        ("`wait`", "wait"),
        ("Ｗａｉｔ！", "wait"),
        ("Wait，不", "wait"),
        ("Wait…", "wait"),
        ("Let’s check.", "let's check"),
        ("Let＇s check.", "let's check"),
        ("Hold\u{a0}on", "hold on"),
        ("Hold　on", "hold on"),
        ("Hold\non", "hold on"),
        ("Hold  on", "hold on"),
        ("**Hold** on", "hold on"),
        ("Hold *on*", "hold on"),
        ("Yes， it is", "yes,"),
        ("«So»", "\"so\""),
        ("Re\u{2011}check", "re-check"),
    ] {
        let found = find(watch(), "", &format!("\n\n{text}"));
        assert_eq!(found.map(|found| found.0).as_deref(), Some(phrase), "{text}");
    }
    for text in
        ["Hold*on", "Ho*ld on", "wait_for", "_wait7_", "Hold\n\non", "Lets check", "ｗａｉｔｓ"]
    {
        assert_eq!(find(watch(), "", &format!("\n\n{text}")), None, "{text}");
    }
}

#[test]
fn marks_without_end_behind_a_phrase_do_not_keep_it_open() {
    let marks = format!("\n\nWait.{}", "\u{301}".repeat(20));
    let mut matcher = Matcher::new(usual(), "");
    assert!(matcher.push(&marks).is_some());
}

#[test]
fn longest_of_phrases_confirmed_together_wins() {
    // "yes" is confirmed by the comma that completes "yes,".
    assert_eq!(find(usual(), "", "\n\nyes, it is"), some("yes,", 2, 2, 6));
    assert_eq!(find(usual(), "", "\n\nLet me check it"), some("let me check", 2, 2, 14));
}

#[test]
fn nothing_matches_behind_the_end_of_the_watching() {
    let until = |text: &str| Watch { until: vec!["".into(), text.into()], ..usual() };
    assert_eq!(find(until("</think>"), "", "So.\n\nWait, no</think>"), some("wait", 5, 5, 9));
    for (committed, text) in [
        ("", "So.</think>\n\nWait, no"),
        ("So.</think>\n\n", "Wait, no"),
        ("So.</think>\n\nIt is 7.", "\n\nWait, no"),
        ("So.</thi", "nk>\n\nWait, no"),
        ("", "\n\nSo it is </think> wait, no"),
    ] {
        assert!(find(usual(), committed, text).is_some(), "{committed:?} {text:?}");
        assert_eq!(find(until("</think>"), committed, text), None, "{committed:?} {text:?}");
    }
    assert_eq!(find(until("</think>"), "", "\n\nwait</think>"), some("wait", 2, 2, 6));
    // What cannot be cut any more is settled, also after the end of the watch.
    let mut matcher = Matcher::new(until("</think>"), "");
    matcher.push("\n\nSo</think> it");
    assert_eq!(matcher.settled_bytes(), 15);
    matcher.push(" is 7");
    assert_eq!(matcher.settled_bytes(), 20);
}

#[test]
fn phrase_confirmed_first_wins() {
    let both = watch(&["\n\n"], 80, &["hold on", "hold"]);
    assert_eq!(find(both, "", "\n\nHold on, now"), some("hold", 2, 2, 6));
}

#[test]
fn phrase_at_the_very_end_waits_for_finish() {
    let mut matcher = Matcher::new(usual(), "");
    assert_eq!(matcher.push("\n\nWait"), None);
    assert_eq!(matcher.settled_bytes(), 2);
    assert_eq!(matcher.finish().map(|m| m.end), Some(6));
    assert_eq!(matcher.push(" Wait "), None, "a matcher matches once");
}

#[test]
fn third_line_feed_moves_the_cut() {
    assert_eq!(find(usual(), "", "a\n\n\nwait "), some("wait", 4, 4, 8));
    assert_eq!(find(usual(), "a\n", "\nwait "), some("wait", 1, 1, 5));
    assert_eq!(find(usual(), "a\n\n", "\nwait "), some("wait", 1, 1, 5));
}

#[test]
fn carriage_returns_are_no_paragraph_break_unless_listed() {
    assert_eq!(find(usual(), "", "a\r\n\r\nwait "), None);
    let listed = watch(&["\n\n", "\r\n\r\n"], 80, &["wait"]);
    assert_eq!(find(listed, "", "a\r\n\r\nwait "), some("wait", 5, 5, 9));
}

#[test]
fn phrase_must_lie_wholly_inside_the_window() {
    let narrow = |chars| watch(&["\n\n"], chars, &["wait"]);
    assert_eq!(find(narrow(6), "", "\n\né wait."), some("wait", 2, 5, 9));
    assert_eq!(find(narrow(5), "", "\n\né wait."), None);
    assert_eq!(find(narrow(0), "", "\n\nwait"), None);
}

#[test]
fn window_goes_on_from_the_committed_text() {
    assert_eq!(find(usual(), "a\n\n", "Wait."), some("wait", 0, 0, 4));
    assert_eq!(find(usual(), "a\n\nSo, ", "wait."), some("wait", 0, 0, 4));
    assert_eq!(find(usual(), "a\n\nWa", "it. Now"), None, "it started in committed text");
    assert_eq!(find(usual(), "a\n\nWait", ". Now"), None, "it stands in committed text");
    let narrow = watch(&["\n\n"], 4, &["wait"]);
    assert_eq!(find(narrow, "a\n\n1", "wait"), None);
}

#[test]
fn letters_with_several_lower_case_characters_match() {
    let turkish = watch(&["\n\n"], 80, &["İstanbul"]);
    assert_eq!(find(turkish, "", "\n\nİSTANBUL."), some("İstanbul", 2, 2, 11));
    assert_eq!(find(watch(&["\n\n"], 80, &["é"]), "", "\n\nÉ!"), some("é", 2, 2, 4));
}

#[test]
fn settled_is_the_cut_while_the_window_is_open() {
    let mut matcher = Matcher::new(watch(&["\n\n"], 5, &["wait"]), "");
    let settled: Vec<u64> = ["ab", "\n", "\n", "1234", "5", "6"]
        .into_iter()
        .map(|part| {
            assert_eq!(matcher.push(part), None);
            matcher.settled_bytes()
        })
        .collect();
    assert_eq!(settled, [2, 3, 4, 4, 9, 10]);
    let mut unconfirmed = Matcher::new(watch(&["\n\n"], 4, &["wait"]), "");
    unconfirmed.push("\n\nwait");
    assert_eq!(unconfirmed.settled_bytes(), 2, "the next character decides");
    unconfirmed.push("s");
    assert_eq!(unconfirmed.settled_bytes(), 7);
}

#[test]
fn watch_without_phrases_settles_everything() {
    let mut matcher = Matcher::new(watch(&["\n\n", ""], 80, &[""]), "\n\n");
    assert_eq!(matcher.push("\n\nanything"), None);
    assert_eq!(matcher.settled_bytes(), 10);
}

/// Returns whether the text is the phrase, which must be folded; marks and spaces next to its spaces do not count.
fn is_phrase(wanted: &[char], text: &[char], behind_space: Option<bool>) -> bool {
    let (Some((&c, rest)), Some(&next)) = (text.split_first(), wanted.first()) else {
        return wanted.is_empty() && text.is_empty();
    };
    let folded: Vec<char> = c.to_lowercase().collect();
    let whole = wanted.strip_prefix(folded.as_slice());
    let is_next = whole.is_some_and(|left| is_phrase(left, rest, Some(next == ' ')));
    let is_line_end = next == ' ' && c == '\n' && is_phrase(&wanted[1..], rest, Some(true));
    let is_mark = ['*', '_', ' '].contains(&c) && (next == ' ' || behind_space == Some(true));
    is_next
        || is_line_end
        || (is_mark && behind_space.is_some() && is_phrase(wanted, rest, behind_space))
}

/// Returns whether there is a word boundary at a place, if nothing follows the text.
fn is_border(text: &[char], at: usize) -> bool {
    if at == 0 || at == text.len() || text[at - 1] == '数' || text[at] == '数' {
        return true;
    }
    let is_word =
        |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(|c| c.is_alphanumeric());
    let mut plain = text.to_vec();
    let (mut begin, mut is_open) = (0, false);
    while begin < text.len() {
        let end = begin + text[begin..].iter().take_while(|c| **c == '_').count();
        if end > begin {
            let (before, after) = (is_word(begin.checked_sub(1)), is_word(Some(end)));
            if (is_open, before, after) == (true, true, false)
                || (is_open, before, after) == (false, false, true)
            {
                is_open = !is_open;
                plain[begin..end].fill('*');
            }
        }
        begin = end.max(begin + 1);
    }
    let before: String = plain[..at].iter().collect();
    let all: String = plain.iter().collect();
    all.split_word_bound_indices().any(|(border, _)| border == before.len())
}

/// Returns after how many characters it is certain whether a phrase ends at `end` of the text since the break.
fn sure_at(all: &[char], cut: usize, end: usize, breaks: &[usize]) -> Sure {
    for read in end..=all.len() {
        let text = &all[cut..read];
        if !is_border(text, end - cut) {
            return Sure::Never;
        }
        let goes_on = |c: char| !is_border(&[text, &[c]].concat(), end - cut);
        if !goes_on('a') && !goes_on('0') {
            return Sure::At(read);
        }
        match breaks.contains(&read) {
            true if read == end => return Sure::Never,
            true => return Sure::At(read),
            false if read - end >= 8 => return Sure::At(read),
            false => {}
        }
    }
    Sure::NotYet
}

enum Sure {
    At(usize),
    Never,
    NotYet,
}

/// Computes the same result by searching the whole text for every phrase at every place.
fn naive(watch: &Watch, committed: &str, text: &str) -> (Option<TriggerMatch>, u64) {
    let all: Vec<char> = committed.chars().chain(text.chars()).collect();
    let base = committed.chars().count();
    let bytes = |at: usize| all[base..at.max(base)].iter().map(|c| c.len_utf8() as u64).sum();
    let breaks: Vec<usize> = (1..=all.len())
        .filter(|end| {
            let read: String = all[..*end].iter().collect();
            watch.delimiters.iter().any(|d| !d.is_empty() && read.ends_with(d))
        })
        .collect();
    let last_break = |limit: usize| breaks.iter().copied().filter(|end| *end <= limit).max();
    let window = watch.window_chars as usize;
    // (confirmed at, -length, number of the phrase, cut, start, end)
    let mut found = Vec::new();
    let mut undecided = false;
    for (number, phrase) in watch.phrases.iter().enumerate() {
        let wanted: Vec<char> = phrase.text.chars().flat_map(char::to_lowercase).collect();
        for start in base..all.len() {
            for end in start + 1..=all.len() {
                if wanted.is_empty() || !is_phrase(&wanted, &all[start..end], None) {
                    continue;
                }
                let Some(cut) = last_break(end - 1) else { continue };
                if start < cut || end - cut > window {
                    continue;
                }
                let is_word = all[start].is_alphanumeric() || all[start] == '_';
                if is_word && !is_border(&all[cut..end], start - cut) {
                    continue;
                }
                let confirmed = match sure_at(&all, cut, end, &breaks) {
                    Sure::At(confirmed) => confirmed,
                    Sure::Never => continue,
                    Sure::NotYet => {
                        undecided = true;
                        all.len() + 1
                    }
                };
                found.push((confirmed, -(wanted.len() as i64), number, cut, start, end));
            }
        }
    }
    let winner = found.into_iter().min().map(|(_, _, number, cut, start, end)| TriggerMatch {
        kind: watch.phrases[number].kind,
        phrase: watch.phrases[number].text.clone(),
        cut: bytes(cut),
        start: bytes(start),
        end: bytes(end),
    });
    let some_phrase = watch.phrases.iter().any(|phrase| !phrase.text.is_empty());
    let open = last_break(all.len())
        .filter(|cut| some_phrase && window > 0 && (all.len() - cut < window || undecided));
    let settled = match (&winner, open) {
        (Some(winner), _) => winner.cut,
        (None, Some(cut)) => bytes(cut),
        (None, None) => bytes(all.len()),
    };
    (winner, settled)
}

fn texts() -> impl Strategy<Value = String> {
    let bits = [
        "\n\n", "\n", "\r", " ", ",", ".", "_", "wait", "Wait", "WAIT", "hold", " on", "on", "yes",
        "a", "n", "é", "É", "数", "🙂", "İ", "check", "let me ", "x1", "'", "*", "\u{301}",
    ];
    prop::collection::vec(prop::sample::select(bits.to_vec()), 0..24).prop_map(|v| v.concat())
}

fn watches() -> impl Strategy<Value = Watch> {
    let delimiters = ["\n\n", "\n", ".", "a", "\r\n", "on", "é", ""];
    let phrases = [
        "wait",
        "hold",
        "hold on",
        "yes",
        "yes,",
        "a",
        "é",
        "数",
        "check",
        "Let me check",
        "on\n",
        "İ",
        "n",
        ",",
        "🙂",
        "\n",
        "",
    ];
    (
        prop::collection::vec(prop::sample::select(delimiters.to_vec()), 1..3),
        0u32..24,
        prop::collection::vec(prop::sample::select(phrases.to_vec()), 0..6),
    )
        .prop_map(|(delimiters, window, phrases)| watch(&delimiters, window, &phrases))
}

/// Cuts the text at those of these places that are character boundaries.
fn chunks<'a>(text: &'a str, places: &[prop::sample::Index]) -> Vec<&'a str> {
    let mut edges: Vec<usize> = places.iter().map(|place| place.index(text.len() + 1)).collect();
    edges.retain(|edge| text.is_char_boundary(*edge));
    edges.push(text.len());
    edges.sort_unstable();
    let mut from = 0;
    edges
        .into_iter()
        .map(|to| {
            let chunk = &text[from..to];
            from = to;
            chunk
        })
        .collect()
}

#[test]
fn a_watch_from_the_next_break_passes_over_the_place_where_it_begins() {
    let from_next = || Watch { from_next_break: true, ..usual() };
    let table = [
        ("a\n\n", "Wait, no", None),
        ("a\n\n", "Wait, no\n\nyes so", some("yes", 10, 10, 13)),
        ("a\n", "\nWait, no", None),
        ("a\n\n", "\nWait, no", None),
        ("a", "b\n\nwait ", some("wait", 3, 3, 7)),
    ];
    for (committed, text, expected) in table {
        assert_eq!(find(from_next(), committed, text), expected, "{committed:?} {text:?}");
        let always = find(usual(), committed, text);
        assert!(always.is_some(), "{committed:?} {text:?} would match");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_chunking_equals_a_search_of_the_whole_text(
        watch in watches(),
        committed in texts(),
        text in texts(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let (expected, settled_at_end) = naive(&watch, &committed, &text);
        let mut matcher = Matcher::new(watch, &committed);
        let (mut found, mut settled, mut read) = (None, matcher.settled_bytes(), 0);
        prop_assert_eq!(settled, 0);
        for chunk in chunks(&text, &places) {
            let here = matcher.push(chunk);
            prop_assert!(found.is_none() || here.is_none(), "a matcher matches once");
            found = found.or(here);
            read += chunk.len() as u64;
            let now = matcher.settled_bytes();
            prop_assert!(settled <= now && now <= read, "settled {} then {} of {}", settled, now, read);
            settled = now;
        }
        prop_assert_eq!(settled, settled_at_end);
        let found = found.or_else(|| matcher.finish());
        if let Some(found) = &found {
            prop_assert!(settled <= found.cut, "settled text was cut");
        }
        prop_assert_eq!(found, expected);
    }
}

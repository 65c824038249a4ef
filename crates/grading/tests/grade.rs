//! The rules for when an answer is right, and that no text makes them panic.
//!
//! What does not live here: overall agreement with math-verify (`tests/math_verdicts.rs`).

use grading::{
    answer::{NoAnswer, find},
    grade::{Judge, Verdict, equivalent, exactly_equal, grade, grade_from},
    thought::TextStart,
};
use proptest::prelude::*;

#[test]
fn same_in_another_form() {
    for (gold, answer) in [
        // Numbers.
        ("5", "5.0"),
        ("0", "-0"),
        ("1/3", "0.3333333333"),
        ("\\frac{1}{3}", "\\dfrac26"),
        ("\\frac9{19}", "9/19"),
        ("\\frac{270}7\\text{ degrees}", "\\frac{270}{7}^\\circ"),
        ("1\\frac{4}{5}", "1.8"),
        ("-1\\frac45", "-9/5"),
        ("137 \\frac{1}{2}", "137 1/2"),
        ("10,\\!080", "10080"),
        ("11,\\! 111,\\! 111,\\! 100", "11111111100"),
        ("1200", "1.2 \\times 10^3"),
        ("1200", "1.2E3"),
        ("50\\%", "1/2"),
        ("9", "9\\%"),
        ("\\$18.90", "18.9"),
        ("52_8", "52"),
        ("3628800", "10!"),
        ("120", "\\binom{10}{3}"),
        ("2^{200}", "1606938044258990275541962092341162602522202993782792835301376"),
        // Irrational numbers.
        ("3\\sqrt{13}", "\\sqrt{117}"),
        ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt3}"),
        ("\\sqrt[3]{4}", "2^{2/3}"),
        ("\\frac{\\pi}{2}", "90\\pi/180"),
        ("2\\pi", "6.283185"),
        ("\\log_2 3", "\\frac{\\ln 3}{\\ln 2}"),
        ("\\frac{\\sqrt{3}}{2}", "\\sin\\left(\\frac{\\pi}{3}\\right)"),
        ("5", "|{-5}|"),
        ("3", "\\lfloor \\pi \\rfloor"),
        // Symbols.
        ("(a+5)(b+2)", "ab + 2a + 5b + 10"),
        ("6 - 5i", "-5i + 6"),
        ("\\frac{11+9a}{20}", "0.45a + \\frac{11}{20}"),
        ("\\tan x", "\\frac{\\sin x}{\\cos x}"),
        ("\\text{east}", "EAST"),
        ("\\text{(C)}", "C"),
        // Equations and inequalities.
        ("5", "x = 5"),
        ("x = 5", "5"),
        ("x=5", "x = 2 + 3 = 5"),
        ("y = 2x + 3", "2x - y + 3 = 0"),
        ("x > 2", "2 < x"),
        ("x > 2", "(2, \\infty)"),
        ("x \\in [-2,7]", "[-2, 7]"),
        // Lists, sets, tuples, intervals, matrices.
        ("3, 5, 7", "7, 3 and 5"),
        ("1 \\pm \\sqrt{19}", "1 - \\sqrt{19}, 1 + \\sqrt{19}"),
        ("\\{1\\pm\\sqrt{5},-2\\}", "-2, 1+\\sqrt5, 1-\\sqrt5"),
        ("-2,1", "x = 1 \\text{ or } x = -2"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\pi/2)"),
        ("(0,9) \\cup (9,36)", "(0,36) \\setminus \\{9\\}"),
        ("(-\\infty, 2) \\cup (2, \\infty)", "\\mathbb{R} \\setminus \\{2\\}"),
        (
            "\\begin{pmatrix} 16/49 \\\\ 48/49 \\end{pmatrix}",
            "\\frac{16}{49}\\begin{bmatrix}1\\\\3\\end{bmatrix}",
        ),
    ] {
        assert!(equivalent(gold, answer), "{gold} and {answer}");
    }
}

#[test]
fn something_else() {
    for (gold, answer) in [
        ("5", "6"),
        ("5", "-5"),
        ("\\frac{11}{36}", "0.306"),
        ("0.0000001", "0"),
        ("100000000000000000001", "100000000000000000002"),
        ("\\sqrt{2}", "1.41"),
        ("8\\pi", "8 \\cdot 3.14"),
        ("-5", "-5\\%"),
        ("58,500", "500,58"),
        ("(2,\\infty)", "[2,\\infty)"),
        ("(2,\\infty)", "(\\infty,2)"),
        ("(1,2)", "(2,1)"),
        ("(1,2,3)", "(1,3,2)"),
        ("3, 5", "3, 5, 7"),
        ("1, 1", "1, 2"),
        ("x = 5", "y = 5"),
        ("x > 2", "x \\ge 2"),
        ("x > 2", "x < 2"),
        ("5", "x > 5"),
        ("x+1", "x-1"),
        ("x^2", "x^3"),
        ("xy", "x+y"),
        ("\\sqrt{x^2}", "x"),
        ("\\text{east}", "west"),
        ("\\begin{pmatrix} 1 & 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"),
        ("", ""),
        ("\\frac{1}{0}", "1"),
        ("\\infty", "-\\infty"),
    ] {
        assert!(!equivalent(gold, answer), "{gold} and {answer}");
    }
}

#[test]
fn exactly_equal_is_what_nobody_disputes() {
    assert!(exactly_equal("\\frac{1}{2}", "2/4"));
    assert!(exactly_equal("x + 1", "x+1"));
    for answer in ["0.5", "50\\%", "x = 1/2"] {
        assert!(!exactly_equal("\\frac{1}{2}", answer), "{answer}");
    }
}

#[test]
fn a_text_is_graded_by_its_last_answer() {
    let verdict = grade("6", "At first \\boxed{5}. No: that forgets one of them, so \\boxed{6}.");
    assert_eq!(verdict, Verdict { answer: Some("6".into()), right: true, judge: Judge::Own });
    let verdict = grade("6", "I do not know.");
    assert_eq!(verdict, Verdict { answer: None, right: false, judge: Judge::Own });
}

#[test]
fn a_thought_is_no_answer() {
    let text = "I get \\boxed{6}. Or not?</think>\n\nThe answer is **7**.";
    for start in [TextStart::Answer, TextStart::Thought] {
        assert_eq!(find(text, start).as_deref(), Ok("7"));
        let verdict = grade_from("7", text, start);
        assert_eq!(verdict, Verdict { answer: Some("7".into()), right: true, judge: Judge::Own });
    }
    assert!(!grade("6", text).right);
}

#[test]
fn an_open_thought_is_told_from_a_text_without_an_answer() {
    let open = "It is \\boxed{6}";
    assert_eq!(find(open, TextStart::Thought), Err(NoAnswer::OpenThought));
    assert_eq!(find(open, TextStart::Answer).as_deref(), Ok("6"));
    let marked = format!("<think>{open}");
    assert_eq!(find(&marked, TextStart::Answer), Err(NoAnswer::OpenThought));
    let none = Verdict { answer: None, right: false, judge: Judge::Own };
    assert_eq!(grade("6", &marked), none);
    assert_eq!(grade_from("6", open, TextStart::Thought), none);
    for text in ["I do not know.", "<think>\\boxed{6}</think>", "<think>6</think>\n\n"] {
        assert_eq!(find(text, TextStart::Answer), Err(NoAnswer::NotFound), "{text}");
    }
}

#[test]
fn deep_long_and_huge_formulas_are_refused_in_no_time() {
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(5000), close.repeat(5000));
    for text in [
        nested("(", ")"),
        nested("{", "}"),
        nested("x(", ")"),
        nested("x(", ",y)"),
        nested("(1,", ")"),
        nested("\\{", "\\}"),
        nested("\\frac{1}{", "}"),
        nested("\\sqrt", ""),
        nested("-", ""),
        "(".repeat(39),
        "x(".repeat(39),
        "\\sin".repeat(200),
        "2^".repeat(200),
        "1/".repeat(299) + "1",
        "9^{9^{9^{9}}}".to_owned(),
        "(10^{1000})!".to_owned(),
        "1E999999999".to_owned(),
        "1E-2147483648".to_owned(),
        "2^{18446744073709551615}".to_owned(),
        "2^{-18446744073709551615}".to_owned(),
        "9".repeat(1_000_000),
        "1,000".to_owned() + &",000".repeat(100_000),
        "x^\\sin".repeat(150),
        "\\log_".repeat(290),
        "\\sqrt[999999999]{2}".to_owned(),
        "2^{1/99999999}".to_owned(),
        "1!".to_owned() + &"!".repeat(500),
        nested("\\text{", "}"),
        nested("\\text{1", "}"),
        nested("\\textcolor{a}{", "}"),
        "\\mathbf{".repeat(20_000),
        "\\color{".repeat(20_000),
        "²".repeat(100_000),
        "9".repeat(15_000) + "/7",
        format!("x = {}", "9".repeat(15_000)),
        vec!["9".repeat(1000); 15].join("*"),
    ] {
        let _ = equivalent(&text, "1");
        let _ = equivalent("1", &text);
        let _ = grade("1", &format!("\\boxed{{{text}}}"));
        let _ = grade("1", &text);
    }
}

#[test]
fn whole_numbers_may_have_any_size() {
    let (long, other) = ("7".repeat(100_000), "7".repeat(99_999) + "8");
    assert!(equivalent(&long, &format!("{long}.00")));
    assert!(exactly_equal(&long, &format!("0{long}")));
    assert!(!equivalent(&long, &other));
    assert!(grade(&long, &format!("The answer is {long}.")).right);
    // Within a formula too, as long as the formula can be parsed.
    let (long, other) = (&long[..10_000], &other[90_000..]);
    for (gold, answer) in [("N", "x = N"), ("N, 3", "3, N"), ("(3, N)", "(3,N)")] {
        let gold = gold.replace('N', long);
        assert!(equivalent(&gold, &answer.replace('N', long)), "{answer}");
        assert!(!equivalent(&gold, &answer.replace('N', other)), "{answer}");
    }
}

/// Pieces of formulas. Random characters alone seldom get past the lexer.
const PIECES: &[&str] = &[
    "1",
    "23",
    "0.5",
    "1,234",
    "x",
    "i",
    "e",
    "+",
    "-",
    "*",
    "/",
    "^",
    "_",
    "=",
    "<",
    ",",
    ";",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\\{",
    "\\}",
    "|",
    "!",
    "%",
    "\\frac",
    "\\sqrt",
    "\\pi",
    "\\infty",
    "\\pm",
    "\\cup",
    "\\cap",
    "\\setminus",
    "\\in",
    "\\text{ cm}",
    "\\text{ and }",
    "\\mathbb{R}",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "&",
    "\\\\",
    "\\log",
    "\\sin",
    "\\binom",
    "\\lfloor",
    "\\rfloor",
    "\\left",
    "\\right",
    "^\\circ",
    "$",
    "\\$",
    " ",
    "é",
    "\\",
    "\\le",
    "\\approx",
    "or",
    "\\textbf{",
    "\\color{",
    "\\bf ",
    "~",
    "−",
    "½",
    "³",
    "⁄",
    "₂",
    "√",
    "１",
    "π",
    "—",
    "</think>",
    "\\boxed{",
    "no",
];

fn formula() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(PIECES), 0..14)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_makes_it_panic(a in formula(), b in formula(), text in "\\PC{0,40}") {
        for (gold, answer) in [(&a, &b), (&a, &text), (&text, &b)] {
            let _ = equivalent(gold, answer);
            let _ = exactly_equal(gold, answer);
            let _ = grade(gold, &format!("\\boxed{{{answer}}}"));
            let _ = grade(gold, answer);
        }
    }

    #[test]
    fn whole_numbers_equal_themselves_only(a in -1000_i64..1000, b in -1000_i64..1000) {
        prop_assert_eq!(equivalent(&a.to_string(), &format!("\\frac{{{}}}{{7}}", 7 * b)), a == b);
        prop_assert_eq!(equivalent(&format!("{a}\\sqrt{{2}}"), &format!("\\frac{{{}}}{{\\sqrt2}}", 2 * b)), a == b);
    }
}

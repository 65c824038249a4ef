//! Policies by name and YAML: what is accepted, and the errors for what is not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use thinking::policy::{
    Keywords, PaperConfig, PolicyError, PolicyKind, PolicySpec, Preset, Rules, StrictConfig,
};

fn paper(spec: Result<PolicySpec, PolicyError>) -> PaperConfig {
    match spec.unwrap().rules {
        Rules::Paper(config) => config,
        other => panic!("{other:?}"),
    }
}

fn strict(spec: Result<PolicySpec, PolicyError>) -> StrictConfig {
    match spec.unwrap().rules {
        Rules::Strict(config) => config,
        other => panic!("{other:?}"),
    }
}

/// A whole file with the authors' keys, with values for a small model that does not reason.
const AUTHORS: &str = r#"
mode: "vllm" # a comment
target_model_name: "org/large"
speculative_model_name: null
target_model_gpu: 2
speculative_model_gpu: 1

TRIGGER_TOKENS:
  - "\n\n"
  - "\r\n\r\n"
TARGET_VALIDATION_KEYWORDS:
  verify:
    - "verify"
  negative:
    - "wait"
    - "hold on"
  positive:
    - "yes"
help_think_word: null
help_recap_words: "Once more:"


not_reasoning: true
choose_large: true
max_target_tokens: 20
begin: true
begin_token_num: 100
original_recap_token_num: 125
recap_after_negative_num: 15
add_each_recap: 25
add_each_neg: 5
max_recap_token_num: 200
max_negative_num: 30
time_out: -1
"#;

#[test]
fn paper_policy_reads_the_authors_keys() {
    let config = paper(PolicySpec::from_yaml(PolicyKind::Paper, AUTHORS));
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let expected = PaperConfig {
        mode: Some("vllm".into()),
        target_model_name: Some("org/large".into()),
        target_model_gpu: Some(2),
        speculative_model_gpu: Some(1),
        trigger_tokens: list(&["\n\n", "\r\n\r\n"]),
        keywords: Keywords {
            verify: list(&["verify"]),
            negative: list(&["wait", "hold on"]),
            positive: list(&["yes"]),
        },
        help_recap_words: "Once more:".into(),
        time_out: Some(-1.0),
        ..PaperConfig::instruct()
    };
    assert_eq!(config, expected);
    assert_eq!(config.deadline_s(), None);
    let timed = paper(PolicySpec::from_yaml(PolicyKind::Paper, "time_out: 300"));
    assert_eq!(timed, PaperConfig { time_out: Some(300.0), ..PaperConfig::default() });
    assert_eq!(timed.deadline_s(), Some(300.0));
}

#[test]
fn strict_policy_reads_its_own_keys() {
    let yaml = "takeover_tokens: 12\nend_at_break: false\nkeywords:\n  verify: [check]\n  negative: [wait]\n  positive: []\n";
    let config = strict(PolicySpec::from_yaml(PolicyKind::Strict, yaml));
    assert_eq!((config.takeover_tokens, config.end_at_break), (12, false));
    assert_eq!(config.keywords.verify, ["check"]);
    assert_eq!(config.window_chars, StrictConfig::default().window_chars);
}

#[test]
fn presets_are_the_published_values() {
    let paper = |preset| paper(Ok(PolicySpec::new(PolicyKind::Paper, preset)));
    let reasoning = paper(Preset::Reasoning);
    assert!(!reasoning.begin && !reasoning.not_reasoning && reasoning.choose_large);
    assert!(paper(Preset::Instruct).begin && paper(Preset::Instruct).not_reasoning);
    let strict = strict(Ok(PolicySpec::new(PolicyKind::Strict, Preset::Instruct)));
    assert_eq!((strict.begin_tokens, strict.every_break), (100, true));
}

/// Returns the error's text, which must be one line.
fn refused(kind: PolicyKind, yaml: &str) -> String {
    let read = PolicySpec::from_yaml(kind, yaml);
    let error = read.err().unwrap_or_else(|| panic!("{kind} takes {yaml:?}"));
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text:?}");
    text
}

#[test]
fn unknown_yaml_key_is_named_with_the_nearest_known_one() {
    let text = refused(PolicyKind::Paper, "begin: true\nmax_target_token: 20\n");
    assert_eq!(
        text,
        "unknown key \"max_target_token\" in line 2 of the paper policy's YAML: did you mean \
         \"max_target_tokens\"?"
    );
    assert!(refused(PolicyKind::Paper, "trigger_tokens: []").contains("\"TRIGGER_TOKENS\""));
    assert!(refused(PolicyKind::Strict, "end_on_break: true").contains("\"end_at_break\""));
    let nested = "TARGET_VALIDATION_KEYWORDS:\n  verifies: []\n  negative: []\n  positive: []";
    assert!(refused(PolicyKind::Paper, nested).contains("\"verify\""));
}

#[test]
fn bad_yaml_values_are_one_clear_line() {
    let table = [
        ("max_target_tokens: many", "(\"max_target_tokens: many\"): give a whole number from 0"),
        ("begin: true\nmax_target_tokens: -3", "line 2"),
        ("max_target_tokens: 0", "at least 1"),
        ("TRIGGER_TOKENS: [\"\"]", "non-empty"),
        ("TARGET_VALIDATION_KEYWORDS:\n  verify: [check]", "negative"),
        ("TARGET_VALIDATION_KEYWORDS: {verify: [\"\"], negative: [], positive: []}", "non-empty"),
        ("begin: [", "line"),
        ("begin: true\nbegin: false", "twice"),
        ("begin: perhaps", "type"),
        ("- a list", "line 1"),
    ];
    for (yaml, part) in table {
        let text = refused(PolicyKind::Paper, yaml);
        assert!(text.contains(part), "{yaml:?}: {text}");
    }
    assert!(refused(PolicyKind::Strict, "takeover_tokens: 0").contains("at least 1"));
    assert!(refused(PolicyKind::Strict, "delimiters: []").contains("delimiters"));
}

#[test]
fn yaml_for_a_policy_without_parameters_is_refused() {
    let text = refused(PolicyKind::Random, "begin: true");
    assert_eq!(text, "the random policy reads no YAML: leave it out, or choose paper or strict");
}

#[test]
fn policies_have_names() {
    for &kind in PolicyKind::ALL {
        assert_eq!(kind.to_string().parse::<PolicyKind>(), Ok(kind));
    }
    let error = "smal-only".parse::<PolicyKind>().unwrap_err().to_string();
    assert_eq!(
        error,
        "unknown policy \"smal-only\": did you mean \"small-only\"? Known: strict, paper, \
         small-only, large-only, random, periodic, random-token, entropy, score, review, strict+review"
    );
    assert!("Instruct".parse::<Preset>().unwrap_err().to_string().contains("\"instruct\""));
}

#[test]
fn share_must_be_a_share() {
    for share in [-0.1, 1.5, f64::NAN] {
        let kind = PolicyKind::Random;
        let spec = PolicySpec::new(kind, Preset::Reasoning).with_share(share);
        let error = spec.build(0, 4096).err();
        assert!(matches!(error, Some(PolicyError::BadShare { .. })), "{share}");
    }
}

//! `PolicySpec` as JSON: what is written can be read again, and so can what 0.1.0 wrote. Reading is strict for requests
//! and lenient for journals.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use thinking::policy::{
    Limits, LoopRule, ModelPrices, PolicyError, PolicyKind, PolicySpec, Preset, Rules, Targets,
    TokenPrices,
};

/// The default policy as 0.1.0 wrote it into the headers of journals and logs.
const STRICT_0_1_0: &str = r#"{"name":"strict","parameters":{"begin_tokens":0,"delimiters":["\n\n"],
"end_at_break":true,"every_break":false,"keywords":{"negative":["wait","alternatively","hold on","another"],
"positive":["yeah","yes","final answer","confident"],"verify":["verify","think again","recap","check"]},
"recap_sentence":"Let me check whether there are some wrong steps:","recap_tokens":125,"recap_tokens_growth":25,
"recap_tokens_max":200,"reflections_before_recap":15,"reflections_growth":5,"reflections_max":30,
"takeover_tokens":20,"verification_tokens":125,"window_chars":80}}"#;

/// A schedule with every limit, as 0.1.0 wrote it.
const PERIODIC_0_1_0: &str = r#"{"name":"periodic","parameters":{"overlap_tokens":20,"period_tokens":50,
"prices":{"large":{"cached_input_per_million":0.1,"input_per_million":1.0,"output_per_million":2.0},
"small":{"cached_input_per_million":0.0,"input_per_million":0.0,"output_per_million":0.5}},"share":0.31,
"takeover_deadline_us":300000,"target_cost":0.002,"target_latency_us":8000000,"target_share":0.1}}"#;

fn read(text: &str) -> PolicySpec {
    serde_json::from_str(text).unwrap()
}

fn prices() -> TokenPrices {
    let of = |cached, input, output| ModelPrices {
        input_per_million: input,
        cached_input_per_million: cached,
        output_per_million: output,
    };
    TokenPrices { small: of(0.0, 0.0, 0.5), large: of(0.1, 1.0, 2.0) }
}

#[test]
fn headers_of_0_1_0_are_equal_to_what_they_meant() {
    assert_eq!(read(STRICT_0_1_0), PolicySpec::default());
    let periodic = PolicySpec {
        rules: Rules::Periodic { share: 0.31, period_tokens: 50 },
        limits: Limits {
            deadline: Some(Duration::from_millis(300)),
            overlap_tokens: Some(20),
            targets: Targets {
                share: Some(0.1),
                latency: Some(Duration::from_secs(8)),
                cost: Some((0.002, prices())),
            },
            thought_only: false,
            // 0.1.0 did nothing about loops.
            loops: LoopRule::Off,
            review: None,
        },
    };
    assert_eq!(read(PERIODIC_0_1_0), periodic);
    for text in [STRICT_0_1_0, PERIODIC_0_1_0] {
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(read(text)).unwrap(), value, "the format is the same");
    }
}

#[test]
fn a_journal_may_have_more_or_fewer_parameters() {
    assert_eq!(read(r#"{"name":"strict"}"#), PolicySpec::default());
    assert_eq!(read(r#"{"name":"strict","parameters":{},"later":1}"#), PolicySpec::default());
    let later = r#"{"name":"strict","parameters":{"later":[1],"takeover_tokens":20,
        "keywords":{"verify":["verify","think again","recap","check"],"later":[],
        "negative":["wait","alternatively","hold on","another"],
        "positive":["yeah","yes","final answer","confident"]}}}"#;
    assert_eq!(read(later), PolicySpec::default());
    let later = PERIODIC_0_1_0.replace("\"prices\":{", "\"prices\":{\"later\":1,");
    let later = later.replace("\"small\":{", "\"small\":{\"later\":1,");
    assert_eq!(read(&later), read(PERIODIC_0_1_0));
    for bad in [r#"{"name":"later"}"#, r#"{"name":"strict","parameters":{"takeover_tokens":"x"}}"#]
    {
        assert!(serde_json::from_str::<PolicySpec>(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_request_has_to_be_exact() {
    let strict =
        json!({ "name": "strict", "parameters": { "takeover_tokens": 12, "overlap_tokens": 5 } });
    let spec = PolicySpec::from_request(strict).unwrap();
    assert_eq!(spec.limits.overlap_tokens, Some(5));
    assert!(matches!(spec.rules, Rules::Strict(config) if config.takeover_tokens == 12));
    let table = [
        (json!({ "name": "strict", "parameters": { "takeover_token": 1 } }), "\"takeover_tokens\""),
        (json!({ "name": "strict", "parameters": { "share": 0.1 } }), "no parameter \"share\""),
        (json!({ "name": "strict", "parameters": { "takeover_tokens": 0 } }), "at least 1"),
        (json!({ "name": "strict", "parameters": { "takeover_tokens": "12" } }), "expected u32"),
        (json!({ "name": "strict", "parameters": { "keywords": { "verifies": [] } } }), "verifies"),
        (json!({ "name": "strict", "parameter": {} }), "parameter"),
        (json!({ "name": "strickt" }), "strickt"),
        (json!({ "name": "periodic", "parameters": { "period_tokens": 0 } }), "at least 1"),
        (json!({ "name": "random", "parameters": { "share": 1.5 } }), "from 0 to 1"),
        (json!({ "name": "small-only", "parameters": { "overlap_tokens": 5 } }), "no takeovers"),
        (json!({ "name": "strict", "parameters": { "overlap_tokens": 0 } }), "at least 1"),
        (json!({ "name": "strict", "parameters": { "takeover_deadline_us": 0 } }), "at least 1"),
        (json!({ "name": "paper", "parameters": { "target_share": 1.5 } }), "from 0 to 1"),
        (json!({ "name": "paper", "parameters": { "loops": "end" } }), "leave --loops out"),
        (json!({ "name": "small-only", "parameters": { "loops": "hand-over" } }), "no takeovers"),
        (json!({ "name": "strict", "parameters": { "loops": "handover" } }), "hand-over"),
        (json!({ "name": "paper", "parameters": { "target_cost": 0.1 } }), "give both"),
        (json!({ "name": "paper", "parameters": { "prices": { "middle": 1 } } }), "middle"),
        (json!("strict"), "not a policy"),
    ];
    for (value, part) in table {
        let line = PolicySpec::from_request(value.clone()).unwrap_err().to_string();
        assert!(line.contains(part) && !line.contains('\n'), "{value}: {line}");
    }
}

#[test]
fn what_cannot_be_built_is_what_the_check_refuses() {
    let random = |share| PolicySpec { rules: Rules::Random { share }, limits: Limits::default() };
    for (share, fine) in [(0.0, true), (1.0, true), (-0.1, false), (f64::NAN, false)] {
        assert_eq!(random(share).check().is_ok(), fine, "{share}");
        assert_eq!(random(share).build(0, 100).is_ok(), fine, "{share}");
    }
    let alone = PolicySpec::new(PolicyKind::SmallOnly, Preset::Reasoning);
    let hasty = Limits { overlap_tokens: Some(1), ..Limits::default() };
    let error = alone.within(hasty).build(0, 100).err();
    assert!(matches!(error, Some(PolicyError::NoTakeovers { .. })), "{error:?}");
}

#[test]
fn what_is_usual_about_loops_can_be_built_and_is_written_where_it_is_something() {
    for &kind in PolicyKind::ALL {
        let loops = kind.usual_loops();
        let spec = PolicySpec::new(kind, Preset::Reasoning);
        let spec = spec.within(Limits { loops, ..Limits::default() });
        assert_eq!(spec.check(), Ok(()), "{kind}");
        let written = serde_json::to_value(&spec).unwrap()["parameters"].get("loops").cloned();
        let expected = match kind {
            PolicyKind::Paper => None,
            PolicyKind::SmallOnly | PolicyKind::LargeOnly => Some(json!("end")),
            _ => Some(json!("hand-over")),
        };
        assert_eq!(written, expected, "{kind}");
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    let time = || prop::option::of((1u64..u64::from(u32::MAX)).prop_map(Duration::from_micros));
    let share = prop::option::of(0.0..=1.0);
    let cost = prop::option::of((0.0..10.0f64).prop_map(|cost| (cost, prices())));
    let loops = prop::sample::select(LoopRule::ALL.to_vec());
    (time(), prop::option::of(1u32..), share, time(), cost, any::<bool>(), loops).prop_map(
        |(deadline, overlap_tokens, share, latency, cost, thought_only, loops)| Limits {
            deadline,
            overlap_tokens,
            targets: Targets { share, latency, cost },
            thought_only,
            loops,
            review: None,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        kind in prop::sample::select(PolicyKind::ALL.to_vec()),
        preset in prop::sample::select(Preset::ALL.to_vec()),
        share in 0.0..=1.0f64,
        limits in limits(),
    ) {
        let mut spec = PolicySpec::new(kind, preset).with_share(share);
        if kind.has_takeovers() {
            spec.limits = Limits { review: spec.limits.review, ..limits };
        }
        if kind == PolicyKind::Paper {
            spec.limits.loops = LoopRule::Off;
        }
        let json = serde_json::to_value(&spec).unwrap();
        prop_assert_eq!(serde_json::from_value::<PolicySpec>(json.clone()).unwrap(), spec.clone());
        prop_assert_eq!(PolicySpec::from_request(json).unwrap(), spec);
    }
}

//! The line of every error, as snapshots. What nodes say of failed sessions is snapshotted where they say it.

use error_lines::{error_lines, lines};

use crate::{
    policy::{BadTarget, PolicyError, PolicyKind},
    session::Refusal,
    thinker::BadSampling,
};

#[test]
fn policy_errors() {
    insta::assert_snapshot!(error_lines!(PolicyError {
        UnknownName {
            what: "policy",
            name: "strickt".into(),
            nearest: "strict".into(),
            known: "strict, paper, small-only".into(),
        },
        UnknownKey {
            kind: PolicyKind::Strict,
            key: "begn".into(),
            line: 3,
            nearest: "begin".into(),
        },
        BadYaml {
            kind: PolicyKind::Strict,
            line: 3,
            at: "begin: often".into(),
            why: "give a value of type bool".into(),
        },
        BadValue { kind: PolicyKind::Strict, key: "window", must_be: "at least 1" },
        UnknownParameter {
            kind: PolicyKind::Random,
            key: "shar".into(),
            nearest: "share".into(),
        },
        BadParameter { kind: PolicyKind::Random, why: "share must be a number".into() },
        BadSpec { why: "there is no name".into() },
        NoParameters { kind: PolicyKind::SmallOnly },
        NoTakeovers { kind: PolicyKind::SmallOnly },
        NoReview { kind: PolicyKind::Strict },
        HasNoLoops { kind: PolicyKind::Paper },
        BadShare { share: "1.5".into() },
    }));
}

#[test]
fn refusals() {
    insta::assert_snapshot!(error_lines!(Refusal {
        NotOpen,
        AlreadyOpen,
        ProposalOpen,
        NoProposal,
        NoTokens,
        TooMany { field: "stop", found: 200, most: 64, unit: "texts" },
        NoCharacterEdge { bytes: 12, proposal_bytes: 10 },
        NoTextEdge { bytes: 12, committed_bytes: 10 },
        NoObjection { bytes: 12 },
        BadGap,
    }));
}

#[test]
fn other_errors() {
    let target = BadTarget("latency<=soon".into());
    let sampling = BadSampling { name: "top_p", value: 1.5, must_be: "from 0 to 1" };
    insta::assert_snapshot!(lines([target.to_string(), sampling.to_string()]));
}

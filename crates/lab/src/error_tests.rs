//! The line of every error, as snapshots.

use std::io::{self, ErrorKind};

use error_lines::{error_lines, lines};
use runs::EvalError;
use thinking::thinker::{Code, Failure};
use transport::RemoteError;

use crate::{
    calibrate::CalibrateError,
    link::{LinkError, LinkFault, NetemError, NotARate, NotUp},
    plan::PlanTarget,
    replay::ReplayError,
    report::ReportError,
    sizing::{SizingError, SizingTarget, TraceError},
    sweep::{SweepError, SweepRunError},
};

fn denied() -> io::Error {
    ErrorKind::PermissionDenied.into()
}

fn unreachable() -> Failure {
    Failure::new(Code::Unavailable, "cannot reach http://10.0.0.7:7102: connection refused")
}

#[test]
fn link_errors() {
    let path = || "links.toml".into();
    insta::assert_snapshot!(error_lines!(LinkError {
        Unknown { name: "hme".into(), nearest: "the nearest: home".into() },
        Bad { link: "rtt=90ms,,loss=1%".into(), fault: LinkFault::EmptyElement },
        Missing { path: path() },
        Unreadable { path: path(), why: "permission denied".into() },
        NotLinks { path: path(), line: 7, why: "missing field `link`".into() },
        Empty { path: path() },
        BadInFile { path: path(), link: "home".into(), fault: LinkFault::SameName },
    }));
}

#[test]
fn link_faults() {
    let not_a_rate = format!("{NotARate}, or unlimited");
    insta::assert_snapshot!(error_lines!(LinkFault {
        EmptyElement,
        NoValue { element: "fast".into() },
        UnknownKey { key: "rt".into(), nearest: "rtt" },
        Twice { key: "rtt" },
        BadValue { key: "down", value: "fast".into(), must_be: not_a_rate },
        JitterAboveRtt { jitter: "90ms".into(), rtt: "20ms".into() },
        NeverUp { outage: "5s/5s".into() },
        BadName { name: "my home".into() },
        SameName,
    }));
}

#[test]
fn links_that_are_not_up() {
    insta::assert_snapshot!(error_lines!(NotUp {
        Loopback(denied()),
        Netem(NetemError::NotLinux),
        Netem(NetemError::NoNetem),
    }));
}

#[test]
fn netem_errors() {
    insta::assert_snapshot!(error_lines!(NetemError {
        NotLinux,
        NotAllowed(denied()),
        Tool { program: "tc", why: ErrorKind::NotFound.into() },
        NoNetem,
        Refused {
            command: "tc qdisc add dev veth0 root netem".into(),
            said: "RTNETLINK answers: Operation not permitted".into(),
        },
        TooShort { outage: "5ms/60s".into() },
        Files(denied()),
    }));
}

#[test]
fn calibrate_errors() {
    let link = || "geo".into();
    insta::assert_snapshot!(error_lines!(CalibrateError {
        NotUp(NotUp::Loopback(denied())),
        Broken { link: link(), why: ErrorKind::ConnectionReset.into() },
        Silent { link: link(), waited: "10s".into() },
    }));
}

#[test]
fn replay_errors() {
    let question = || "q7".into();
    insta::assert_snapshot!(error_lines!(ReplayError {
        Incomplete { question: question() },
        Stopped { question: question(), why: "its deadline passed".into() },
        Disturbed { question: question(), why: "the large node was lost".into() },
        Resent { question: question() },
        Reviewed { question: question() },
        Scored { question: question() },
        Overlapping { question: question(), ask: 3 },
        DecidedByTime { question: question(), what: "a takeover's deadline".into() },
        Inconsistent { question: question(), why: "ask 3 ends and never began".into() },
        Resets { link: "geo".into() },
    }));
}

#[test]
fn trace_errors() {
    let question = || "q7".into();
    insta::assert_snapshot!(error_lines!(TraceError {
        DecidedByTime { question: question(), what: "a takeover's deadline".into() },
        Diverged { question: question() },
        Replay(ReplayError::Incomplete { question: question() }),
    }));
}

#[test]
fn sizing_errors() {
    insta::assert_snapshot!(error_lines!(SizingError {
        NoTraces,
        NobodyAsks { users: 0, questions_per_hour: 6.0 },
        Overload { asked_per_s: 2.5, role: "large", nodes: 1, most_per_s: 0.8, needed: 4 },
        Overload { asked_per_s: 2.5, role: "small", nodes: 2, most_per_s: 1.6, needed: 4 },
        TooMany { role: "large", needed: 2_000_000 },
        NeverKept {
            target: "latency<=8s".into(),
            nodes: "64 large nodes".into(),
            answer_s: 9.25,
            takeover_s: 0.341,
        },
    }));
}

#[test]
fn sweep_errors() {
    let path = || "results".into();
    insta::assert_snapshot!(error_lines!(SweepError {
        Files { path: path(), why: denied() },
        NotASweep { path: path(), why: "it contains files, but no sweep.toml".into() },
        NotResults { path: path(), why: "there is no sweep.toml".into() },
        OtherDataSet { path: path(), first: "earlier".into() },
        OtherExperiment { path: path(), what: "data set" },
        Locked { path: path() },
    }));
}

#[test]
fn sweep_run_errors() {
    insta::assert_snapshot!(error_lines!(SweepRunError {
        Folder(SweepError::Locked { path: "results".into() }),
        Run(EvalError::Locked { path: "results/strict/geo/log.jsonl".into() }),
        Link(NotUp::Loopback(denied())),
        Remote(RemoteError::Plaintext { address: "http://10.0.0.7:7102".parse().unwrap() }),
        NoNode {
            node: "large node".into(),
            failure: unreachable(),
            remedy: "start it, and run the same command again",
        },
        NoNodeOverLink { link: "geo".into(), failure: unreachable() },
    }));
}

#[test]
fn report_errors() {
    insta::assert_snapshot!(error_lines!(ReportError {
        Sweep(SweepError::NotResults {
            path: "results".into(),
            why: "there is no sweep.toml".into(),
        }),
        Draw(io::Error::other("the text has no size")),
        Write { path: "results/report/report.html".into(), why: denied() },
    }));
}

#[test]
fn targets_that_are_not_valid() {
    let plan = "accuracy>=much".parse::<PlanTarget>().unwrap_err();
    let sizing = "latency<=soon".parse::<SizingTarget>().unwrap_err();
    insta::assert_snapshot!(lines([plan.to_string(), sizing.to_string()]));
}

//! The nodes and their state, for the page and for operators.

use axum::response::Response;
use pool::{MemberReport, MemberState};
use serde::Serialize;
use thinking::{policy::Role, shown::one_line};

use crate::{app::App, error::json};

/// A list of nodes.
#[derive(Debug, Serialize)]
struct NodeList {
    object: &'static str,
    data: Vec<NodeEntry>,
}

/// A node, according to its last report.
#[derive(Debug, Serialize)]
struct NodeEntry {
    part: Role,
    name: String,
    state: &'static str,
    /// What is wrong with it, in one line.
    why: Option<String>,
    /// Sessions that this server's answers have open with it.
    sessions: u32,
}

/// Handles `GET /v1/nodes`.
pub(crate) fn list(app: &App) -> Response {
    let pools = [(Role::Small, &app.backend.small), (Role::Large, &app.backend.large)];
    let reports =
        pools.map(|(part, pool)| pool.reports().into_iter().map(move |it| entry(part, it)));
    json(&NodeList { object: "list", data: reports.into_iter().flatten().collect() })
}

fn entry(part: Role, report: MemberReport) -> NodeEntry {
    let MemberReport { name, state, sessions, .. } = report;
    let why = match &state {
        MemberState::Gone(why) | MemberState::Unfit(why) => Some(one_line(why)),
        _ => None,
    };
    NodeEntry { part, name, state: state.name(), why, sessions }
}

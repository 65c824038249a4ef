//! The nodes and their state, for the page and for whoever operates this.

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

/// A node, as it was heard of last.
#[derive(Debug, Serialize)]
struct NodeEntry {
    part: Role,
    name: String,
    state: &'static str,
    /// What is wrong with it, in a line.
    why: Option<String>,
    /// Sessions that answers of this server have with it.
    sessions: u32,
}

/// `GET /v1/nodes`.
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

//! Finds the smallest number of large nodes that keeps the targets.

use thinking::policy::Role;

use super::{
    AnswerTrace, Fleet, MOST_NODES, NodePool, Population, SizingError, SizingFigures, SizingTarget,
    alone, check, needed, size,
};

/// With this many nodes for every answer in progress, hardly any answers wait for each other.
const PLENTY: f64 = 20.0;

/// Returns the smallest number of large nodes that keeps all targets, and the figures with it. Ignores the number of
/// large nodes in `fleet`.
///
/// # Errors
/// As [`size`], and when no number of nodes keeps a target.
pub fn least_nodes(
    traces: &[AnswerTrace],
    population: &Population,
    fleet: &Fleet,
    targets: &[SizingTarget],
) -> Result<(u32, SizingFigures), SizingError> {
    check(traces, population)?;
    let least = needed(traces, population, Role::Large, &fleet.large.curve)?;
    let idle = alone(traces, fleet)?;
    check_targets(targets, &idle, "idle nodes")?;
    let tried = |nodes: u64| -> Result<(u32, SizingFigures), SizingError> {
        let nodes = nodes as u32;
        let large = NodePool { nodes, ..fleet.large.clone() };
        let figures = size(traces, population, &Fleet { large, small: fleet.small.clone() })?;
        Ok((nodes, figures))
    };
    let under_way = idle.answer.mean_s * population.questions_per_s();
    let most = (2 * least).max((PLENTY * under_way) as u64).min(MOST_NODES);
    // Targets still missed here are missed for another reason, such as too few small nodes.
    let mut best = tried(most)?;
    check_targets(targets, &best.1, &format!("{most} large nodes"))?;
    let keeps = |figures: &SizingFigures| targets.iter().all(|target| figures.keeps(target));
    let (mut more, mut too_few) = (0, least - 1);
    while least + more < most {
        let (nodes, figures) = tried(least + more)?;
        if keeps(&figures) {
            best = (nodes, figures);
            break;
        }
        too_few = least + more;
        more = (2 * more).max(1);
    }
    while too_few + 1 < u64::from(best.0) {
        let (nodes, figures) = tried(u64::midpoint(too_few, u64::from(best.0)))?;
        if keeps(&figures) {
            best = (nodes, figures);
        } else {
            too_few = u64::from(nodes);
        }
    }
    Ok(best)
}

fn check_targets(
    targets: &[SizingTarget],
    figures: &SizingFigures,
    nodes: &str,
) -> Result<(), SizingError> {
    match targets.iter().find(|target| !figures.keeps(target)) {
        Some(target) => Err(SizingError::NeverKept {
            target: target.to_string(),
            nodes: nodes.to_owned(),
            answer_s: figures.answer.p95_s,
            takeover_s: figures.first_text.map_or(0.0, |first_text| first_text.p95_s),
        }),
        None => Ok(()),
    }
}

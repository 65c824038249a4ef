//! Checks that only a simulation can make, since it knows the nodes.

use conductor::{
    NodeId, Outcome,
    invariants::{Breach, Invariant},
    progress::{Progress, Stamped},
    question::Question,
};
use thinking::{
    policy::{Limits, PolicyKind, Role, Targets},
    thinker::ThoughtStart,
};

use crate::{
    host::Host,
    scenario::{Place, Scenario},
};

pub(crate) type Checked = Result<(), Breach>;

/// Checks that an answer is degraded only if no large node that is well can be asked.
pub(crate) fn is_degraded_for_a_reason(scenario: &Scenario, stamped: &Stamped) -> Checked {
    let Progress::Degraded { reason } = &stamped.progress else { return Ok(()) };
    let fits = |place: &Place| place.model.can_review && place.model.context_tokens >= 1 << 20;
    let is_well = |node: &NodeId| node.role == Role::Large && fits(scenario.place(*node));
    match scenario.sound().into_iter().find(is_well) {
        Some(node) if scenario.pause.is_none() => {
            let seen = format!("{node:?} is well, but the answer is degraded: {reason}");
            Err(Breach { invariant: Invariant::SoundNodeStays, seen })
        }
        _ => Ok(()),
    }
}

/// Returns whether nothing lets the small node's text be accepted without a true verdict.
pub(crate) fn judges_all(scenario: &Scenario) -> bool {
    let Limits { deadline, targets, thought_only, review, .. } = scenario.policy.limits;
    let in_time = deadline.or(scenario.question.deadline).is_none();
    let is_true = scenario.large.iter().all(|place| place.lie().is_none());
    review.is_some() && is_true && in_time && targets == Targets::default() && !thought_only
}

/// Checks what can be seen only at the nodes.
pub(crate) fn nodes_agree<'a>(
    scenario: &Scenario,
    hosts: impl Iterator<Item = (NodeId, &'a Host)>,
    outcome: &Outcome,
) -> Checked {
    use ThoughtStart::{Open, Over, Unknown, Unopened};

    let hosts: Vec<_> = hosts.collect();
    let Question { beginning, stop, .. } = &scenario.question;
    // It is not known here how the first small node's template left the thought, but all nodes must agree on one state.
    let wholes =
        [Unknown, Unopened, Open, Over].map(|start| beginning.text(start) + &outcome.text());
    let is_held = |whole: &String, held: &str| {
        whole.starts_with(held) || (!stop.is_empty() && held.starts_with(whole.as_str()))
    };
    // A node that judges what the small one writes may be ahead of the answer, or may have been left behind there.
    let kind = scenario.policy.kind();
    let judges = kind.reviews() || kind == PolicyKind::Score;
    let is_ahead = |node: NodeId| judges && node.role == Role::Large;
    let told = hosts.iter().filter(|(node, _)| scenario.place(*node).lie().is_none());
    let told = told.filter(|(node, _)| !is_ahead(*node));
    let held: Vec<_> = told.map(|(node, host)| (node, host.committed())).collect();
    if !wholes.iter().any(|whole| held.iter().all(|(_, text)| is_held(whole, text))) {
        let seen = format!("the nodes hold {held:?} of {wholes:?}");
        return Err(Breach { invariant: Invariant::ShownIsHeld, seen });
    }
    for (node, host) in hosts {
        if host.steps_in_vain() > 1 {
            let seen = format!("{node:?} made {} unwanted steps", host.steps_in_vain());
            return Err(Breach { invariant: Invariant::NothingInVain, seen });
        }
    }
    Ok(())
}

//! From the policy's arguments to a policy.

use std::time::Duration;

use serde_json::json;
use thinking::policy::{
    Paper, Policy, PolicyError, PolicyKind, Recipe, Strict, build,
    config::{paper_config, strict_config},
};

use super::{
    args::AskArgs,
    exit::{Exit, Stop},
};

/// The large model's share of a schedule unless told otherwise: about the paper's.
const SHARE: f64 = 0.2;

/// A policy, ready to run.
pub(super) struct Chosen {
    pub(super) policy: Box<dyn Policy>,
    /// Its name and parameters, for the journal.
    pub(super) note: serde_json::Value,
    /// The time for an answer that its file sets.
    pub(super) deadline: Option<Duration>,
}

pub(super) fn choose(args: &AskArgs) -> Result<Chosen, Stop> {
    let kind = args.policy;
    let scheduled = matches!(kind, PolicyKind::Random | PolicyKind::Periodic);
    if args.share.is_some() && !scheduled {
        let message = format!("--share is for the policies random and periodic, not for {kind}");
        return Err(Stop::new(Exit::Usage, message));
    }
    let yaml = args.policy_file.as_ref().map(|path| {
        std::fs::read_to_string(path).map_err(|why| {
            let mend = "give --policy-file a YAML file that can be read";
            let message = format!("cannot read the policy file {}: {why}; {mend}", path.display());
            Stop::new(Exit::PolicyFile, message)
        })
    });
    let yaml = yaml.transpose()?;
    let share = args.share.unwrap_or(SHARE);
    let recipe = Recipe {
        kind,
        preset: args.preset,
        yaml: yaml.as_deref(),
        max_tokens: args.max_tokens,
        share,
        seed: args.seed,
    };
    let stop = |error: PolicyError| match (&error, &args.policy_file) {
        (PolicyError::NoParameters { .. } | PolicyError::BadShare { .. }, _) | (_, None) => {
            Stop::new(Exit::Usage, error)
        }
        (_, Some(path)) => Stop::new(Exit::PolicyFile, format!("{}: {error}", path.display())),
    };
    let mut deadline = None;
    let (policy, parameters): (Box<dyn Policy>, _) = match kind {
        PolicyKind::Paper => {
            let config = paper_config(args.preset, recipe.yaml).map_err(stop)?;
            deadline = config.deadline_s().and_then(|s| Duration::try_from_secs_f64(s).ok());
            let parameters = json!(config);
            (Box::new(Paper::new(config, args.max_tokens)), parameters)
        }
        PolicyKind::Strict => {
            let config = strict_config(args.preset, recipe.yaml).map_err(stop)?;
            let parameters = json!(config);
            (Box::new(Strict::new(config, args.max_tokens)), parameters)
        }
        PolicyKind::SmallOnly | PolicyKind::LargeOnly => (build(&recipe).map_err(stop)?, json!({})),
        PolicyKind::Random | PolicyKind::Periodic => {
            (build(&recipe).map_err(stop)?, json!({ "share": share }))
        }
    };
    let note = json!({ "name": kind.name(), "parameters": parameters });
    Ok(Chosen { policy, note, deadline })
}

//! From the policy's arguments to a policy.

use std::time::Duration;

use serde_json::json;
use thinking::policy::{
    Bounds, Policy, PolicyError, PolicyKind, Preset, Recipe, Target, Targets, build,
    config::{PERIOD_TOKENS, paper_config, strict_config},
};

use crate::prices::Prices;

use super::{
    args::PolicyArgs,
    exit::{Exit, Stop},
};

/// The large model's share of a schedule unless told otherwise: about the paper's.
const SHARE: f64 = 0.2;

/// A policy with its parameters, checked: makes the policy of any number of questions.
pub(super) struct Chosen {
    kind: PolicyKind,
    preset: Preset,
    yaml: Option<String>,
    max_tokens: u32,
    share: f64,
    period_tokens: u32,
    bounds: Bounds,
    /// Its name and parameters, for the journal.
    pub(super) note: serde_json::Value,
    /// The time for an answer that its file sets.
    pub(super) deadline: Option<Duration>,
}

impl Chosen {
    /// Which policy it is.
    pub(super) fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// The policy of a question with this seed.
    pub(super) fn policy(&self, seed: u64) -> Result<Box<dyn Policy>, PolicyError> {
        build(&Recipe {
            kind: self.kind,
            preset: self.preset,
            yaml: self.yaml.as_deref(),
            max_tokens: self.max_tokens,
            share: self.share,
            period_tokens: self.period_tokens,
            seed,
            bounds: self.bounds,
        })
    }

    /// Fills in what is known only when the parameters are read.
    fn read(mut self) -> Result<Chosen, PolicyError> {
        self.policy(0)?;
        let yaml = self.yaml.as_deref();
        let mut parameters = match self.kind {
            PolicyKind::Paper => {
                let config = paper_config(self.preset, yaml)?;
                self.deadline =
                    config.deadline_s().and_then(|s| Duration::try_from_secs_f64(s).ok());
                json!(config)
            }
            PolicyKind::Strict => json!(strict_config(self.preset, yaml)?),
            PolicyKind::SmallOnly | PolicyKind::LargeOnly => json!({}),
            PolicyKind::Random => json!({ "share": self.share }),
            PolicyKind::Periodic => {
                json!({ "share": self.share, "period_tokens": self.period_tokens })
            }
        };
        if let Some(deadline) = self.bounds.deadline {
            parameters["takeover_deadline_us"] = json!(micros(deadline));
        }
        if let Some(tokens) = self.bounds.overlap_tokens {
            parameters["overlap_tokens"] = json!(tokens);
        }
        let Targets { share, latency, cost } = self.bounds.targets;
        if let Some(share) = share {
            parameters["target_share"] = json!(share);
        }
        if let Some(latency) = latency {
            parameters["target_latency_us"] = json!(micros(latency));
        }
        if let Some((cost, prices)) = cost {
            parameters["target_cost"] = json!(cost);
            parameters["prices"] = json!(prices);
        }
        self.note = json!({ "name": self.kind.name(), "parameters": parameters });
        Ok(self)
    }
}

/// In microseconds, as far as journals have them.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// All targets; of two of a kind the closer one holds.
fn targets(args: &PolicyArgs) -> Result<Targets, Stop> {
    let prices = args.prices.as_deref().map(Prices::read).transpose()?.map(|it| it.of_tokens());
    let mut targets = Targets::default();
    for target in &args.target {
        match *target {
            Target::Share(share) => {
                targets.share = Some(targets.share.map_or(share, |other| share.min(other)));
            }
            Target::Latency(time) => {
                targets.latency = Some(targets.latency.map_or(time, |other| time.min(other)));
            }
            Target::Cost(cost) => {
                let cost = targets.cost.map_or(cost, |(other, _)| cost.min(other));
                let Some(prices) = prices else {
                    let message = format!(
                        "--target {target} needs to know what tokens cost: give --prices FILE, a TOML file as in docs/report.md"
                    );
                    return Err(Stop::new(Exit::Usage, message));
                };
                targets.cost = Some((cost, prices));
            }
        }
    }
    if args.resend && targets.cost.is_some() {
        let message = "--target for costs reckons with text that is read once, and --resend sends it again at every \
                       takeover: leave one of them out";
        return Err(Stop::new(Exit::Usage, message));
    }
    if prices.is_some() && targets.cost.is_none() {
        let message =
            "--prices is for a target of costs: give --target \"cost<=0.002\" too, or leave it out";
        return Err(Stop::new(Exit::Usage, message));
    }
    Ok(targets)
}

pub(super) fn choose(args: &PolicyArgs, max_tokens: u32) -> Result<Chosen, Stop> {
    let kind = args.policy;
    let scheduled = matches!(kind, PolicyKind::Random | PolicyKind::Periodic);
    if args.share.is_some() && !scheduled {
        let message = format!("--share is for the policies random and periodic, not for {kind}");
        return Err(Stop::new(Exit::Usage, message));
    }
    if args.period.is_some() && kind != PolicyKind::Periodic {
        let message = format!("--period is for the policy periodic, not for {kind}");
        return Err(Stop::new(Exit::Usage, message));
    }
    if args.resend && matches!(kind, PolicyKind::SmallOnly | PolicyKind::LargeOnly) {
        let message = format!("--resend is for policies with takeovers, and {kind} has none");
        return Err(Stop::new(Exit::Usage, message));
    }
    let yaml = args.policy_file.as_ref().map(|path| {
        std::fs::read_to_string(path).map_err(|why| {
            let mend = "give --policy-file a YAML file that can be read";
            let message = format!("cannot read the policy file {}: {why}; {mend}", path.display());
            Stop::new(Exit::PolicyFile, message)
        })
    });
    let chosen = Chosen {
        kind,
        preset: args.preset,
        yaml: yaml.transpose()?,
        max_tokens,
        share: args.share.unwrap_or(SHARE),
        period_tokens: args.period.unwrap_or(PERIOD_TOKENS),
        bounds: Bounds {
            deadline: args.takeover_deadline,
            overlap_tokens: args.overlap,
            targets: targets(args)?,
        },
        note: json!(null),
        deadline: None,
    };
    chosen.read().map_err(|error| match (&error, &args.policy_file) {
        (PolicyError::NoParameters { .. } | PolicyError::BadShare { .. }, _)
        | (PolicyError::NoTakeovers { .. }, _)
        | (_, None) => Stop::new(Exit::Usage, error),
        (_, Some(path)) => Stop::new(Exit::PolicyFile, format!("{}: {error}", path.display())),
    })
}

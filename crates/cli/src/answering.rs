//! Turns arguments into settings: how tokens are sampled, and how the nodes are treated.

use answer::Settings;
use thinking::thinker::{BadSampling, Sampling};

use crate::{
    args::{NodesArgs, PolicyArgs, WritingArgs},
    exit::{CliError, Exit},
};

/// Returns how the nodes are treated.
pub fn settings(nodes: &NodesArgs, policy: &PolicyArgs) -> Settings {
    let settings = Settings {
        keep_warm: !nodes.no_keep_warm,
        resend: policy.resend,
        small_timeout: nodes.small_timeout,
        large_timeout: nodes.large_timeout,
        rejoin_after: Some(nodes.rejoin_after).filter(|after| !after.is_zero()),
        hedge_after: None,
    };
    settings.suited_to(policy.policy)
}

/// Returns how tokens are sampled.
///
/// When a value is out of range.
pub fn sampling(args: &WritingArgs) -> Result<Sampling, CliError> {
    let sampling = Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
    };
    sampling.check().map_err(|BadSampling { name, value, must_be }| {
        let flag = name.replace('_', "-");
        CliError::new(Exit::Usage, format!("--{flag} is {value}: it must be {must_be}"))
    })?;
    Ok(sampling)
}

//! Turns the policy's arguments into a [`PolicySpec`].

use answer::prices::Prices;
use thinking::policy::{
    Limits, PolicyError, PolicySpec, ReviewConfig, Rules, Target, Targets, TokenPrices,
};

use crate::{
    args::{NamedNode, NodesArgs, PolicyArgs},
    endpoints::EndpointsError,
    exit::{CliError, Exit},
};

/// Returns all targets. Of two targets of a kind, the stricter one applies.
fn targets(args: &PolicyArgs, nodes: &NodesArgs) -> Result<Targets, CliError> {
    let mut targets = Targets::default();
    for target in &args.target {
        let prices = match target {
            Target::Cost(_) => prices(args, nodes)?,
            _ => None,
        };
        if !targets.add(*target, prices) {
            let message = format!(
                "--target {target} needs the prices of tokens: give --prices FILE, a TOML file as in docs/report.md, \
                 or name nodes of --endpoints that have a price"
            );
            return Err(CliError::new(Exit::Usage, message));
        }
    }
    if args.resend && targets.cost.is_some() {
        let message = "a cost target assumes that text is read once, but --resend sends it again at every takeover: \
                       leave out one of --target and --resend";
        return Err(CliError::new(Exit::Usage, message));
    }
    Ok(targets)
}

/// Returns how to handle the objections of a review, if the policy has one.
fn review(args: &PolicyArgs, no_keep_warm: bool) -> Result<Option<ReviewConfig>, CliError> {
    let given = &args.review;
    if !args.policy.reviews() {
        return match given.first() {
            None => Ok(None),
            Some(flag) => {
                let message = format!(
                    "{flag} is for the policies review and strict+review, not for {}",
                    args.policy
                );
                Err(CliError::new(Exit::Usage, message))
            }
        };
    }
    if let Some(flag) =
        [("--resend", args.resend), ("--no-keep-warm", no_keep_warm)].iter().find(|it| it.1)
    {
        let message = format!(
            "a review needs text to be sent ahead over sessions that stay open, which {} prevents: leave it out",
            flag.0
        );
        return Err(CliError::new(Exit::Usage, message));
    }
    let usual = ReviewConfig::default();
    Ok(Some(ReviewConfig {
        gap: given.review_gap.unwrap_or(usual.gap),
        tokens: given.review_tokens.unwrap_or(usual.tokens),
        resample: given.review_resample.unwrap_or(usual.resample),
        skip_openings: given.review_skip_openings,
        draw: given.review_draw,
        piece_tokens: given.review_piece.unwrap_or(usual.piece_tokens),
        ahead_tokens: given.review_ahead,
    }))
}

/// Returns the prices of tokens, from the price table if one is given, or else from the nodes' endpoints.
///
/// When the file cannot be read or is invalid.
pub fn prices(args: &PolicyArgs, nodes: &NodesArgs) -> Result<Option<TokenPrices>, CliError> {
    match &args.prices {
        Some(path) => Ok(Some(Prices::read(path)?.of_tokens())),
        None => endpoint_prices(nodes),
    }
}

/// Returns the prices of tokens for showing what answers cost. As [`prices`], but `None` if only one node has a price.
///
/// When the price table cannot be read or is invalid.
pub fn known_prices(args: &PolicyArgs, nodes: &NodesArgs) -> Result<Option<TokenPrices>, CliError> {
    match &args.prices {
        Some(path) => Ok(Some(Prices::read(path)?.of_tokens())),
        // Other faults of the endpoints are reported when the nodes are resolved.
        None => Ok(endpoint_prices(nodes).ok().flatten()),
    }
}

/// Returns the prices of the first small node's endpoint and of the first large node's.
///
/// When the file of endpoints is invalid, or only one of the two has a price.
fn endpoint_prices(nodes: &NodesArgs) -> Result<Option<TokenPrices>, CliError> {
    let Some(endpoints) = nodes.endpoints()? else { return Ok(None) };
    let price = |node: Option<&NamedNode>| -> Result<_, EndpointsError> {
        let name = node.and_then(|node| node.place.strip_prefix('@'));
        Ok(name.map(|name| endpoints.get(name)).transpose()?.and_then(|them| them[0].price))
    };
    match (price(nodes.named.small.first())?, price(nodes.named.large.first())?) {
        (Some(small), Some(large)) => Ok(Some(TokenPrices { small, large })),
        (None, None) => Ok(None),
        (small, _) => {
            let (has, lacks) =
                if small.is_some() { ("small", "large") } else { ("large", "small") };
            let why = format!(
                "the {has} node has a price, but the {lacks} one has none: write one for both, or for neither"
            );
            Err(endpoints.fault(why).into())
        }
    }
}

/// Returns the policy that the arguments ask for, checked. Reads the files that they name.
///
/// When the arguments do not fit together, or a file cannot be read or is invalid.
pub fn spec(args: &PolicyArgs, nodes: &NodesArgs) -> Result<PolicySpec, CliError> {
    let kind = args.policy;
    let mut spec = match &args.policy_file {
        None => PolicySpec::new(kind, args.preset),
        Some(path) => {
            let yaml = std::fs::read_to_string(path).map_err(|why| {
                let remedy = "give --policy-file a readable YAML file";
                let message =
                    format!("cannot read the policy file {}: {why}; {remedy}", path.display());
                CliError::new(Exit::PolicyFile, message)
            })?;
            PolicySpec::from_yaml(kind, &yaml).map_err(|error| match error {
                PolicyError::NoParameters { .. } => CliError::new(Exit::Usage, error),
                _ => CliError::new(Exit::PolicyFile, format!("{}: {error}", path.display())),
            })?
        }
    };
    let usage = |message: String| Err(CliError::new(Exit::Usage, message));
    match (spec.share_mut(), args.share) {
        (_, None) => {}
        (Some(share), Some(given)) => *share = given,
        (None, Some(_)) => {
            return usage(format!(
                "--share is for the policies random, random-token and periodic, not for {kind}"
            ));
        }
    }
    match (&mut spec.rules, args.period) {
        (_, None) => {}
        (Rules::Periodic { period_tokens, .. }, Some(given)) => *period_tokens = given,
        _ => return usage(format!("--period is for the policy periodic, not for {kind}")),
    }
    match (&mut spec.rules, args.entropy) {
        (_, None) => {}
        (Rules::Entropy { over_nats }, Some(given)) => *over_nats = given,
        _ => return usage(format!("--entropy is for the policy entropy, not for {kind}")),
    }
    match (&mut spec.rules, args.score) {
        (_, None) => {}
        (Rules::Score { least }, Some(given)) => *least = given,
        _ => return usage(format!("--score is for the policy score, not for {kind}")),
    }
    if args.resend && !kind.has_takeovers() {
        return usage(format!("--resend is for policies with takeovers, but {kind} has none"));
    }
    spec.limits = Limits {
        deadline: args.takeover_deadline,
        overlap_tokens: args.overlap,
        targets: targets(args, nodes)?,
        thought_only: args.thought_only,
        loops: args.loops.unwrap_or(kind.usual_loops()),
        review: review(args, nodes.no_keep_warm)?,
    };
    spec.check().map_err(|error| CliError::new(Exit::Usage, error))?;
    Ok(spec)
}

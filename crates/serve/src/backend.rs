//! What answers: the nodes, and the defaults for what a request does not say. A request becomes a [`Run`] here, as in
//! `specthink ask` and `eval`; it is started elsewhere.

use std::time::Duration;

use answer::{Question, Run, Settings};
use pool::{Hedging, Pool};
use serde_json::Value;
use thinking::{
    names::nearest,
    policy::{Limits, PolicyError, PolicyKind, PolicySpec, Preset, Role, Targets, TokenPrices},
    stops::StopTexts,
    thinker::{Message, Prompt, Sampling},
};

use crate::{
    error::{ApiError, ErrorCode},
    request::{AnswerRequest, OursWanted, PolicyWanted, ReplyKind, SamplingWanted},
};

/// The model of a request that names none.
const DEFAULT_MODEL: &str = "specthink";

/// The nodes, and the defaults for what a request does not say.
#[derive(Debug)]
pub struct AnswerBackend {
    /// The small nodes.
    pub small: Pool,
    /// The large nodes.
    pub large: Pool,
    /// How the nodes are treated.
    pub settings: Settings,
    /// When a second large node is asked for a takeover.
    pub hedging: Option<Hedging>,
    /// The default policy.
    pub policy: PolicySpec,
    /// Policies that are models under names of their own.
    pub named: Vec<(String, PolicySpec)>,
    /// The kind of small model, for policies that a request names.
    pub preset: Preset,
    /// How tokens are sampled.
    pub sampling: Sampling,
    /// The default maximum number of tokens of an answer.
    pub max_tokens: u32,
    /// The largest maximum that a request may ask for.
    pub most_tokens: u32,
    /// A system message for conversations without one.
    pub system: Option<String>,
    /// The time limit of a whole answer.
    pub deadline: Option<Duration>,
    /// The prices of tokens, if known.
    pub prices: Option<TokenPrices>,
    /// Whether reasoning stays in the content.
    pub is_inline: bool,
}

/// How a request is answered. All values are valid together.
#[derive(Debug, Clone)]
pub(crate) struct AnswerPlan {
    pub(crate) policy: PolicySpec,
    pub(crate) settings: Settings,
    pub(crate) sampling: Sampling,
    pub(crate) max_tokens: u32,
    pub(crate) deadline: Option<Duration>,
    pub(crate) is_inline: bool,
}

impl AnswerBackend {
    /// Returns whether a policy of the configuration may be a model of this name: a valid name, and not one of the
    /// server's own.
    pub fn may_be_named(name: &str) -> bool {
        let is_own = [DEFAULT_MODEL, "small", "large"].contains(&name)
            || name.starts_with(&format!("{DEFAULT_MODEL}:"));
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._:/-".contains(letter);
        !is_own && !name.is_empty() && name.len() <= 100 && name.chars().all(is_plain)
    }

    /// Reads a policy with its parameters, in the form of a request.
    ///
    /// When it has another form, an unknown parameter or an invalid value.
    pub fn policy_of(value: Value) -> Result<PolicySpec, PolicyError> {
        let has_loops = !value["parameters"]["loops"].is_null();
        let mut spec = PolicySpec::from_request(value)?;
        if !has_loops {
            spec.limits.loops = spec.kind().usual_loops();
        }
        Ok(spec)
    }

    /// Returns the names of all models, and the policy of each.
    pub(crate) fn models(&self) -> Vec<(String, PolicyKind)> {
        let kinds = PolicyKind::ALL.iter().copied().filter(|kind| kind.has_takeovers());
        let named = kinds.map(|kind| (format!("{DEFAULT_MODEL}:{kind}"), kind));
        let alone = [("small", PolicyKind::SmallOnly), ("large", PolicyKind::LargeOnly)];
        [(DEFAULT_MODEL.to_owned(), self.policy.kind())]
            .into_iter()
            .chain(named)
            .chain(alone.map(|(name, kind)| (name.to_owned(), kind)))
            .chain(self.named.iter().map(|(name, policy)| (name.clone(), policy.kind())))
            .collect()
    }

    /// Returns the policy of the model of this name.
    pub(crate) fn model(&self, name: &str) -> Result<PolicyKind, ApiError> {
        let models = self.models();
        if let Some((_, kind)) = models.iter().find(|(known, _)| known == name) {
            return Ok(*kind);
        }
        let names: Vec<&str> = models.iter().map(|(name, _)| name.as_str()).collect();
        let near = nearest(name, &names);
        let message = format!(
            "no model is named {:?}: write {near}; the models are {}",
            name.chars().take(100).collect::<String>(),
            names.join(", ")
        );
        Err(ApiError::new(ErrorCode::ModelNotFound, message).about("model"))
    }

    /// Returns the policy of the model of this name, or of the default model.
    pub(crate) fn model_or_default(&self, name: Option<&str>) -> Result<PolicyKind, ApiError> {
        self.model(name.unwrap_or(DEFAULT_MODEL))
    }

    /// Returns how to answer a request.
    ///
    /// When something that it asks for does not exist, or does not fit together.
    pub(crate) fn plan(&self, request: &AnswerRequest) -> Result<AnswerPlan, ApiError> {
        let policy = self.policy(request.model.as_deref(), &request.ours)?;
        let plan = AnswerPlan {
            settings: self.settings.suited_to(policy.kind()),
            sampling: self.sampling(&request.sampling),
            max_tokens: request.max_tokens.unwrap_or(self.max_tokens),
            deadline: request.ours.deadline.or(self.deadline).or(policy.deadline()),
            // The continuation of a text is not split.
            is_inline: request.kind == ReplyKind::Text
                || request.ours.is_inline.unwrap_or(self.is_inline),
            policy,
        };
        plan.sampling.check().map_err(|why| {
            ApiError::new(ErrorCode::InvalidValue, why.to_string()).about(why.name)
        })?;
        Ok(plan)
    }

    /// Returns the run for one answer.
    ///
    /// Never, for a plan that was checked.
    pub(crate) fn run(
        &self,
        plan: &AnswerPlan,
        request: &AnswerRequest,
        prompt: &Prompt,
        id: String,
        seed: u64,
    ) -> Result<Run, ApiError> {
        let policy = plan.policy.build(seed, plan.max_tokens).map_err(|why| bad_policy(&why))?;
        let kind = plan.policy.kind();
        let small = self.small.candidates(|card| kind.fits(Role::Small, card));
        let large =
            kind.uses_large().then(|| self.large.candidates(|card| kind.fits(Role::Large, card)));
        let hedge_after = self.hedging.and_then(|hedging| self.large.hedge_after(hedging));
        Ok(Run {
            question: Question {
                id,
                prompt: self.prompt(prompt),
                beginning: request.beginning.clone(),
                sampling: plan.sampling,
                seed,
                max_tokens: plan.max_tokens,
                stop: StopTexts { texts: request.stop.clone(), in_thought: plan.is_inline },
                deadline: plan.deadline,
            },
            small,
            large: large.unwrap_or_default(),
            policy,
            settings: Settings { hedge_after, ..plan.settings },
        })
    }

    fn policy(&self, model: Option<&str>, ours: &OursWanted) -> Result<PolicySpec, ApiError> {
        let kind = self.model_or_default(model)?;
        let mut policy = match &ours.policy {
            None => {
                let named = self.named.iter().find(|(name, _)| model == Some(name));
                named.map_or_else(|| self.usual(kind), |(_, policy)| policy.clone())
            }
            Some(PolicyWanted::Named(name)) => {
                let kind = PolicyKind::ALL.iter().copied().find(|kind| kind.name() == name);
                self.usual(kind.ok_or_else(|| no_policy(name))?)
            }
            Some(PolicyWanted::Spec(value)) => {
                AnswerBackend::policy_of(value.clone()).map_err(|why| bad_policy(&why))?
            }
        };
        if let Some(deadline) = ours.takeover_deadline {
            policy.limits.deadline = Some(deadline);
        }
        if let Some(targets) = &ours.targets {
            policy.limits.targets = Targets::default();
            for target in targets {
                if !policy.limits.targets.add(*target, self.prices) {
                    let message = format!(
                        "specthink.targets has {target}, but this server does not know the prices of tokens: start \
                         it with --prices, or leave the target out"
                    );
                    let error = ApiError::new(ErrorCode::InvalidValue, message);
                    return Err(error.about("specthink.targets"));
                }
            }
        }
        policy.check().map_err(|why| bad_policy(&why))?;
        Ok(policy)
    }

    /// Returns the policy of a kind: the server's own, or one with default parameters.
    fn usual(&self, kind: PolicyKind) -> PolicySpec {
        if self.policy.kind() == kind {
            return self.policy.clone();
        }
        let limits = Limits { loops: kind.usual_loops(), ..Limits::default() };
        PolicySpec::new(kind, self.preset).within(limits)
    }

    fn sampling(&self, wanted: &SamplingWanted) -> Sampling {
        let usual = self.sampling;
        Sampling {
            temperature: wanted.temperature.unwrap_or(usual.temperature),
            top_k: wanted.top_k.unwrap_or(usual.top_k),
            top_p: wanted.top_p.unwrap_or(usual.top_p),
            min_p: wanted.min_p.unwrap_or(usual.min_p),
            repetition_penalty: wanted.repetition_penalty.unwrap_or(usual.repetition_penalty),
        }
    }

    /// Returns the prompt, with the server's system message if it is a conversation without one.
    fn prompt(&self, prompt: &Prompt) -> Prompt {
        let Prompt::Messages(messages) = prompt else { return prompt.clone() };
        let has_system = messages.iter().any(|message| message.role == "system");
        let system = self.system.as_ref().filter(|_| !has_system);
        let system =
            system.map(|text| Message { role: "system".to_owned(), content: text.clone() });
        Prompt::Messages(system.into_iter().chain(messages.iter().cloned()).collect())
    }
}

fn bad_policy(why: &PolicyError) -> ApiError {
    ApiError::new(ErrorCode::InvalidValue, why.to_string()).about("specthink.policy")
}

fn no_policy(name: &str) -> ApiError {
    let names: Vec<&str> = PolicyKind::ALL.iter().map(|kind| kind.name()).collect();
    let message = format!(
        "specthink.policy is {:?}: write {}; the policies are {}",
        name.chars().take(100).collect::<String>(),
        nearest(name, &names),
        names.join(", ")
    );
    ApiError::new(ErrorCode::InvalidValue, message).about("specthink.policy")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use thinking::policy::{LoopRule, ModelPrices, ReviewConfig, Rules};

    use super::*;

    fn backend() -> AnswerBackend {
        let limits = Limits { loops: LoopRule::HandOver, ..Limits::default() };
        AnswerBackend {
            small: Pool::unwatched([]),
            large: Pool::unwatched([]),
            settings: Settings { resend: true, ..Settings::default() },
            hedging: None,
            policy: PolicySpec::new(PolicyKind::Random, Preset::Reasoning)
                .with_share(0.7)
                .within(limits),
            named: vec![(
                "team/thrifty".to_owned(),
                PolicySpec::new(PolicyKind::Random, Preset::Reasoning).with_share(0.1),
            )],
            preset: Preset::Reasoning,
            sampling: Sampling::default(),
            max_tokens: 100,
            most_tokens: 1000,
            system: Some("Be brief.".to_owned()),
            deadline: Some(Duration::from_secs(9)),
            prices: None,
            is_inline: false,
        }
    }

    fn plan_by(backend: &AnswerBackend, more: &Value) -> Result<AnswerPlan, ApiError> {
        let mut body = json!({ "messages": [{ "role": "user", "content": "x" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = AnswerRequest::read(
            ReplyKind::Chat,
            &serde_json::to_vec(&body).unwrap(),
            backend.most_tokens,
        )?;
        backend.plan(&request)
    }

    fn plan(more: Value) -> Result<AnswerPlan, ApiError> {
        plan_by(&backend(), &more)
    }

    #[test]
    fn the_name_of_the_model_chooses_the_policy() {
        for (model, kind) in [
            (Value::Null, PolicyKind::Random),
            (json!("specthink"), PolicyKind::Random),
            (json!("specthink:strict"), PolicyKind::Strict),
            (json!("specthink:paper"), PolicyKind::Paper),
            (json!("specthink:review"), PolicyKind::Review),
            (json!("specthink:strict+review"), PolicyKind::StrictReview),
            (json!("small"), PolicyKind::SmallOnly),
            (json!("large"), PolicyKind::LargeOnly),
        ] {
            let plan = plan(json!({ "model": model })).unwrap();
            assert_eq!(plan.policy.kind(), kind, "{model}");
            assert_eq!(plan.policy.limits.loops, kind.usual_loops(), "{model}");
            assert_eq!(plan.settings.keep_warm, kind != PolicyKind::LargeOnly, "{model}");
            let may_resend = kind.has_takeovers() && !kind.reviews();
            assert_eq!(plan.settings.resend, may_resend, "{model}");
            assert_eq!(plan.policy.limits.review.is_some(), kind.reviews(), "{model}");
        }
        let cold = Settings { keep_warm: false, ..Settings::default() };
        let cold = AnswerBackend { settings: cold, ..backend() };
        let review = plan_by(&cold, &json!({ "model": "specthink:review" })).unwrap();
        assert!(review.settings.keep_warm, "a review is of what is sent ahead");
        let same_kind = plan(json!({ "model": "specthink:random" })).unwrap().policy;
        assert_eq!(same_kind.rules, Rules::Random { share: 0.7 }, "the flags' parameters");
        let named = plan(json!({ "model": "team/thrifty" })).unwrap().policy;
        assert_eq!(named.rules, Rules::Random { share: 0.1 }, "its own parameters");
        let other = json!({ "model": "team/thrifty", "specthink": { "policy": "random" } });
        assert_eq!(plan(other).unwrap().policy.rules, Rules::Random { share: 0.7 });
        for (name, may) in [
            ("thrifty", true),
            ("team/thrifty-2", true),
            ("small", false),
            ("specthink:mine", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(AnswerBackend::may_be_named(name), may, "{name}");
        }
        for (name, near) in [
            ("specthink:strickt", "specthink:strict"),
            ("specthink:reviews", "specthink:review"),
            ("specthink:strict-review", "specthink:strict+review"),
        ] {
            let error = plan(json!({ "model": name })).unwrap_err();
            assert_eq!(error.code, ErrorCode::ModelNotFound);
            assert!(error.to_string().contains(&format!("write {near};")), "{error}");
        }
    }

    #[test]
    fn a_request_overrides_the_flags() {
        let usual = plan(json!({})).unwrap();
        assert_eq!((usual.max_tokens, usual.deadline), (100, Some(Duration::from_secs(9))));
        assert_eq!((usual.sampling, usual.is_inline), (Sampling::default(), false));
        let asked = Prompt::question("x".to_owned(), None);
        let Prompt::Messages(messages) = backend().prompt(&asked) else { panic!("it is one") };
        assert_eq!(
            (messages[0].role.as_str(), messages[0].content.as_str()),
            ("system", "Be brief.")
        );
        let own = plan(json!({ "max_tokens": 7, "temperature": 0, "top_k": 1,
            "specthink": { "deadline_ms": 100, "reasoning": "inline", "policy": "periodic",
                           "targets": ["share<=10%", "share<=5%"], "takeover_deadline_ms": 300 } }));
        let own = own.unwrap();
        assert_eq!((own.max_tokens, own.deadline), (7, Some(Duration::from_millis(100))));
        assert_eq!((own.sampling.temperature, own.sampling.top_k, own.is_inline), (0.0, 1, true));
        assert_eq!(own.policy.limits.targets.share, Some(0.05));
        assert_eq!(own.policy.limits.deadline, Some(Duration::from_millis(300)));
        assert_eq!(own.policy.kind(), PolicyKind::Periodic);
        let spec = json!({ "name": "random", "parameters": { "share": 0.3 } });
        let spec = plan(json!({ "specthink": { "policy": spec } })).unwrap().policy;
        assert_eq!(
            (spec.rules, spec.limits.loops),
            (Rules::Random { share: 0.3 }, LoopRule::HandOver)
        );
        let spec = json!({ "name": "review", "parameters": { "review_gap": 2 } });
        let spec = plan(json!({ "specthink": { "policy": spec, "targets": ["share<=5%"] } }));
        let limits = spec.unwrap().policy.limits;
        assert_eq!(limits.review, Some(ReviewConfig { gap: 2.0, ..ReviewConfig::default() }));
        assert_eq!(limits.targets.share, Some(0.05));
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_refused() {
        for (ours, param, words) in [
            (json!({ "policy": "strickt" }), "specthink.policy", "write strict"),
            (
                json!({ "policy": { "name": "random", "parameters": { "share": 2 } } }),
                "specthink.policy",
                "share",
            ),
            (
                json!({ "policy": { "name": "random", "parameters": { "shar": 0.2 } } }),
                "specthink.policy",
                "share",
            ),
            (
                json!({ "policy": { "name": "review", "parameters": { "review_gp": 2 } } }),
                "specthink.policy",
                "review_gap",
            ),
            (
                json!({ "policy": { "name": "review", "parameters": { "review_gap": -1 } } }),
                "specthink.policy",
                "review_gap",
            ),
            (
                json!({ "policy": "small-only", "targets": ["share<=1%"] }),
                "specthink.policy",
                "small-only",
            ),
            (json!({ "targets": ["cost<=1"] }), "specthink.targets", "--prices"),
        ] {
            let error = plan(json!({ "specthink": ours })).expect_err(&ours.to_string());
            assert_eq!(error.param.as_deref(), Some(param), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
        let price = ModelPrices::default();
        let prices = Some(TokenPrices { small: price, large: price });
        let priced = AnswerBackend { prices, ..backend() };
        assert!(plan_by(&priced, &json!({ "specthink": { "targets": ["cost<=1"] } })).is_ok());
    }
}

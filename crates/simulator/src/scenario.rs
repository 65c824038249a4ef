//! What a seed draws: a question, a policy, nodes, links, and what goes wrong.

use std::time::Duration;

use conductor::{
    NodeId,
    question::{Question, Settings},
};
use thinking::{
    beginning::AnswerBeginning,
    policy::{
        Limits, LoopRule, ModelPrices, PaperConfig, PolicyKind, PolicySpec, Preset, ReviewConfig,
        Role, Rules, Targets, TokenPrices,
    },
    stops::StopTexts,
    thinker::{Prompt, Sampling, ThoughtStart},
};

use crate::draw::Draws;
pub use crate::{
    lies::{Lie, Reason},
    model::Model,
};

/// Nothing goes wrong later than this.
const LAST_TROUBLE: Duration = Duration::from_secs(8);
/// After this much silence a client gives a connection up.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);

/// Everything that determines an answer.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The seed it was drawn from.
    pub seed: u64,
    /// The question.
    pub question: Question,
    /// How the nodes are treated.
    pub settings: Settings,
    /// The policy.
    pub policy: PolicySpec,
    /// The small nodes.
    pub small: Vec<Place>,
    /// The large nodes.
    pub large: Vec<Place>,
    /// When the caller cancels.
    pub cancel_at: Option<Duration>,
    /// When the machine's process is paused, and for how long.
    pub pause: Option<(Duration, Duration)>,
    /// How often each node is checked, if the nodes form pools. `None`: the answer uses them in order.
    pub looks_every: Option<Duration>,
}

/// A node and its link.
#[derive(Debug, Clone)]
pub struct Place {
    /// What it computes with.
    pub model: Model,
    /// The least time that a message takes.
    pub one_way: Duration,
    /// How much longer it may take.
    pub jitter: Duration,
    /// How often the node gives a sign of life.
    pub heartbeat: Duration,
    /// What goes wrong.
    pub troubles: Vec<Trouble>,
    /// When it joins. Nodes that are not there from the start come after those that are, in order.
    pub joins_at: Duration,
    /// When it leaves.
    pub leaves_at: Option<Duration>,
}

/// Something that goes wrong, from when, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// What goes wrong.
    pub kind: TroubleKind,
    /// When it starts.
    pub from: Duration,
    /// How long it lasts.
    pub time: Duration,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// Its process has exited, and every session is lost.
    Crash,
    /// Its process hangs.
    Hang,
    /// Nothing passes the link; what was sent arrives afterwards.
    Partition,
    /// Every connection is reset at its start.
    Reset,
    /// It accepts no sessions.
    Overload,
    /// It reports falsehoods, from the start.
    Lie(Lie),
}

impl Trouble {
    /// Returns whether it lasts at this time.
    pub fn is_at(&self, at: Duration) -> bool {
        self.from <= at && at < self.until()
    }

    /// Returns when it ends.
    pub fn until(&self) -> Duration {
        self.from + self.time
    }
}

impl Place {
    /// Returns when the trouble of this kind that lasts at this time is over, if there is any. What begins before it
    /// ends prolongs it, so that whatever waits for its end waits in order.
    pub(crate) fn until(&self, kind: TroubleKind, at: Duration) -> Option<Duration> {
        let lasts = |at| {
            let is_it = move |it: &&Trouble| it.kind == kind && it.is_at(at);
            self.troubles.iter().filter(is_it).map(Trouble::until).max()
        };
        let mut end = lasts(at)?;
        while let Some(later) = lasts(end).filter(|later| *later > end) {
            end = later;
        }
        Some(end)
    }

    pub(crate) fn lie(&self) -> Option<Lie> {
        self.troubles.iter().find_map(|trouble| match trouble.kind {
            TroubleKind::Lie(lie) => Some(lie),
            _ => None,
        })
    }

    /// Returns whether nothing goes wrong with it and its signs of life arrive in time.
    fn is_sound(&self, timeout: Duration) -> bool {
        let round_trip = 2 * (self.one_way + self.jitter);
        let stays = self.joins_at.is_zero() && self.leaves_at.is_none();
        stays && self.troubles.is_empty() && round_trip + 2 * self.heartbeat < timeout.min(SILENCE)
    }
}

impl Scenario {
    /// Draws the scenario of a seed.
    pub fn of(seed: u64) -> Self {
        let mut draws = Draws::new(seed);
        let d = &mut draws;
        let settings = Settings {
            keep_warm: !d.percent(15),
            resend: d.percent(15),
            small_timeout: d.pick(&[1, 3, 120].map(Duration::from_secs)),
            large_timeout: d.pick(&[300, 2_000, 30_000].map(Duration::from_millis)),
            rejoin_after: d.pick(&[None, Some(1), Some(30), Some(1000)]).map(Duration::from_millis),
            hedge_after: None,
        };
        let max_tokens = d.between(20, 300) as u32;
        let question = Question {
            id: seed.to_string(),
            prompt: Prompt::question("2 + 2?".to_owned(), None),
            sampling: Sampling::default(),
            seed,
            max_tokens,
            beginning: AnswerBeginning::default(),
            stop: StopTexts::default(),
            deadline: d.percent(35).then(|| d.time(LAST_TROUBLE)),
        };
        let calm = d.percent(40);
        let tokenizers = d.below(2) as u8;
        let count = d.between(1, 3);
        let small = (0..count).map(|_| place(d, Role::Small, calm, 0)).collect();
        let count = d.below(4);
        let large = (0..count).map(|_| place(d, Role::Large, calm, tokenizers)).collect();
        let cancel_at = d.percent(10).then(|| d.time(LAST_TROUBLE));
        let pause = (!calm && d.percent(8)).then(|| (d.moment(LAST_TROUBLE), d.time(LAST_TROUBLE)));
        let policy = policy(d);
        let question = Question { stop: stop(d), beginning: beginning(d), ..question };
        Scenario {
            seed,
            question,
            settings,
            policy,
            small,
            large,
            cancel_at,
            pause,
            looks_every: None,
        }
    }

    /// Draws the scenario of a seed over pools: more nodes, some of which join later, and which crash and restart.
    pub fn pooled(seed: u64) -> Self {
        let mut scenario = Scenario::of(seed);
        let mut draws = Draws::new(seed.rotate_left(32));
        let d = &mut draws;
        scenario.settings.hedge_after =
            d.pick(&[None, Some(50), Some(500)]).map(Duration::from_millis);
        scenario.looks_every = Some(Duration::from_millis(d.pick(&[50, 500, 2000])));
        let tokenizer = scenario.large.first().map_or(0, |place| place.model.tokenizer);
        for role in [Role::Small, Role::Large] {
            let places = match role {
                Role::Small => &mut scenario.small,
                Role::Large => &mut scenario.large,
            };
            let mut later: Vec<Place> = (0..d.below(4))
                .map(|_| {
                    let calm = d.percent(40);
                    Place { joins_at: d.time(LAST_TROUBLE), ..place(d, role, calm, tokenizer) }
                })
                .collect();
            later.sort_by_key(|place| place.joins_at);
            places.extend(later);
            for place in places {
                let crashes = if place.troubles.is_empty() { 0 } else { d.below(5) };
                for _ in 0..crashes {
                    let (from, time) = (d.time(LAST_TROUBLE), d.time(LAST_TROUBLE / 4));
                    place.troubles.push(Trouble { kind: TroubleKind::Crash, from, time });
                }
                if d.percent(10) {
                    place.leaves_at =
                        Some(place.joins_at + Duration::from_millis(1) + d.time(LAST_TROUBLE));
                }
            }
        }
        scenario
    }

    /// Returns how many lives its nodes have: each crash that ends starts a new one.
    pub fn lives(&self) -> usize {
        let crashes = |place: &Place| {
            place.troubles.iter().filter(|trouble| trouble.kind == TroubleKind::Crash).count()
        };
        self.small.iter().chain(&self.large).map(|place| 1 + crashes(place)).sum()
    }

    /// Returns the nodes of a role.
    pub(crate) fn places(&self, role: Role) -> &[Place] {
        match role {
            Role::Small => &self.small,
            Role::Large => &self.large,
        }
    }

    /// Returns the same scenario with the nodes that are there from the start in this order.
    pub(crate) fn in_order(&self, role: Role, order: &[usize]) -> Self {
        let mut scenario = self.clone();
        let places = match role {
            Role::Small => &mut scenario.small,
            Role::Large => &mut scenario.large,
        };
        let chosen: Vec<Place> = order.iter().map(|index| places[*index].clone()).collect();
        places.splice(..chosen.len(), chosen);
        scenario
    }

    /// Returns a node.
    pub fn place(&self, node: NodeId) -> &Place {
        match node.role {
            Role::Small => &self.small[node.index],
            Role::Large => &self.large[node.index],
        }
    }

    /// Returns all nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let small = (0..self.small.len()).map(NodeId::small);
        small.chain((0..self.large.len()).map(NodeId::large))
    }

    /// Returns the nodes with which nothing goes wrong.
    pub fn sound(&self) -> Vec<NodeId> {
        let timeout = |role| match role {
            Role::Small => self.settings.small_timeout,
            Role::Large => self.settings.large_timeout,
        };
        self.nodes().filter(|node| self.place(*node).is_sound(timeout(node.role))).collect()
    }
}

fn place(d: &mut Draws, role: Role, calm: bool, tokenizer: u8) -> Place {
    let ms = Duration::from_millis;
    let is_slow = d.percent(15);
    let mut model = Model {
        prefill: if is_slow { d.time(ms(300)) } else { d.time(ms(3)) },
        decode: d.time(ms(30)),
        context_tokens: if d.percent(25) { d.between(30, 250) as u32 } else { 1 << 20 },
        prompt_tokens: d.between(1, 25) as u32,
        thought: ThoughtStart::Unknown,
        length: d.pick(&[20, 100, 1000]),
        paragraph: d.pick(&[3, 9, 30]),
        cycle: if d.percent(20) { d.between(1, 12) } else { 0 },
        tokenizer: if role == Role::Large { tokenizer } else { 0 },
        can_review: !d.percent(5),
        can_report_entropy: !d.percent(5),
        objects_to: d.pick(&[1, 3, 8, 20, 100]),
    };
    // Derived from the prompt's length, so that templates vary without another draw.
    model.thought = match model.prompt_tokens % 5 {
        0 => ThoughtStart::Unknown,
        1 | 2 => ThoughtStart::Open,
        3 => ThoughtStart::Over,
        _ => ThoughtStart::Unopened,
    };
    let furthest = if d.percent(15) { ms(5000) } else { ms(400) };
    let (one_way, jitter) = (d.time(furthest), d.time(ms(100)));
    let heartbeat = ms(d.pick(&[50, 500, 3000]));
    let count = if calm { 0 } else { d.pick(&[0, 0, 1, 1, 2]) };
    let troubles = (0..count).map(|_| trouble(d)).collect();
    Place { model, one_way, jitter, heartbeat, troubles, joins_at: Duration::ZERO, leaves_at: None }
}

/// Draws stop texts that the models can write, some of them over many tokens.
fn stop(d: &mut Draws) -> StopTexts {
    const TEXTS: [&str; 6] = ["\n\nWait", " so so", "学 é", ". the sum", "ly,", "\n\n\n"];
    let count = if d.percent(25) { d.between(1, 3) } else { 0 };
    let texts = (0..count).map(|_| d.pick(&TEXTS).to_owned()).collect();
    StopTexts { texts, in_thought: d.percent(70) }
}

fn beginning(d: &mut Draws) -> AnswerBeginning {
    const TEXTS: [&str; 3] = ["", "2 + 2", "So it is 数学"];
    if !d.percent(15) {
        return AnswerBeginning::default();
    }
    let mut text = || d.pick(&TEXTS).to_owned();
    AnswerBeginning { reasoning: text(), content: text() }
}

fn trouble(d: &mut Draws) -> Trouble {
    let kind = match d.below(12) {
        0 | 1 => TroubleKind::Crash,
        2 | 3 => TroubleKind::Hang,
        4 | 5 => TroubleKind::Partition,
        6 => TroubleKind::Reset,
        7 => TroubleKind::Overload,
        _ => TroubleKind::Lie(d.pick(&Lie::ALL)),
    };
    let from = if d.percent(25) { Duration::ZERO } else { d.time(LAST_TROUBLE) };
    let time = if d.percent(20) { 100 * LAST_TROUBLE } else { d.time(4 * LAST_TROUBLE) };
    Trouble { kind, from, time }
}

fn policy(d: &mut Draws) -> PolicySpec {
    let kind = d.pick(&[
        PolicyKind::Strict,
        PolicyKind::Strict,
        PolicyKind::Random,
        PolicyKind::Random,
        PolicyKind::Periodic,
        PolicyKind::Paper,
        PolicyKind::SmallOnly,
        PolicyKind::LargeOnly,
        PolicyKind::RandomToken,
        PolicyKind::Entropy,
        PolicyKind::Score,
        PolicyKind::Review,
        PolicyKind::Review,
        PolicyKind::StrictReview,
    ]);
    let preset = if d.percent(30) { Preset::Instruct } else { Preset::Reasoning };
    let share = d.pick(&[0.1, 0.5, 0.8, 0.9]);
    let mut spec = PolicySpec::new(kind, preset).with_share(share);
    if let Rules::Paper(config) = &mut spec.rules {
        // Both settings of the authors' switch.
        *config = PaperConfig { choose_large: d.percent(50), ..config.clone() };
    }
    if let Rules::Periodic { period_tokens, .. } = &mut spec.rules {
        *period_tokens = d.between(5, 80) as u32;
    }
    match &mut spec.rules {
        Rules::Entropy { over_nats } => *over_nats = d.pick(&[0.5, 2.0, 3.5]),
        Rules::Score { least } => *least = d.between(1, 9) as u32,
        _ => {}
    }
    if kind.has_takeovers() {
        let review = kind.reviews().then(|| review(d));
        spec.limits = Limits { review, ..limits(d) };
    }
    if kind != PolicyKind::Paper && !d.percent(25) {
        spec.limits.loops = if d.percent(70) { kind.usual_loops() } else { LoopRule::End };
    }
    spec
}

fn limits(d: &mut Draws) -> Limits {
    let price = |large: f64| ModelPrices {
        input_per_million: large,
        cached_input_per_million: large / 10.0,
        output_per_million: 3.0 * large,
    };
    let prices = TokenPrices { small: price(1.0), large: price(10.0) };
    Limits {
        deadline: d.percent(50).then(|| d.time(Duration::from_secs(2))).filter(|it| !it.is_zero()),
        overlap_tokens: d.pick(&[None, Some(1), Some(8), Some(40)]),
        targets: Targets {
            share: d.pick(&[None, None, None, Some(0.1), Some(0.4)]),
            latency: d.percent(10).then(|| d.time(LAST_TROUBLE)),
            cost: d.percent(10).then(|| (d.below(2000) as f64 * 1e-6, prices)),
        },
        thought_only: false,
        loops: LoopRule::Off,
        review: None,
    }
}

fn review(d: &mut Draws) -> ReviewConfig {
    ReviewConfig {
        gap: d.pick(&[0.0, 1.0, 3.0]),
        tokens: d.pick(&[1, 1, 1, 8]),
        resample: d.pick(&[0, 0, 1, 3]),
        skip_openings: d.percent(20),
        draw: d.percent(30),
        piece_tokens: d.pick(&[1, 4, 16, 64]),
        ahead_tokens: d.pick(&[None, None, Some(5), Some(40)]),
    }
}

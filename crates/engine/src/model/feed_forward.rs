//! The feed-forward layers of a decoder: one gated MLP, or a mixture of experts, a few of which compute each token.

use candle_core::{D, DType, Result, Tensor};

use super::{
    architecture::Activation,
    config::ExpertsConfig,
    elementwise,
    fused::Fused,
    weight::{Joined, Linear, Weight},
};

/// A layer's feed-forward part.
#[derive(Debug)]
pub(crate) enum FeedForward {
    Dense(Mlp),
    Mixture(Mixture),
}

/// A gated MLP.
#[derive(Debug)]
pub(crate) struct Mlp {
    pub(crate) gate_up: Joined<2>,
    pub(crate) down: Linear,
}

/// How gates are applied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate<'a> {
    pub(crate) activation: Activation,
    /// The kernel that does it in one step, if there is one for the device.
    pub(crate) fused: Option<&'a Fused>,
}

impl Gate<'_> {
    fn apply(self, gates: &Tensor, up: &Tensor) -> Result<Tensor> {
        match self.fused {
            Some(fused) => fused.gated(self.activation, gates, up),
            None => elementwise::gated(self.activation, gates, up),
        }
    }
}

/// MLPs, and a router that chooses which of them compute a token.
#[derive(Debug)]
pub(crate) struct Mixture {
    pub(crate) router: Weight,
    pub(crate) experts: Vec<Mlp>,
    pub(crate) config: ExpertsConfig,
}

/// A token that an expert computes, and the weight of the result.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Routed {
    token: u32,
    share: f32,
}

impl FeedForward {
    /// Computes the layer over `x` [tokens, hidden]. Returns the same shape.
    pub(crate) fn forward(&self, gate: Gate<'_>, x: &Tensor) -> Result<Tensor> {
        match self {
            FeedForward::Dense(mlp) => mlp.forward(gate, x),
            FeedForward::Mixture(mixture) => mixture.forward(gate, x),
        }
    }

    /// Returns the memory that its matrices take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            FeedForward::Dense(mlp) => mlp.bytes(),
            FeedForward::Mixture(Mixture { router, experts, .. }) => {
                router.bytes() + experts.iter().map(Mlp::bytes).sum::<u64>()
            }
        }
    }
}

impl Mlp {
    fn forward(&self, gate: Gate<'_>, x: &Tensor) -> Result<Tensor> {
        let [gates, up] = self.gate_up.forward(x)?;
        self.down.forward(&gate.apply(&gates, &up)?)
    }

    fn bytes(&self) -> u64 {
        self.gate_up.bytes() + self.down.weight.bytes()
    }
}

impl Mixture {
    /// Computes all tokens of each expert at once. The results are added in the order of the experts, so that a token's
    /// sum is the same whatever shares the pass.
    fn forward(&self, gate: Gate<'_>, x: &Tensor) -> Result<Tensor> {
        let scores = self.router.forward(x)?.to_dtype(DType::F32)?;
        let routes = routes(&scores.to_vec2()?, &self.config);
        let mut sums = x.zeros_like()?;
        for (expert, routed) in self.experts.iter().zip(routes) {
            if routed.is_empty() {
                continue;
            }
            let (tokens, shares): (Vec<u32>, Vec<f32>) =
                routed.iter().map(|it| (it.token, it.share)).unzip();
            let tokens = Tensor::new(tokens, x.device())?;
            let shares = Tensor::new(shares, x.device())?.unsqueeze(D::Minus1)?;
            let y = expert.forward(gate, &x.index_select(&tokens, 0)?)?;
            let y = y.broadcast_mul(&shares.to_dtype(y.dtype())?)?;
            sums = sums.index_add(&tokens, &y, 0)?;
        }
        Ok(sums)
    }
}

/// Returns for each expert the tokens that it computes: those that score it among their highest. `scores` [tokens,
/// experts] are from before the softmax; of equal ones the first expert's counts as higher.
fn routes(scores: &[Vec<f32>], config: &ExpertsConfig) -> Vec<Vec<Routed>> {
    let mut routes = vec![Vec::new(); config.count];
    for (scores, token) in scores.iter().zip(0u32..) {
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = scores.iter().map(|score| (score - most).exp()).collect();
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
        order.truncate(config.used);
        let total: f32 = match config.normalised {
            true => order.iter().map(|expert| weights[*expert]).sum(),
            false => weights.iter().sum(),
        };
        for expert in order {
            routes[expert].push(Routed { token, share: weights[expert] / total });
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::{
        super::testing::{bits, noise},
        *,
    };

    const CONFIG: ExpertsConfig =
        ExpertsConfig { count: 4, used: 2, intermediate: 6, normalised: true };

    const SILU: Gate<'static> = Gate { activation: Activation::Silu, fused: None };

    fn linear(outputs: usize, inputs: usize, seed: u32) -> Linear {
        Linear { weight: Weight::Plain(noise(outputs, inputs, seed)), bias: None }
    }

    fn mixture() -> Mixture {
        let expert = |seed| Mlp {
            gate_up: Joined::new([linear(6, 8, seed), linear(6, 8, seed + 1)]).unwrap(),
            down: linear(8, 6, seed + 2),
        };
        let experts = (0..4).map(|number| expert(10 * number + 1)).collect();
        Mixture { router: Weight::Plain(noise(4, 8, 99)), experts, config: CONFIG }
    }

    #[test]
    fn a_token_goes_to_the_experts_that_it_scores_highest() {
        let scores = vec![vec![0.0, 2.0, 1.0, -1.0], vec![1.0, 1.0, 1.0, 1.0]];
        let routes = routes(&scores, &CONFIG);
        let e = 1f32.exp();
        let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a} {b}");
        near(routes[1][0].share, e / (e + 1.0));
        near(routes[2][0].share, 1.0 / (e + 1.0));
        let of_second: Vec<&Routed> = routes.iter().flatten().filter(|it| it.token == 1).collect();
        assert_eq!(of_second.len(), 2);
        assert!(routes[0][0] == Routed { token: 1, share: 0.5 } && routes[3].is_empty());
        let all = ExpertsConfig { normalised: false, ..CONFIG };
        near(super::routes(&scores, &all)[0][0].share, 0.25);
    }

    /// The same as computing one expert after the other, for all tokens at once and for each alone.
    #[test]
    fn a_mixture_is_the_sum_of_its_experts() {
        let (mixture, x) = (mixture(), noise(5, 8, 3));
        let together = mixture.forward(SILU, &x).unwrap();
        let scores: Vec<Vec<f32>> = mixture.router.forward(&x).unwrap().to_vec2().unwrap();
        for token in 0..5 {
            let row = x.narrow(0, token, 1).unwrap();
            let mut sum = Tensor::zeros((1, 8), DType::F32, &Device::Cpu).unwrap();
            let routes = routes(&scores[token..=token], &CONFIG);
            for (expert, routed) in mixture.experts.iter().zip(routes) {
                for Routed { share, .. } in routed {
                    let y = expert.forward(SILU, &row).unwrap();
                    sum = (sum + (y * f64::from(share)).unwrap()).unwrap();
                }
            }
            let own = together.narrow(0, token, 1).unwrap();
            let apart = (&own - &sum).unwrap().abs().unwrap().max_all().unwrap();
            assert!(apart.to_scalar::<f32>().unwrap() < 1e-5);
            let alone = mixture.forward(SILU, &row).unwrap();
            let apart = (&own - &alone).unwrap().abs().unwrap().max_all().unwrap();
            assert!(apart.to_scalar::<f32>().unwrap() < 1e-6, "{:?}", bits(&alone));
        }
    }
}

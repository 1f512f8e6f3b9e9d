//! `Q` queries, `n` of them that look at a tile, `T` patches of all tiles that show something, `E` width, `D` the language model's
//! width.

use tch::Tensor;
use vr1_nn::{Activation, Bias, Heads, Init, LayerNorm, Linear, Pass, Path, attention};

use super::AriaVisionConfig;

/// The epsilon of torch's LayerNorm.
const NORM_EPSILON: f64 = 1e-5;

/// Learned queries, the first so many of which attend to the patches of a tile; what they find is a token each.
#[derive(Debug)]
pub(super) struct Projector {
    query: Tensor,
    /// A projection of each side, before those that attention has of its own.
    outer: [Linear; 3],
    in_proj: (Tensor, Tensor),
    out_proj: (Tensor, Tensor),
    linear: Linear,
    norm_of_queries: LayerNorm,
    norm_of_patches: LayerNorm,
    layer_norm: LayerNorm,
    linear_in: Linear,
    linear_out: Linear,
    heads: Heads,
}

impl Projector {
    pub(super) fn new(path: &Path<'_>, config: &AriaVisionConfig) -> Self {
        let (width, output) = (config.tower.hidden_size, config.hidden_size);
        let (across, feed) = (path.sub("cross_attn"), path.sub("feed_forward"));
        let own = across.sub("multihead_attn");
        let drawn = Init::Normal((1.0 / width as f64).sqrt());
        let linear = |path: &Path<'_>, name, inputs, outputs, bias| Linear::new(&path.sub(name), inputs, outputs, bias);
        let out = own.sub("out_proj");
        Self {
            query: path.get("query", &[config.queries.values().copied().max().unwrap_or(0), width], Init::Normal(0.02)),
            outer: ["q_proj", "k_proj", "v_proj"].map(|name| linear(&across, name, width, width, Bias::Without)),
            in_proj: (
                own.get("in_proj_weight", &[3 * width, width], drawn),
                own.get("in_proj_bias", &[3 * width], Init::Zeros),
            ),
            out_proj: (out.get("weight", &[width, width], drawn), out.get("bias", &[width], Init::Zeros)),
            linear: linear(&across, "linear", width, width, Bias::With),
            norm_of_queries: LayerNorm::new(&across.sub("layer_norm"), width, NORM_EPSILON),
            norm_of_patches: LayerNorm::new(&across.sub("layer_norm_kv"), width, NORM_EPSILON),
            layer_norm: LayerNorm::new(&path.sub("layer_norm"), width, NORM_EPSILON),
            linear_in: linear(&feed, "linear_in", width, output, Bias::Without),
            linear_out: linear(&feed, "linear_out", output, output, Bias::Without),
            heads: config.tower.heads(),
        }
    }

    /// What the first queries find in tiles, of which `looks` says how many patches each has and how many queries look at it:
    /// patches `[T, E]` to tokens, tile by tile, `[Σ n, D]`.
    pub(super) fn forward(&self, patches: &Tensor, looks: &[(i64, i64)]) -> Tensor {
        let normed = self.norm_of_patches.forward(patches);
        let queries = self.norm_of_queries.forward(&self.query);
        let query = self.projected(0, &queries); // [1, Q, H, d]
        let [key, value] = [1, 2].map(|side| self.projected(side, &normed)); // [1, T, H, d]
        let (mut start, mut found) = (0, Vec::with_capacity(looks.len()));
        for &(count, queries) in looks {
            let [key, value] = [&key, &value].map(|x| x.narrow(1, start, count));
            found.push(attention(&query.narrow(1, 0, queries), &key, &value, None, self.heads).squeeze_dim(0));
            start += count;
        }
        let (weight, bias) = &self.out_proj;
        let seen = Tensor::cat(&found, 0).linear(weight, Some(bias));
        let normed = self.layer_norm.forward(&self.linear.forward(&seen, Pass::Scoring));
        let inner = Activation::GeluTanh.forward(&self.linear_in.forward(&normed, Pass::Scoring));
        self.linear_out.forward(&inner, Pass::Scoring)
    }

    /// Queries, keys or values of `x` `[N, E]`, projected twice: `[1, N, H, d]`.
    fn projected(&self, side: usize, x: &Tensor) -> Tensor {
        let (width, start) = (x.size()[1], side as i64 * x.size()[1]);
        let (weight, bias) = &self.in_proj;
        let once = self.outer[side].forward(x, Pass::Scoring);
        let twice = once.linear(&weight.narrow(0, start, width), Some(&bias.narrow(0, start, width)));
        self.heads.split(&twice.unsqueeze(0))
    }
}

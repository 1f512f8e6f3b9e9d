use tch::Tensor;
use vr1_torch::{DecoderLayer, Seen, decode_layer, gradients_collected, granted};

use crate::{GatedMlp, GrowingCache, Heads, Linear, Prefix, Projections, RmsNorm, Rotation};

/// A decoder layer that is nothing but attention and a gated MLP, each behind a norm and beside the residual stream.
#[derive(Debug, Clone, Copy)]
pub struct PlainLayer<'a> {
    /// The norm before attention.
    pub norm: &'a RmsNorm,
    /// Queries, keys and values.
    pub qkv: &'a Projections<3>,
    /// What attention's result goes through.
    pub output: &'a Linear,
    /// The norm before the MLP.
    pub mlp_norm: &'a RmsNorm,
    /// The MLP.
    pub mlp: &'a GatedMlp,
    /// How many heads there are.
    pub heads: Heads,
}

impl PlainLayer<'_> {
    /// The stream `x` `[B, 1, D]` of sampled tokens behind the layer, whose number is `index`; nothing where it is not computed as a whole.
    pub(crate) fn decode(
        &self,
        index: usize,
        x: &Tensor,
        rotation: &Rotation,
        prefix: &Prefix,
        cache: &GrowingCache,
    ) -> Option<Tensor> {
        if gradients_collected() {
            return None;
        }
        let (gate_up, down) = self.mlp.plain()?;
        let layer = DecoderLayer {
            heads: (self.heads.count, self.heads.key_value, self.heads.dim),
            norm: self.norm.parts(),
            qkv: self.qkv.whole()?,
            output: self.output.plain()?,
            mlp_norm: self.mlp_norm.parts(),
            gate_up,
            down,
        };
        let ((cos, sin), (prefix, own)) = (rotation.of_rows(), cache.seen(index, &prefix.layers[index]));
        let seen = Seen { rotation: (&cos, &sin), prefix, own, places: cache.places_in_rows() };
        granted(decode_layer(&x.squeeze_dim(1), &layer, &seen)).map(|x| x.unsqueeze(1))
    }
}

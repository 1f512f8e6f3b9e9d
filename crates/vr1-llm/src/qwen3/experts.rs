use serde::Deserialize;
use vr1_nn::{Error, Lying, MixtureConfig, Result, Stored, Weighing, read_config};

use super::Json;
use crate::{DecoderConfig, Mixed};

/// Files hold each expert's matrices for themselves.
pub(super) const PER_EXPERT: [Stored; 2] = [Stored::Apart(&["gate_proj", "up_proj"]), Stored::Apart(&["down_proj"])];
/// Files hold all in one, the other way round.
pub(super) const FUSED_TURNED: [Stored; 2] = [Stored::Turned, Stored::Turned];

#[derive(Debug, Deserialize)]
struct Keys {
    decoder_sparse_step: i64,
    #[serde(default)]
    mlp_only_layers: Option<Vec<i64>>,
    moe_intermediate_size: i64,
    #[serde(alias = "num_local_experts")]
    num_experts: i64,
    num_experts_per_tok: i64,
}

/// `decoder` with the experts that the keys describe.
pub(super) fn mixed(
    decoder: DecoderConfig,
    json: &Json,
    weighing: Weighing,
    stored: [Stored; 2],
) -> Result<DecoderConfig> {
    let mut json = json.clone();
    // Transformers calls it either.
    if json.contains_key("num_local_experts") {
        json.remove("num_experts");
    }
    let keys: Keys = read_config(&json)?;
    if keys.decoder_sparse_step < 1 {
        let reason = format!("`decoder_sparse_step`: {} is below 1", keys.decoder_sparse_step);
        return Err(Error::Config(reason));
    }
    let of = MixtureConfig {
        count: keys.num_experts,
        chosen: keys.num_experts_per_tok,
        inner: keys.moe_intermediate_size,
        weighing,
        activation: decoder.hidden_act,
        router: "gate",
        lying: Lying::OutputsFirst,
        stored,
        shared: None,
    };
    of.check(["num_experts", "num_experts_per_tok", "moe_intermediate_size"])?;
    let only = keys.mlp_only_layers.unwrap_or_default();
    let dense = |layer: &i64| only.contains(layer) || (layer + 1) % keys.decoder_sparse_step != 0;
    let dense = (0..decoder.num_hidden_layers).filter(dense).collect();
    Ok(DecoderConfig { mixture: Some(Mixed { of, dense }), ..decoder })
}

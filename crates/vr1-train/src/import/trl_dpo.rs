//! TRL's DPO.

use serde_json::json;

use super::prompts::rows;
use super::sheet::{Read, Rest, Sheet};
use super::trl::{CUT, UNSAID, common, data, per_step, reference, written};

/// DPO.
pub(super) fn dpo(sheet: &mut Sheet<'_>) -> Read<()> {
    common(sheet, 1e-6)?;
    sheet.draft.set("objective.kind", "dpo");
    match data(sheet)? {
        Some(source) => sheet.draft.set("objective.pairs", source),
        None => sheet.draft.placeholder("objective.pairs", rows("train.jsonl", None, None), UNSAID),
    }
    per_step(sheet, "objective.pairs_per_step")?;
    let beta = sheet.number("beta", 0.1)?;
    let smoothing = sheet.number("label_smoothing", 0.0)?;
    let temperature = sheet.number("discopop_tau", 0.05)?;
    let kinds = match sheet.list("loss_type") {
        kinds if kinds.is_empty() => vec![json!("sigmoid")],
        kinds => kinds,
    };
    let _ = sheet.or("loss_type", json!(["sigmoid"]));
    let weights = sheet.list("loss_weights");
    let mut losses = Vec::new();
    for (place, kind) in kinds.iter().enumerate() {
        let ours = match kind.as_str().unwrap_or_default() {
            same @ ("sigmoid" | "sigmoid_norm" | "hinge" | "ipo" | "robust" | "aot" | "aot_unpaired" | "apo_zero"
            | "apo_down") => same,
            "exo_pair" => "exo",
            "nca_pair" => "nca",
            "bco_pair" => "bco",
            "sppo_hard" => "sppo",
            "sft" => "chosen_nll",
            "discopop" => "discopop",
            other => return Err(format!("loss_type: {other:?} is no loss of TRL 1.16")),
        };
        let mut loss = json!({ "kind": ours });
        if ours == "discopop" {
            loss["temperature"] = temperature.into();
        }
        losses.push(json!({ "weight": weights.get(place).cloned().unwrap_or(json!(1.0)), "loss": loss }));
    }
    let discopop = kinds.contains(&json!("discopop"));
    sheet.draft.set("objective.loss.kind", "dpo");
    sheet.draft.set("objective.loss.beta", beta);
    sheet.draft.set("objective.loss.losses", losses);
    sheet.taken("beta", "objective.loss.beta");
    sheet.taken("loss_type", "objective.loss.losses");
    sheet.taken("loss_weights", "objective.loss.losses");
    if smoothing != 0.0 {
        sheet.draft.set("objective.loss.label_smoothing", smoothing);
        sheet.taken("label_smoothing", "objective.loss.label_smoothing");
    } else {
        sheet.same("label_smoothing");
    }
    if discopop {
        sheet.taken("discopop_tau", "objective.loss.losses")
    } else {
        sheet.same("discopop_tau")
    }
    let alpha = sheet.number("f_alpha_divergence_coef", 0.5)?;
    let name = sheet.text("f_divergence_type", "reverse_kl")?;
    let divergence = match name.as_str() {
        "reverse_kl" => None,
        "forward_kl" => Some(json!({ "kind": "forward_kl" })),
        "js_divergence" => Some(json!({ "kind": "jensen_shannon" })),
        "alpha_divergence" => Some(json!({ "kind": "alpha", "alpha": alpha })),
        other => return Err(format!("f_divergence_type: {other:?} is no divergence of TRL 1.16")),
    };
    match divergence {
        Some(divergence) => {
            sheet.draft.set("objective.loss.divergence", divergence);
            sheet.taken("f_divergence_type", "objective.loss.divergence");
        }
        None => sheet.same("f_divergence_type"),
    }
    if name == "alpha_divergence" {
        sheet.taken("f_alpha_divergence_coef", "objective.loss.divergence");
    } else {
        sheet.same("f_alpha_divergence_coef");
    }
    if let Some(alpha) = sheet.maybe_number("ld_alpha")? {
        sheet.draft.set("objective.length_desensitisation", alpha);
        sheet.taken("ld_alpha", "objective.length_desensitisation");
    }
    reference(sheet)?;
    written(sheet)?;
    sheet.rest(DPO);
    Ok(())
}

const DPO: &[(&str, Rest)] = &[
    ("precompute_ref_log_probs", Rest::Idle("what the reference says of a pair is kept from when it is first asked")),
    ("precompute_ref_batch_size", Rest::Idle("what the reference says of a pair is kept from when it is first asked")),
    ("use_weighting", Rest::Off("false", "pairs are not weighed by how likely they are (WPO)")),
    ("rpo_alpha", Rest::Off("null", "say a second loss, `chosen_nll`, with this weight")),
    ("loss_weights", Rest::Idle("every loss counts once")),
    ("max_completion_length", Rest::Off("null", CUT)),
];

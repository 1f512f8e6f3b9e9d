//! Losses and gradients of the installed TRL 1.16.0, written by `fixtures/generate.py`.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::Value;
use tch::{Kind, Tensor};
use vr1_dpo::{
    Divergence, DpoConfig, DpoLoss, Extras, KtoConfig, KtoLoss, MPO, RPO, ReferenceFreeConfig, ReferenceFreeLoss,
    dpo_mixture_loss, kto_kl, kto_loss, length_desensitized, reference_free_loss, wpo_weights,
};
use vr1_ops::{masked_mean, masked_sum, token_logprobs};

fn tensor(value: &Value) -> Tensor {
    let rows = value.as_array().unwrap();
    let row =
        |row: &Value| -> Vec<f32> { row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect() };
    if rows[0].is_array() {
        let flat: Vec<f32> = rows.iter().flat_map(row).collect();
        Tensor::from_slice(&flat).view([rows.len() as i64, -1])
    } else {
        Tensor::from_slice(&row(value))
    }
}

/// Chosen and rejected halves of `[2B, ..]`.
fn halves(tensor: &Tensor) -> [Tensor; 2] {
    let half = tensor.size()[0] / 2;
    [tensor.narrow(0, 0, half), tensor.narrow(0, half, half)]
}

fn sums(tensor: &Tensor) -> Tensor {
    tensor.sum_dim_intlist(1i64, false, Kind::Float)
}

struct Batch {
    leaf: Tensor,
    reference: Tensor,
    mask: Tensor,
    squares: Tensor,
}

impl Batch {
    fn read(inputs: &Value) -> Self {
        Self {
            leaf: tensor(&inputs["logprobs"]).set_requires_grad(true),
            reference: tensor(&inputs["reference"]),
            mask: tensor(&inputs["mask"]).to_kind(Kind::Int64),
            squares: tensor(&inputs["log_sum_squares"]),
        }
    }

    /// The largest error of loss and gradient, relative to the largest value.
    fn error(&self, loss: &Tensor, expected: &Value) -> f64 {
        loss.backward();
        let gradient = tensor(&expected["gradient"]);
        let got = self.leaf.grad().masked_fill(&self.mask.eq(0), 0.0);
        let scale = gradient.abs().max().double_value(&[]).max(1e-6);
        let value = expected["loss"].as_f64().unwrap();
        let loss = (loss.double_value(&[]) - value).abs() / (value.abs() + scale);
        loss.max((got - gradient).abs().max().double_value(&[]) / scale)
    }
}

fn batches() -> Vec<Value> {
    let path = format!("{}/tests/fixtures/trl.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn loss_of(name: &str) -> DpoLoss {
    match name {
        "sigmoid" => DpoLoss::Sigmoid,
        "sigmoid_norm" => DpoLoss::SigmoidNorm,
        "hinge" => DpoLoss::Hinge,
        "ipo" => DpoLoss::Ipo,
        "exo_pair" => DpoLoss::Exo,
        "robust" => DpoLoss::Robust,
        "discopop" => DpoLoss::DiscoPop { temperature: 0.05 },
        "nca_pair" => DpoLoss::Nca,
        "bco_pair" => DpoLoss::Bco { shift: 0.0 },
        "sppo_hard" => DpoLoss::Sppo,
        "aot" => DpoLoss::Aot,
        "aot_unpaired" => DpoLoss::AotUnpaired,
        "apo_zero" => DpoLoss::ApoZero,
        "apo_down" => DpoLoss::ApoDown,
        "sft" => DpoLoss::ChosenNll,
        _ => panic!("no such loss: {name}"),
    }
}

#[test]
fn losses_and_gradients_equal_those_of_trl() {
    let mut cases = 0;
    for batch in batches() {
        for (name, expected) in batch["dpo"].as_object().unwrap() {
            let b = Batch::read(&batch["inputs"]);
            let (loss, option) = name.split_once(' ').unwrap_or((name, ""));
            let smoothed = option == "smoothed" || matches!(loss, "exo_pair" | "robust");
            let mut config = DpoConfig { label_smoothing: if smoothed { 0.1 } else { 0.0 }, ..DpoConfig::default() };
            match option {
                "forward_kl" => config.divergence = Divergence::ForwardKl,
                "js_divergence" => config.divergence = Divergence::JensenShannon,
                "alpha_divergence" => config.divergence = Divergence::Alpha(0.5),
                "beta=0.5" => config.beta = 0.5,
                _ => {}
            }
            let [chosen_mask, rejected_mask] = halves(&b.mask);
            let [chosen, rejected] = halves(&b.leaf);
            let [ref_chosen, ref_rejected] = halves(&b.reference);
            let alpha = if option == "ld" { 0.3 } else { 1.0 };
            let (policy_w, policy_l) =
                length_desensitized(&chosen, &chosen_mask, &rejected, &rejected_mask, alpha).unwrap();
            let (ref_w, ref_l) =
                length_desensitized(&ref_chosen, &chosen_mask, &ref_rejected, &rejected_mask, alpha).unwrap();
            let [squares_w, squares_l] = halves(&b.squares);
            let weights = (option == "wpo").then(|| {
                wpo_weights([&chosen, &squares_w, &chosen_mask], [&rejected, &squares_l, &rejected_mask]).unwrap()
            });
            let (tokens_w, tokens_l) = (sums(&chosen_mask), sums(&rejected_mask));
            let extras =
                Extras { chosen_tokens: Some(&tokens_w), rejected_tokens: Some(&tokens_l), weights: weights.as_ref() };
            let terms = match loss {
                "mpo" => MPO.to_vec(),
                "rpo" => RPO.to_vec(),
                loss => vec![(1.0, loss_of(loss))],
            };
            let logprobs = [&policy_w, &policy_l, &ref_w, &ref_l];
            let (loss, stats) = dpo_mixture_loss(logprobs, extras, &terms, &config).unwrap();
            assert!((stats.loss - loss.double_value(&[])).abs() < 1e-5);
            let error = b.error(&loss, expected);
            println!("{name:34} {error:.1e}");
            assert!(error < 1e-5, "{name}: {error:e}");
            cases += 1;
        }
    }
    assert_eq!(cases, 2 * 43);
}

#[test]
fn kto_equals_that_of_trl() {
    for batch in batches() {
        for (name, expected) in batch["kto"].as_object().unwrap() {
            let b = Batch::read(&batch["inputs"]);
            let weights = tensor(&expected["weights"]);
            let config = KtoConfig {
                loss: if name == "kto" { KtoLoss::Kto } else { KtoLoss::ApoZero },
                desirable_weight: weights.double_value(&[0]),
                undesirable_weight: weights.double_value(&[1]),
                ..Default::default()
            };
            let kl = kto_kl(&tensor(&expected["kl_logprobs"]), &tensor(&expected["kl_reference"])).unwrap();
            let labels = tensor(&expected["labels"]);
            let (loss, _) = kto_loss(&sums(&b.leaf), &sums(&b.reference), &labels, kl, &config).unwrap();
            let error = b.error(&loss, expected);
            println!("{name:34} {error:.1e}");
            assert!(error < 1e-5, "{name}: {error:e}");
        }
    }
}

#[test]
fn reference_free_losses_equal_those_of_trl() {
    for batch in batches() {
        for (name, expected) in batch["reference_free"].as_object().unwrap() {
            let b = Batch::read(&batch["inputs"]);
            let cpo = ReferenceFreeConfig { nll_weight: 0.0, ..ReferenceFreeConfig::CPO };
            let config = match name.as_str() {
                "simpo" => ReferenceFreeConfig::SIMPO,
                "orpo" => ReferenceFreeConfig { nll_weight: 0.0, ..ReferenceFreeConfig::ORPO },
                "cpo" => cpo,
                "cpo smoothed" => ReferenceFreeConfig { label_smoothing: 0.1, ..cpo },
                "hinge" => ReferenceFreeConfig { loss: ReferenceFreeLoss::Hinge, ..cpo },
                "ipo" => ReferenceFreeConfig { loss: ReferenceFreeLoss::Ipo, ..cpo },
                _ => panic!("no such loss: {name}"),
            };
            let ([chosen, rejected], [w, l]) = (halves(&sums(&b.leaf)), halves(&sums(&b.mask)));
            let (loss, _) = reference_free_loss(&chosen, &rejected, &w, &l, &config).unwrap();
            let error = b.error(&loss, expected);
            println!("{name:34} {error:.1e}");
            assert!(error < 1e-5, "{name}: {error:e}");
        }
    }
}

/// From logits to the gradient of the logits, the likelihood of the chosen included.
#[test]
fn whole_steps_of_cpo_simpo_and_orpo_equal_those_of_trl() {
    for batch in batches() {
        for (name, expected) in batch["trainers"].as_object().unwrap() {
            let [ids, labels, attention] =
                ["ids", "labels", "attention"].map(|name| tensor(&expected[name]).to_kind(Kind::Int64));
            let (rows, tokens) = ids.size2().unwrap();
            let leaf = tensor(&expected["logits"]).set_requires_grad(true);
            let logits = leaf.view([rows, tokens, -1]).narrow(1, 0, tokens - 1);
            let next = |tensor: &Tensor| tensor.narrow(1, 1, tokens - 1);
            let logprobs = token_logprobs(&logits, &next(&ids)).unwrap();
            let mask = next(&labels).ne(-100).to_kind(Kind::Int64);
            let [chosen, rejected] = halves(&masked_sum(&logprobs, &mask).unwrap());
            let [chosen_tokens, rejected_tokens] = halves(&sums(&mask));
            let config = match name.as_str() {
                "cpo" => ReferenceFreeConfig::CPO,
                "cpo likelihood 0.5" => ReferenceFreeConfig { nll_weight: 0.5, ..ReferenceFreeConfig::CPO },
                "simpo likelihood" => ReferenceFreeConfig { nll_weight: 1.0, ..ReferenceFreeConfig::SIMPO },
                "orpo" => ReferenceFreeConfig { nll_weight: 0.0, ..ReferenceFreeConfig::ORPO },
                _ => panic!("no such trainer: {name}"),
            };
            let (mut loss, _) =
                reference_free_loss(&chosen, &rejected, &chosen_tokens, &rejected_tokens, &config).unwrap();
            if name == "orpo" {
                // TRL's likelihood is that of prompt and completion.
                let ([logprobs, _], [counted, _]) = (halves(&logprobs), halves(&next(&attention)));
                loss -= masked_mean(&logprobs, &counted).unwrap();
            }
            loss.backward();
            let gradient = tensor(&expected["gradient"]);
            let scale = gradient.abs().max().double_value(&[]);
            let value = expected["loss"].as_f64().unwrap();
            let error = ((leaf.grad() - gradient).abs().max().double_value(&[]) / scale)
                .max((loss.double_value(&[]) - value).abs() / value);
            println!("{name:34} {error:.1e}");
            assert!(error < 1e-5, "{name}: {error:e}");
        }
    }
}

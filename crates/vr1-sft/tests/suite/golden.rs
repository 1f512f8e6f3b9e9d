//! Losses, gradients, labels, noise and packings of the installed TRL 1.16.0 and transformers, written by `fixtures/generate.py`.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::Value;
use tch::{Device, Kind, Tensor};
use vr1_sft::{
    Objective, Role, SftConfig, Span, TrainOn, labels_from_spans, neftune, pack, packed_boundaries, packed_labels,
    packed_position_ids, sft_loss,
};

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn reference() -> Value {
    let path = format!("{}/tests/fixtures/reference.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn losses_and_gradients_equal_those_of_trl_and_transformers() {
    for batch in reference()["losses"].as_array().unwrap() {
        let labels = Tensor::from_slice(&numbers(&batch["labels"])).view([3, 6]).to_kind(Kind::Int64);
        for (name, expected) in batch["cases"].as_object().unwrap() {
            let config = match name.as_str() {
                "trl dft" => SftConfig { objective: Objective::Dft, ..Default::default() },
                "smoothed 0.1" => SftConfig { label_smoothing: 0.1, ..Default::default() },
                _ => SftConfig::default(),
            };
            let logits = Tensor::from_slice(&numbers(&batch["logits"])).view([3, 6, 11]).set_requires_grad(true);
            let (loss, _) = sft_loss(&logits, &labels, &config).unwrap();
            loss.backward();
            let gradient = Tensor::from_slice(&numbers(&expected["gradient"])).view([3, 6, 11]);
            let value = expected["loss"].as_f64().unwrap();
            let scale = gradient.abs().max().double_value(&[]);
            let error = ((loss.double_value(&[]) - value).abs() / value)
                .max((logits.grad() - gradient).abs().max().double_value(&[]) / scale);
            println!("{name:20} {error:.1e}");
            assert!(error < 1e-5, "{name}: {error:e}");
        }
    }
}

fn integers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|x| x.as_i64().unwrap()).collect()
}

/// The spans of a conversation written as one letter a token, and of the padding after it.
fn spans(roles: &str, width: usize) -> Vec<Span> {
    let role = |letter| match letter {
        b's' => Role::System,
        b'u' => Role::User,
        _ => Role::Assistant,
    };
    let mut spans: Vec<Span> = Vec::new();
    for (t, letter) in roles.bytes().enumerate() {
        match spans.last_mut() {
            Some(span) if span.role == role(letter) => span.end += 1,
            _ => spans.push(Span { start: t, end: t + 1, role: role(letter) }),
        }
    }
    spans.push(Span { start: roles.len(), end: width, role: Role::Padding });
    spans
}

#[test]
fn labels_equal_those_of_trl() {
    let reference = reference();
    for case in reference["labels"].as_array().unwrap() {
        let train_on = match case["mask"].as_str().unwrap() {
            "assistant_masks" => TrainOn::Assistant,
            "completion_mask" => TrainOn::Completion,
            _ => TrainOn::Everything,
        };
        let (mut rows, mut lengths) = (Vec::new(), Vec::new());
        for (i, roles) in case["conversations"].as_array().unwrap().iter().enumerate() {
            let (roles, ids) = (roles.as_str().unwrap(), integers(&case["input_ids"][i]));
            let labels = labels_from_spans(&ids, &spans(roles, ids.len()), train_on).unwrap();
            assert_eq!(labels, integers(&case["labels"][i]), "{case}");
            rows.push(labels[..roles.len()].to_vec());
            lengths.push(roles.len());
        }
        // The same sequences in one row.
        assert_eq!(packed_labels(&[&rows[0], &rows[1]]), integers(&case["row_labels"]));
        assert_eq!(packed_position_ids(&lengths), integers(&case["row_positions"]));
        assert_eq!(packed_boundaries(&lengths), integers(&case["row_boundaries"]));
    }
}

#[test]
fn noise_over_the_padded_length_equals_that_of_transformers() {
    let reference = &reference()["neftune"];
    let grid = |name: &str| Tensor::from_slice(&numbers(&reference[name])).view([2, 4, 3]);
    let ones = Tensor::ones([2, 4], (Kind::Int64, Device::Cpu));
    let got = neftune(&grid("embeddings"), &grid("noise"), &ones, 5.0).unwrap();
    assert!((got - grid("out")).abs().max().double_value(&[]) < 1e-6);
}

#[test]
fn packings_equal_those_of_trl() {
    for case in reference()["packings"].as_array().unwrap() {
        let lengths: Vec<usize> = numbers(&case["lengths"]).iter().map(|&n| n as usize).collect();
        let packs = pack(&lengths, case["capacity"].as_u64().unwrap() as usize).unwrap();
        let expected: Vec<Vec<usize>> = case["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| numbers(row).iter().map(|&i| i as usize).collect())
            .collect();
        assert_eq!(packs.into_iter().map(|pack| pack.sequences).collect::<Vec<_>>(), expected);
    }
}

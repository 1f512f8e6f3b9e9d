//! A whole layer of decoding against its definition, operation by operation.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::AssertUnwindSafe;

use tch::{Device, Kind, Tensor};
use vr1_torch::{DecoderLayer, Error, OwnKeys, Seen, SharedKeys, decode_layer};

const HIDDEN: i64 = 72;
const HEADS: (i64, i64, i64) = (6, 2, 12);
const ROOM: i64 = 70;
const PROMPTS: i64 = 140;

fn random(size: &[i64], scale: f64) -> Tensor {
    Tensor::randn(size, (Kind::Double, Device::Cpu)) * scale
}

/// Whether products have vectors that are added.
#[derive(Clone, Copy, PartialEq)]
enum Biases {
    With,
    Without,
}

/// Weights, a stream, and what its tokens see: two groups, one prompt each, rows of several ages. All in f64.
struct Case {
    weights: Vec<Tensor>,
    biases: Option<Vec<Tensor>>,
    x: Tensor,
    rotation: [Tensor; 2],
    prompts: [Tensor; 2],
    own: [Tensor; 2],
    spans: [[i32; 2]; 2],
    lengths: Vec<i32>,
}

impl Case {
    fn new(rows: i64, inside: i64, biases: Biases) -> Self {
        tch::manual_seed(rows);
        let (heads, shared, d) = HEADS;
        let width = (heads + 2 * shared) * d;
        let matrix = |outputs: i64, inputs: i64| random(&[outputs, inputs], (inputs as f64).powf(-0.5));
        let norm = || random(&[HIDDEN], 0.1) + 1.0;
        let weights = vec![
            norm(),
            matrix(width, HIDDEN),
            matrix(HIDDEN, heads * d),
            norm(),
            matrix(2 * inside, HIDDEN),
            matrix(HIDDEN, inside),
        ];
        let biases = (biases == Biases::With)
            .then(|| [width, HIDDEN, 2 * inside, HIDDEN].map(|size| random(&[size], 0.3)).into());
        let angles = random(&[rows, d / 2], 2.0);
        Self {
            weights,
            biases,
            x: random(&[rows, HIDDEN], 1.0),
            rotation: [angles.cos(), angles.sin()].map(|half| Tensor::cat(&[&half, &half], -1)),
            prompts: [0, 1].map(|_| random(&[PROMPTS, shared, d], 1.0)),
            own: [0, 1].map(|_| random(&[rows, ROOM, shared, d], 1.0)),
            spans: [[0, 9], [9, 131]],
            lengths: (0..rows).map(|row| [1, 70, 33, 64, 65, 2][row as usize % 6]).collect(),
        }
    }

    /// The stream behind the layer, and the caches.
    fn run(&self) -> [Tensor; 3] {
        let narrow = |x: &Tensor| x.to_kind(Kind::Float);
        let weights: Vec<Tensor> = self.weights.iter().map(narrow).collect();
        let biases: Option<Vec<Tensor>> = self.biases.as_ref().map(|biases| biases.iter().map(narrow).collect());
        let bias = |i: usize| biases.as_ref().map(|biases| &biases[i]);
        let layer = DecoderLayer {
            heads: HEADS,
            norm: (&weights[0], 1e-6),
            qkv: (&weights[1], bias(0)),
            output: (&weights[2], bias(1)),
            mlp_norm: (&weights[3], 1e-5),
            gate_up: (&weights[4], bias(2)),
            down: (&weights[5], bias(3)),
        };
        let [cos, sin] = self.rotation.each_ref().map(narrow);
        let [keys, values] = self.prompts.each_ref().map(narrow);
        let [own_keys, own_values] = self.own.each_ref().map(narrow);
        let list = |numbers: Vec<i32>| Tensor::from_slice(&numbers);
        let starts = list(self.spans.iter().map(|span| span[0]).collect());
        let lengths = list(self.spans.iter().map(|span| span[1]).collect());
        let own_lengths = list(self.lengths.clone());
        let places = list(self.lengths.iter().map(|length| length - 1).collect());
        let prefix = SharedKeys { keys: &keys, values: &values, starts: &starts, lengths: &lengths, longest: 131 };
        let own = OwnKeys { keys: &own_keys, values: &own_values, lengths: &own_lengths };
        let seen = Seen { rotation: (&cos, &sin), prefix, own, places: &places };
        let out = decode_layer(&narrow(&self.x), &layer, &seen).unwrap().unwrap();
        [out, own_keys, own_values]
    }

    /// The same by the operations that it stands for, row by row, in f64.
    fn truth(&self) -> [Tensor; 3] {
        let (heads, shared, d) = HEADS;
        let bias = |i: usize| self.biases.as_ref().map(|biases| &biases[i]);
        let norm = |x: &Tensor, weight: &Tensor, epsilon: f64| {
            x / (x.square().mean_dim(-1, true, Kind::Double) + epsilon).sqrt() * weight
        };
        let rows = self.x.size()[0];
        let qkv = norm(&self.x, &self.weights[0], 1e-6).linear(&self.weights[1], bias(0)).view([rows, -1, d]);
        let [cos, sin] = self.rotation.each_ref().map(|x| x.unsqueeze(1));
        let turned = |x: Tensor| {
            let halves = x.chunk(2, -1);
            let other = Tensor::cat(&[-&halves[1], halves[0].shallow_clone()], -1);
            x * &cos + other * &sin
        };
        let (query, key) = (turned(qkv.narrow(1, 0, heads)), turned(qkv.narrow(1, heads, shared)));
        let value = qkv.narrow(1, heads + shared, shared);
        let [keys, values] = self.own.each_ref().map(Tensor::copy);
        let mut seen = Vec::new();
        for row in 0..rows {
            let (span, length) =
                (self.spans[(row * 2 / rows) as usize].map(i64::from), i64::from(self.lengths[row as usize]));
            keys.get(row).get(length - 1).copy_(&key.get(row));
            values.get(row).get(length - 1).copy_(&value.get(row));
            let all = |prompts: &Tensor, own: &Tensor| {
                let parts = [prompts.narrow(0, span[0], span[1]), own.get(row).narrow(0, 0, length)];
                Tensor::cat(&parts, 0).repeat_interleave_self_int(heads / shared, 1, None).transpose(0, 1) // [H, S, d]
            };
            let scores = all(&self.prompts[0], &keys).matmul(&query.get(row).unsqueeze(-1)).squeeze_dim(-1);
            let weights = (scores / (d as f64).sqrt()).softmax(-1, Kind::Double);
            seen.push(weights.unsqueeze(1).matmul(&all(&self.prompts[1], &values)).view([-1]));
        }
        let x = &self.x + Tensor::stack(&seen, 0).linear(&self.weights[2], bias(1));
        let both = norm(&x, &self.weights[3], 1e-5).linear(&self.weights[4], bias(2)).chunk(2, -1);
        [x + (both[0].silu() * &both[1]).linear(&self.weights[5], bias(3)), keys, values]
    }
}

fn off(found: &Tensor, truth: &Tensor) -> f64 {
    ((found.to_kind(Kind::Double) - truth).abs().max() / truth.abs().max()).double_value(&[])
}

#[test]
fn a_layer_is_the_operations_that_it_stands_for() {
    // Few rows, many, and such as no two kernels take alike.
    for rows in [2, 4, 6, 8, 12, 16, 18, 40] {
        for biases in [Biases::With, Biases::Without] {
            let case = Case::new(rows, 200, biases);
            for (found, truth) in case.run().iter().zip(&case.truth()) {
                // A sum of 200 numbers in f32, a few times over.
                assert!(off(found, truth) < 3e-6, "{rows} rows: off by {}", off(found, truth));
            }
        }
    }
}

#[test]
fn a_layer_does_not_depend_on_how_many_threads_there_are() {
    let before = tch::get_num_threads();
    // So wide that its products are worth a thread or three.
    let case = Case::new(8, 12_000, Biases::With);
    let found = [1, 2, 3].map(|threads| {
        tch::set_num_threads(threads);
        case.run()
    });
    tch::set_num_threads(before);
    assert!(found.iter().all(|other| other.iter().zip(&found[0]).all(|(a, b)| a.equal(b))));
}

#[test]
fn what_does_not_fit_a_layer_is_named() {
    let mut case = Case::new(4, 200, Biases::With);
    case.weights[5] = random(&[HIDDEN + 1, 200], 1.0);
    let error = std::panic::catch_unwind(AssertUnwindSafe(|| case.run())).unwrap_err();
    let text = error.downcast_ref::<String>().unwrap();
    assert!(
        text.contains("decode_layer") && text.contains("Float [73, 200] on Cpu where Float [72, 200] fits"),
        "{text}"
    );
    let error: Error = decode_layer(&random(&[4], 1.0).to_kind(Kind::Float), &layer(&case), &seen(&case)).unwrap_err();
    assert_eq!(error.to_string(), "decode_layer: a stream Float [4] on Cpu must have two dimensions");
    // Another kind goes another way.
    assert!(decode_layer(&case.x, &layer(&case), &seen(&case)).unwrap().is_none());
}

fn layer(case: &Case) -> DecoderLayer<'_> {
    let [norm, qkv, output, mlp_norm, gate_up, down] = &case.weights[..] else { panic!("six weights") };
    DecoderLayer {
        heads: HEADS,
        norm: (norm, 1e-6),
        qkv: (qkv, None),
        output: (output, None),
        mlp_norm: (mlp_norm, 1e-6),
        gate_up: (gate_up, None),
        down: (down, None),
    }
}

fn seen(case: &Case) -> Seen<'_> {
    let x = &case.x;
    let prefix = SharedKeys { keys: &case.prompts[0], values: &case.prompts[1], starts: x, lengths: x, longest: 1 };
    let own = OwnKeys { keys: &case.own[0], values: &case.own[1], lengths: x };
    Seen { rotation: (&case.rotation[0], &case.rotation[1]), prefix, own, places: x }
}

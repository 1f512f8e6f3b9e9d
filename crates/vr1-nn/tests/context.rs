//! The three ways of attention, over prompts, over groups and over one sampled token, are one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tch::{Device, Kind, Tensor};
use vr1_nn::{Context, GrowingCache, Heads, Prefix};
use vr1_torch::Groups;

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);
const LAYERS: usize = 2;

fn heads() -> Heads {
    Heads::new(4, 2, 8).unwrap()
}

/// Queries, keys and values `[N, heads, d]` of one layer.
type Layer = [Tensor; 3];

/// A prompt and its completions, each with queries, keys and values of its own.
struct Family {
    prompt: Vec<Layer>,
    completions: Vec<Vec<Layer>>,
}

fn random(tokens: i64) -> Vec<Layer> {
    let one = |heads| Tensor::randn([tokens, heads, 8], F32);
    (0..LAYERS).map(|_| [one(4), one(2), one(2)]).collect()
}

/// Prompts of unequal length, with as many completions each, of unequal length.
fn families() -> Vec<Family> {
    tch::manual_seed(3);
    let family =
        |(prompt, lengths): (i64, [i64; 2])| Family { prompt: random(prompt), completions: lengths.map(random).into() };
    [(5, [4, 2]), (1, [4, 4]), (9, [1, 3])].map(family).into()
}

fn cat(parts: &[&Tensor]) -> Tensor {
    Tensor::cat(parts, 0)
}

/// Each completion's output in each layer `[S, H · d]`, prompt and completion being one prompt.
fn alone(families: &[Family]) -> Vec<Vec<Tensor>> {
    let mut outs = Vec::new();
    for Family { prompt, completions } in families {
        for own in completions {
            let (prefix, tokens) = (prompt[0][0].size()[0], own[0][0].size()[0]);
            let mut context = Context::prompts(&[prefix + tokens], prefix + tokens, F32);
            let out = (0..LAYERS).map(|layer| {
                let [q, k, v] = [0, 1, 2].map(|i| cat(&[&prompt[layer][i], &own[layer][i]]).unsqueeze(0));
                context.attend(layer, &q, k, v, heads()).get(0).narrow(0, prefix, tokens)
            });
            outs.push(out.collect());
        }
    }
    outs
}

fn assert_close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let off = (found - expected).abs().max().double_value(&[]);
    assert!(off < 1e-5, "{what} is off by {off}");
}

#[test]
fn groups_in_one_row_are_each_sequence_alone() {
    let families = families();
    let length = |layers: &Vec<Layer>| layers[0][0].size()[0];
    let lengths = families.iter().map(|f| (length(&f.prompt), f.completions.iter().map(length).collect()));
    let groups = Groups::new(lengths).unwrap();
    let mut context = Context::groups(&groups, vr1_nn::Recompute::None);
    for layer in 0..LAYERS {
        let all = |i: usize| {
            let rows = families.iter().flat_map(|f| std::iter::once(&f.prompt).chain(&f.completions));
            cat(&rows.map(|layers| &layers[layer][i]).collect::<Vec<_>>()).unsqueeze(0)
        };
        let out = context.attend(layer, &all(0), all(1), all(2), heads()).get(0);
        let (mut start, mut row) = (0, 0);
        let alone = alone(&families);
        for family in &families {
            start += length(&family.prompt);
            for own in &family.completions {
                assert_close(&out.narrow(0, start, length(own)), &alone[row][layer], &format!("row {row}"));
                start += length(own);
                row += 1;
            }
        }
    }
    assert!(context.into_prefix(vec![]).is_none());
}

/// The prompts padded on the left to one batch, and what their completions share.
fn prefix(families: &[Family]) -> Prefix {
    let lengths: Vec<i64> = families.iter().map(|f| f.prompt[0][0].size()[0]).collect();
    let width = *lengths.iter().max().unwrap();
    let mut context = Context::prompts(&lengths, width, F32);
    for layer in 0..LAYERS {
        let [q, k, v] = [0, 1, 2].map(|i| {
            let rows: Vec<Tensor> = families
                .iter()
                // What pads is anything: no one may see it.
                .map(|f| {
                    let own = &f.prompt[layer][i];
                    let [tokens, heads, d] = <[i64; 3]>::try_from(own.size()).unwrap();
                    cat(&[&Tensor::full([width - tokens, heads, d], 50.0, F32), own])
                })
                .collect();
            Tensor::stack(&rows, 0)
        });
        let _ = context.attend(layer, &q, k, v, heads());
    }
    context.into_prefix(lengths).unwrap()
}

/// Token number `t` of each row, `[B, 1, heads, d]`; a completion that is over repeats its last.
fn tokens(rows: &[&Vec<Layer>], layer: usize, i: usize, t: i64) -> Tensor {
    let token = |layers: &&Vec<Layer>| layers[layer][i].get(t.min(layers[layer][i].size()[0] - 1)).unsqueeze(0);
    Tensor::stack(&rows.iter().map(token).collect::<Vec<_>>(), 0)
}

#[test]
fn tokens_one_by_one_behind_padded_prompts_are_each_sequence_alone() {
    let families = families();
    let (prefix, expected) = (prefix(&families), alone(&families));
    assert_eq!(prefix.next_positions, [5, 1, 9]);
    let rows: Vec<&Vec<Layer>> = families.iter().flat_map(|f| &f.completions).collect();
    for mut cache in [GrowingCache::new(&prefix, 2, 4), GrowingCache::in_place(&prefix, 2, 4)] {
        for t in 0..4 {
            assert_eq!(cache.length(), t);
            let next: Vec<i64> = prefix.next_positions.iter().flat_map(|next| [next + t; 2]).collect();
            assert_eq!(Vec::<i64>::try_from(cache.next_positions()).unwrap(), next);
            for layer in 0..LAYERS {
                let [q, k, v] = [0, 1, 2].map(|i| tokens(&rows, layer, i, t));
                let out = Context::sampling(&prefix, &mut cache).attend(layer, &q, k, v, heads());
                for (row, expected) in expected.iter().enumerate().filter(|(_, all)| t < all[layer].size()[0]) {
                    let what = format!("row {row}, token {t}, layer {layer}");
                    assert_close(&out.get(row as i64), &expected[layer].narrow(0, t, 1), &what);
                }
            }
        }
        assert_eq!(cache.length(), 4);
    }
}

#[test]
fn a_beam_that_takes_anothers_place_goes_on_from_what_that_one_saw() {
    let families = families();
    let prefix = prefix(&families);
    let mut rows: Vec<&Vec<Layer>> = families.iter().flat_map(|f| &f.completions).collect();
    let beams = [[1, 1], [0, 1], [1, 0]];
    let mut cache = GrowingCache::new(&prefix, 2, 4);
    let mut straight = GrowingCache::new(&prefix, 2, 4);
    // Two tokens, then each row goes on as its beam says.
    let step = |cache: &mut GrowingCache, rows: &[&Vec<Layer>], t| {
        let layer = |layer| {
            let [q, k, v] = [0, 1, 2].map(|i| tokens(rows, layer, i, t));
            Context::sampling(&prefix, cache).attend(layer, &q, k, v, heads())
        };
        (0..LAYERS).map(layer).collect::<Vec<_>>()
    };
    for t in 0..2 {
        step(&mut cache, &rows, t);
    }
    cache.reorder(&Tensor::from_slice2(&beams));
    rows = beams.iter().enumerate().flat_map(|(p, own)| own.map(|beam: i64| rows[2 * p + beam as usize])).collect();
    for t in 0..2 {
        step(&mut straight, &rows, t);
    }
    for (found, expected) in step(&mut cache, &rows, 2).iter().zip(step(&mut straight, &rows, 2)) {
        assert_close(found, &expected, "what follows");
    }
}

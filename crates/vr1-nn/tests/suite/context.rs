//! The three ways of attention, over prompts, over groups and over one sampled token, are one.

use tch::{Device, Kind, Tensor};
use vr1_nn::{Context, GrowingCache, Heads, Prefix, Seat};
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
            let mut whole = Prefix::empty(vec![prefix + tokens], vec![prefix + tokens]);
            let mut context = Context::prompts(&mut whole, 0..prefix + tokens);
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
}

/// What the completions share, from a pass over the prompts in chunks of so many tokens, and the output of each layer.
fn prefix(families: &[Family], chunk: i64) -> (Prefix, Vec<Tensor>) {
    let lengths: Vec<i64> = families.iter().map(|f| f.prompt[0][0].size()[0]).collect();
    let tokens = lengths.iter().sum();
    let mut prefix = Prefix::empty(lengths.clone(), lengths);
    let mut outs: [Vec<Tensor>; LAYERS] = Default::default();
    for start in (0..tokens).step_by(chunk as usize) {
        let end = tokens.min(start + chunk);
        let mut context = Context::prompts(&mut prefix, start..end);
        for (layer, outs) in outs.iter_mut().enumerate() {
            let [q, k, v] = [0, 1, 2].map(|i| {
                let all: Vec<&Tensor> = families.iter().map(|f| &f.prompt[layer][i]).collect();
                cat(&all).narrow(0, start, end - start).unsqueeze(0)
            });
            outs.push(context.attend(layer, &q, k, v, heads()).get(0));
        }
    }
    (prefix, outs.iter().map(|outs| Tensor::cat(outs, 0)).collect())
}

#[test]
fn prompts_in_chunks_are_the_prompts_at_once() {
    let families = families();
    let (whole, expected) = prefix(&families, 15);
    for chunk in [1, 2, 4, 7, 14] {
        let (found, outs) = prefix(&families, chunk);
        assert_eq!((&found.lengths, &found.next_positions), (&whole.lengths, &whole.next_positions));
        for layer in 0..LAYERS {
            assert_close(&outs[layer], &expected[layer], &format!("chunks of {chunk}, layer {layer}"));
            let [found, whole] = [&found, &whole].map(|prefix| &prefix.layers[layer]);
            assert!(found.key.equal(&whole.key) && found.value.equal(&whole.value), "chunks of {chunk}");
        }
    }
}

/// One more token of each row through all layers.
fn step(prefix: &Prefix, cache: &mut GrowingCache, rows: &[(&Vec<Layer>, i64)]) -> Vec<Tensor> {
    let layer = |layer: usize| {
        let all = |i: usize| {
            let token =
                |(layers, t): &(&Vec<Layer>, i64)| layers[layer][i].get((*t).min(layers[layer][i].size()[0] - 1));
            Tensor::stack(&rows.iter().map(token).collect::<Vec<_>>(), 0).unsqueeze(1)
        };
        Context::sampling(prefix, cache).attend(layer, &all(0), all(1), all(2), heads())
    };
    (0..LAYERS).map(layer).collect()
}

/// Row `row` of `outs` is token `t` of a completion whose outputs are `expected`, where it has so many.
fn assert_token(outs: &[Tensor], row: usize, expected: &[Tensor], t: i64) {
    for (layer, expected) in expected.iter().enumerate().filter(|(_, all)| t < all.size()[0]) {
        let what = format!("row {row}, token {t}, layer {layer}");
        assert_close(&outs[layer].get(row as i64), &expected.narrow(0, t, 1), &what);
    }
}

#[test]
fn tokens_one_by_one_behind_ragged_prompts_are_each_sequence_alone() {
    let families = families();
    let (expected, (prefix, _)) = (alone(&families), prefix(&families, 6));
    let rows: Vec<&Vec<Layer>> = families.iter().flat_map(|f| &f.completions).collect();
    let mut cache = GrowingCache::new(&prefix, 2, 4);
    for t in 0..4 {
        assert_eq!((cache.length(), cache.room()), (t, 4));
        let next: Vec<i64> = prefix.next_positions.iter().flat_map(|next| [next + t; 2]).collect();
        assert_eq!(Vec::<i64>::try_from(cache.next_positions()).unwrap(), next);
        let tokens: Vec<_> = rows.iter().map(|row| (*row, t)).collect();
        let outs = step(&prefix, &mut cache, &tokens);
        (0..rows.len()).for_each(|row| assert_token(&outs, row, &expected[row], t));
    }
}

/// Rows leave and enter, prompts leave and enter, the room grows, and no one else notices.
#[test]
fn rows_that_change_seats_go_on_from_what_they_saw() {
    let families = families();
    let expected = alone(&families);
    let rows: Vec<&Vec<Layer>> = families.iter().flat_map(|f| &f.completions).collect();
    let (mut shared, _) = prefix(&families[..2], 100);
    // Both rows of the first prompt, and the first of the second beside one that nobody asks for.
    let seats = [0, 1, 2, 3].map(|_| Seat { from: None, length: 0 });
    let mut cache = GrowingCache::seated(None, &shared, &[0, 1], &seats, 2);
    for t in 0..2 {
        let outs = step(&shared, &mut cache, &[(rows[0], t), (rows[1], t), (rows[2], t), (rows[2], t)]);
        (0..3).for_each(|row| assert_token(&outs, row, &expected[row], t));
    }
    // The second prompt stays with its row, the third comes with two; the other row of the second enters late.
    let (third, _) = prefix(&families[2..], 100);
    shared.rebuild(&[1], vec![third]);
    assert_eq!((shared.lengths.as_slice(), shared.tokens()), (&[1, 9][..], 10));
    let new = Seat { from: None, length: 0 };
    let seats = [new, Seat { from: Some(2), length: 2 }, new, new];
    let mut cache = GrowingCache::seated(Some(cache), &shared, &[0, 1], &seats, 5);
    assert_eq!(Vec::<i64>::try_from(cache.next_positions()).unwrap(), [1, 3, 9, 9]);
    for t in 0..3 {
        let outs = step(&shared, &mut cache, &[(rows[3], t), (rows[2], t + 2), (rows[4], t), (rows[5], t)]);
        for (seat, row, t) in [(0, 3, t), (1, 2, t + 2), (2, 4, t), (3, 5, t)] {
            let moved: Vec<Tensor> = outs.iter().map(|out| out.narrow(0, seat, 1)).collect();
            assert_token(&moved, 0, &expected[row], t);
        }
    }
}

#[test]
fn a_beam_that_takes_anothers_place_goes_on_from_what_that_one_saw() {
    let families = families();
    let (prefix, _) = prefix(&families, 100);
    let rows: Vec<&Vec<Layer>> = families.iter().flat_map(|f| &f.completions).collect();
    let beams = [1usize, 1, 2, 3, 5, 4];
    let taken: Vec<&Vec<Layer>> = beams.iter().map(|&beam| rows[beam]).collect();
    let [mut cache, mut straight] = [0, 1].map(|_| GrowingCache::new(&prefix, 2, 4));
    fn at<'a>(rows: &[&'a Vec<Layer>], t: i64) -> Vec<(&'a Vec<Layer>, i64)> {
        rows.iter().map(|row| (*row, t)).collect()
    }
    // Two tokens, then each row goes on as its beam says.
    for t in 0..2 {
        step(&prefix, &mut cache, &at(&rows, t));
        step(&prefix, &mut straight, &at(&taken, t));
    }
    cache.reorder(&Tensor::from_slice(&beams.map(|beam| beam as i64)));
    let (found, expected) = (step(&prefix, &mut cache, &at(&taken, 2)), step(&prefix, &mut straight, &at(&taken, 2)));
    found.iter().zip(&expected).for_each(|(found, expected)| assert_close(found, expected, "what follows"));
}

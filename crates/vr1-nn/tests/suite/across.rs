//! What is looked at beside the text: by prompts, by groups, and by sampled tokens, each as its sequence alone does.

use std::ops::Range;

use tch::{Device, Kind, Tensor};
use vr1_nn::{Across, Context, GrowingCache, Heads, Looks, Prefix, Recompute, Seat, Sight};
use vr1_torch::Groups;

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);
const LAYERS: usize = 2;
const WIDTH: i64 = 6;

fn heads() -> Heads {
    Heads::new(4, 2, 8).unwrap()
}

/// A sequence's states, and how many of its tokens look at which of them.
struct Told {
    states: Tensor,
    sights: Vec<(i64, Looks)>,
}

fn told(states: i64, sights: &[(i64, Looks)]) -> Told {
    Told { states: Tensor::randn([states, WIDTH], F32), sights: sights.to_vec() }
}

/// One that sees two things in turn after nothing, one that is shown nothing, and one that sees all from the first token on.
fn all() -> Vec<Told> {
    tch::manual_seed(11);
    vec![
        told(9, &[(2, Looks::Around(0..9)), (3, Looks::At(0..4)), (2, Looks::At(4..6))]),
        told(0, &[(5, Looks::Nowhere)]),
        told(3, &[(4, Looks::At(0..3))]),
    ]
}

fn moved(looks: &Looks, by: i64) -> Looks {
    let to = |states: &Range<i64>| states.start + by..states.end + by;
    match looks {
        Looks::Nowhere => Looks::Nowhere,
        Looks::Around(states) => Looks::Around(to(states)),
        Looks::At(states) => Looks::At(to(states)),
    }
}

/// These sequences side by side, with so many more tokens behind each.
fn across(told: &[&Told], behind: i64) -> Across {
    let (mut sights, mut start) = (Vec::new(), 0);
    for one in told {
        sights.extend(one.sights.iter().map(|(tokens, looks)| Sight { tokens: *tokens, looks: moved(looks, start) }));
        let last = sights.last().unwrap().looks.clone();
        sights.push(Sight { tokens: behind, looks: last });
        start += one.states.size()[0];
    }
    sights.retain(|sight| sight.tokens > 0);
    Across::new(Tensor::cat(&told.iter().map(|one| &one.states).collect::<Vec<_>>(), 0), sights).unwrap()
}

/// Each layer's keys and values of states.
fn keys(layer: usize, states: &Tensor) -> [Tensor; 2] {
    [1.0, 2.0].map(|which| {
        let place = Tensor::arange(WIDTH * 16, F32).view([WIDTH, 16]);
        states.matmul(&(place * (which + layer as f64)).sin()).view([-1, 2, 8])
    })
}

fn queries(tokens: i64) -> Tensor {
    let place = Tensor::arange(tokens * 32, F32).view([1, tokens, 4, 8]);
    (place * 0.37).sin() * 3.0
}

/// One query after the other, by a softmax over what it looks at.
fn truth(layer: usize, query: &Tensor, across: &Across, looks: &[Looks]) -> Tensor {
    let [key, value] = keys(layer, across.states()).map(|x| x.repeat_interleave_self_int(2, 1, None));
    let one = |(row, looks): (usize, &Looks)| {
        let states = match looks {
            Looks::Nowhere => return Tensor::zeros([32], F32),
            Looks::Around(states) | Looks::At(states) => states,
        };
        let part = |x: &Tensor| x.narrow(0, states.start, states.end - states.start).transpose(0, 1);
        let query = query.get(0).get(row as i64).unsqueeze(1);
        let scores = query.matmul(&part(&key).transpose(1, 2)) / 8f64.sqrt();
        scores.softmax(-1, Kind::Float).matmul(&part(&value)).view([32])
    };
    Tensor::stack(&looks.iter().enumerate().map(one).collect::<Vec<_>>(), 0).unsqueeze(0)
}

/// Where each token looks, among the states of all.
fn looks(told: &[&Told], behind: i64) -> Vec<Looks> {
    let (mut all, mut start) = (Vec::new(), 0);
    for one in told {
        let own = one.sights.iter().flat_map(|(tokens, looks)| vec![moved(looks, start); *tokens as usize]);
        all.extend(own);
        all.extend(vec![all.last().unwrap().clone(); behind as usize]);
        start += one.states.size()[0];
    }
    all
}

fn assert_close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let off = (found - expected).abs().max().double_value(&[]);
    assert!(off < 1e-5, "{what} is off by {off}");
}

#[test]
fn tokens_of_groups_look_where_it_is_said() {
    let all = all();
    let told: Vec<&Told> = all.iter().collect();
    let across = across(&told, 3);
    let groups = Groups::new([(7, vec![1, 2]), (5, vec![3]), (4, vec![2, 1])]).unwrap();
    let mut context = Context::groups(&groups, Recompute::None).beside(Some(&across));
    let query = queries(groups.tokens());
    for layer in 0..LAYERS {
        let found = context.attend_across(layer, &query, |states| keys(layer, states), heads());
        assert_close(&found, &truth(layer, &query, &across, &looks(&told, 3)), "groups");
    }
    // Two that are shown nothing at first, and all of those that have nothing to look at.
    let shown: Vec<f32> = Vec::try_from(context.shown(groups.tokens()).unwrap().view([-1])).unwrap();
    assert_eq!(shown, [vec![0.0; 2], vec![1.0; 8], vec![0.0; 8], vec![1.0; 7]].concat());
    let nobody = Context::groups(&groups, Recompute::None);
    assert!(!nobody.is_shown() && nobody.shown(25).is_none());
}

/// What prompts leave behind that were run over in chunks.
fn prefix(told: &[&Told], chunk: i64) -> Prefix {
    let lengths: Vec<i64> = told.iter().map(|one| one.sights.iter().map(|(tokens, _)| tokens).sum()).collect();
    let tokens: i64 = lengths.iter().sum();
    let (across, expected) = (across(told, 0), looks(told, 0));
    let mut prefix = Prefix::empty(lengths.clone(), lengths);
    let query = queries(tokens);
    for start in (0..tokens).step_by(chunk as usize) {
        let end = tokens.min(start + chunk);
        let mut context = Context::prompts(&mut prefix, start..end).beside(Some(&across));
        for layer in 0..LAYERS {
            let part = query.narrow(1, start, end - start);
            let own = part.narrow(2, 0, 2).contiguous();
            let _ = context.attend(layer, &part, own.copy(), own, heads());
            let found = context.attend_across(layer, &part, |states| keys(layer, states), heads());
            let expected = truth(layer, &part, &across, &expected[start as usize..end as usize]);
            assert_close(&found, &expected, &format!("{start}..{end} in chunks of {chunk}"));
        }
    }
    prefix
}

/// One more token of each row, each of a prompt by its number among `told`: each looks where its prompt's last token does.
fn assert_step(told: &[&Told], rows: &[usize], prefix: &Prefix, cache: &mut GrowingCache) {
    let query = queries(rows.len() as i64).transpose(0, 1); // [B, 1, H, d]
    let across = across(told, 0);
    let mut start = 0;
    let last = told.iter().map(|one| {
        start += one.states.size()[0];
        moved(&one.sights.last().unwrap().1, start - one.states.size()[0])
    });
    let last: Vec<Looks> = last.collect();
    let expected: Vec<Looks> = rows.iter().map(|&row| last[row].clone()).collect();
    let mut context = Context::sampling(prefix, cache);
    assert!(context.is_shown());
    let shown = expected.iter().map(|looks| f32::from(u8::from(*looks != Looks::Nowhere))).collect::<Vec<_>>();
    match context.shown(1) {
        Some(found) => assert_eq!(Vec::<f32>::try_from(found.view([-1])).unwrap(), shown),
        None => assert!(!shown.contains(&0.0)),
    }
    for layer in 0..LAYERS {
        let found = context.attend_across(layer, &query, |_| panic!("keys are made once a prompt"), heads());
        let expected = truth(layer, &query.transpose(0, 1), &across, &expected);
        assert_close(&found.transpose(0, 1), &expected, &format!("layer {layer}"));
    }
}

#[test]
fn prompts_in_chunks_and_what_is_sampled_behind_them_look_where_it_is_said() {
    let all = all();
    let told: Vec<&Told> = all.iter().collect();
    for chunk in [16, 5, 3, 1] {
        let prefix = prefix(&told, chunk);
        let mut cache = GrowingCache::new(&prefix, 2, 4);
        assert_step(&told, &[0, 0, 1, 1, 2, 2], &prefix, &mut cache);
    }
    // Prompts that come one by one, and leave.
    let mut joined = prefix(&told[1..2], 100);
    joined.rebuild(&[0], vec![prefix(&told[..1], 100), prefix(&told[2..], 2)]);
    let mut cache = GrowingCache::new(&joined, 1, 4);
    assert_step(&[told[1], told[0], told[2]], &[0, 1, 2], &joined, &mut cache);
    joined.rebuild(&[2, 0], Vec::new());
    let seats = [0, 1].map(|row| Seat { from: Some(row), length: 0 });
    let mut cache = GrowingCache::seated(Some(cache), &joined, &[1, 0], &seats, 4);
    assert_step(&[told[2], told[1]], &[1, 0], &joined, &mut cache);
    // Where only those are left that are shown nothing, nobody looks.
    joined.rebuild(&[1], Vec::new());
    let mut cache = GrowingCache::new(&joined, 1, 4);
    assert!(!Context::sampling(&joined, &mut cache).is_shown());
}

#[test]
fn what_is_not_there_is_not_looked_at() {
    let states = || Tensor::zeros([4, WIDTH], F32);
    for looks in [Looks::At(2..5), Looks::At(1..1), Looks::Around(-1..2)] {
        let error = Across::new(states(), [Sight { tokens: 1, looks }]).unwrap_err().to_string();
        assert!(error.contains("of 4"), "{error}");
    }
    assert!(Across::new(states(), [Sight { tokens: 1, looks: Looks::At(1..4) }]).is_ok());
}

/// What groups, prompts and the tokens sampled behind them get from a layer on this device.
fn outputs(told: &[&Told], device: Device) -> Vec<Tensor> {
    let there = |behind| {
        let across = across(told, behind);
        Across::of(&across.states().to_device(device), &across.sights())
    };
    let made = |states: &Tensor| keys(0, &states.to_device(Device::Cpu)).map(|x| x.to_device(device));
    let (grouped, prompts) = (there(3), there(0));
    let groups = Groups::new([(7, vec![1, 2]), (5, vec![3]), (4, vec![2, 1])]).unwrap();
    let mut context = Context::groups(&groups, Recompute::None).beside(Some(&grouped));
    let query = queries(groups.tokens()).to_device(device);
    let mut found = vec![context.attend_across(0, &query, made, heads())];

    let mut prefix = Prefix::empty(vec![7, 5, 4], vec![7, 5, 4]);
    let query = queries(16).to_device(device);
    let mut context = Context::prompts(&mut prefix, 0..16).beside(Some(&prompts));
    let own = query.narrow(2, 0, 2).contiguous();
    let _ = context.attend(0, &query, own.copy(), own, heads());
    found.push(context.attend_across(0, &query, made, heads()));
    let mut cache = GrowingCache::new(&prefix, 2, 4);
    let query = queries(6).to_device(device).transpose(0, 1);
    found.push(Context::sampling(&prefix, &mut cache).attend_across(0, &query, made, heads()));
    found.iter().map(|out| out.to_device(Device::Cpu)).collect()
}

/// Where there is no GPU, this says so and passes.
#[test]
fn a_gpu_looks_where_the_cpu_does() {
    let all = all();
    let told: Vec<&Told> = all.iter().collect();
    let expected = outputs(&told, Device::Cpu);
    let device = match vr1_torch::device("cuda") {
        Ok(device) => device,
        Err(error) => return println!("skipped: {error}"),
    };
    for (found, expected) in outputs(&told, device).iter().zip(&expected) {
        assert_close(found, expected, "a GPU");
    }
}

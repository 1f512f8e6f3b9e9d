//! Ranks that each hold a share of the optimizer's state make the update of ranks that hold all of it, to the last bit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use tch::{Kind, Tensor};
use vr1_learn::{
    Error, Learner, LearnerConfig, Method, Moments, OptimizerConfig, ParameterGroup, Sharding, Update, World, owners,
};
use vr1_nn::Recompute;
use vr1_rollout::Version;

use crate::tiny::{Linear, bits, mixed, model, parameters, ranks, saved, signals, steady, step};

/// How a learner learns in these tests.
#[derive(Debug, Clone)]
struct Way {
    kind: Kind,
    config: LearnerConfig,
}

fn way(kind: Kind, optimizer: OptimizerConfig) -> Way {
    Way { kind, config: LearnerConfig { optimizer, ..LearnerConfig::default() } }
}

fn ways() -> Vec<Way> {
    let adam = steady(1e-2);
    let group = ParameterGroup { matches: vec!["tower".into()], learning_rate: Some(1e-3), weight_decay: Some(0.1) };
    let [mut twice, mut frozen] = [0, 1].map(|_| way(Kind::BFloat16, adam.clone()));
    twice.config.iterations = 2;
    (frozen.config.freeze, frozen.config.tokens_per_micro_batch) = (vec!["tower".into()], 40);
    vec![
        way(Kind::Float, OptimizerConfig { groups: vec![group], weight_decay: 0.01, ..adam.clone() }),
        way(Kind::BFloat16, OptimizerConfig { moments: Moments::Blockwise8bit, offload: true, ..adam.clone() }),
        way(Kind::Float, OptimizerConfig { method: Method::Muon, max_grad_norm: 1e-3, ..adam }),
        twice,
        frozen,
    ]
}

fn learner(way: &Way, sharding: Sharding, world: World) -> Learner {
    let config = LearnerConfig { sharding, ..way.config.clone() };
    Learner::in_world(Rc::new(model("qwen2_vl_1", way.kind)), config, &[], world).unwrap()
}

fn learn(learner: &mut Learner, done: u64) -> Result<Update, Error> {
    let groups = mixed();
    learner.update(&groups, &signals(&groups), &Linear::default(), step(done))
}

/// Saves what every rank holds into a folder of this name.
fn save(learner: &Learner, folder: &Path) {
    match learner.world().is_first() {
        true => fs::create_dir_all(folder).map(|()| learner.save(folder)).unwrap().unwrap(),
        false if learner.is_sharded() => learner.save_share(Ok(None)).unwrap(),
        false => {}
    }
}

/// What a rank came to.
struct Came {
    weights: BTreeMap<String, Vec<u8>>,
    metrics: Vec<BTreeMap<String, f64>>,
    bytes: u64,
    print: String,
}

fn weights(learner: &Learner) -> BTreeMap<String, Vec<u8>> {
    parameters(learner.model().as_ref()).iter().map(|(name, tensor)| (name.clone(), bits(tensor))).collect()
}

#[test]
fn sharded_ranks_make_the_update_of_ranks_that_hold_everything_to_the_last_bit() {
    for (number, way) in ways().iter().enumerate() {
        let size = if number == 0 { 4 } else { 2 };
        let folder = tempfile::tempdir().unwrap();
        let run = |sharding: Sharding, name: &str| {
            ranks(size, |world| {
                let mut learner = learner(way, sharding, world);
                let metrics: Vec<_> = (0..2).map(|done| learn(&mut learner, done).unwrap().metrics).collect();
                save(&learner, &folder.path().join(name));
                let (bytes, print) = (learner.optimizer().state_bytes(), learner.fingerprint().unwrap());
                Came { weights: weights(&learner), metrics, bytes, print }
            })
        };
        let (whole, sharded) = (run(Sharding::None, "whole"), run(Sharding::Zero2, "sharded"));
        let trained = learner(way, Sharding::None, World::default());
        let sizes: Vec<usize> = trained.optimizer().parameters().iter().map(Tensor::numel).collect();
        for (rank, (all, mine)) in whole.iter().zip(&sharded).enumerate() {
            assert!(all.weights == mine.weights && all.print == mine.print, "{way:?}, rank {rank}");
            for (expected, found) in all.metrics.iter().zip(&mine.metrics) {
                let mut found = found.clone();
                let gathered = found.remove("gathered_bytes").unwrap();
                assert_eq!(*expected, found, "{way:?}");
                let iterations = way.config.iterations as f64;
                let wide = way.kind.elt_size_in_bytes() as f64;
                let numbers = sizes.iter().sum::<usize>() as f64;
                assert_eq!(gathered, wide * numbers * iterations);
                assert_eq!(found["reduced_bytes"], 4.0 * numbers * iterations);
            }
            // Two moments of f32, and the master of a narrow parameter.
            let largest = sizes.iter().max().unwrap() * if way.kind == Kind::Float { 8 } else { 12 };
            let share = all.bytes as f64 / size as f64;
            assert!(
                mine.bytes as f64 <= share + largest as f64,
                "{way:?}, rank {rank}: {} of {}",
                mine.bytes,
                all.bytes
            );
        }
        assert_eq!(sharded.iter().map(|rank| rank.bytes).sum::<u64>(), whole[0].bytes, "every number is held once");
        let [whole, sharded] = ["whole", "sharded"].map(|name| saved(&folder.path().join(name)));
        assert!(whole == sharded, "{way:?}: the checkpoint holds the same");
    }
}

#[test]
fn a_checkpoint_of_any_number_of_ranks_is_taken_up_by_any_other() {
    let mut way = ways().swap_remove(1);
    way.config.recompute = Recompute::Layers;
    let (way, folder) = (&way, tempfile::tempdir().unwrap());
    let sizes =
        [(1, Sharding::None), (2, Sharding::Zero2), (4, Sharding::Zero2), (2, Sharding::None), (2, Sharding::Zero3)];
    for (size, sharding) in sizes {
        let of = folder.path().join(format!("{size} {sharding:?}"));
        ranks(size, |world| {
            // The weights of a rank come from the checkpoint's, here from one process's.
            let mut learner = learner(way, sharding, world);
            match folder.path().join("1 None").is_dir() {
                false => drop(learn(&mut learner, 0).unwrap()),
                true => learner.restore(&folder.path().join("1 None"), Version(1)).unwrap(),
            }
            save(&learner, &of);
        });
    }
    let first = saved(&folder.path().join("1 None"));
    assert!(first.values().flatten().any(|&byte| byte != 0));
    for (of, index) in [("2 Zero2", true), ("4 Zero2", true), ("2 None", false), ("2 Zero3", true)] {
        let of = folder.path().join(of);
        assert!(saved(&of) == first, "{}", of.display());
        assert_eq!(of.join("optimizer.safetensors.index.json").is_file(), index);
        let mut alone = learner(way, Sharding::Zero2, World::default());
        assert!(!alone.is_sharded(), "alone there is nobody to share with");
        alone.restore(&of, Version(1)).unwrap();
        save(&alone, &of.join("again"));
        assert!(saved(&of.join("again")) == first, "{}", of.display());
    }
    // A file that is gone, and a name that is in none.
    let of = folder.path().join("4 Zero2");
    let refused = || learner(way, Sharding::None, World::default()).restore(&of, Version(1)).unwrap_err().to_string();
    let index = of.join("optimizer.safetensors.index.json");
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replace("exp_avg_sq.model.norm.weight", "exp_avg_sq.model.normal.weight")).unwrap();
    assert!(refused().contains("exp_avg_sq.model.normal.weight is in no file"), "{}", refused());
    fs::write(&index, text).unwrap();
    fs::remove_file(of.join("optimizer-00003-of-00004.safetensors")).unwrap();
    assert!(refused().contains("optimizer-00003-of-00004.safetensors"), "{}", refused());
}

#[test]
fn a_step_that_is_not_finite_changes_nothing_on_any_rank() {
    // A rate at which parameters overflow: an owner finds it, and all go back.
    for way in [way(Kind::Float, steady(1e38)), way(Kind::BFloat16, steady(1e38))] {
        let told = ranks(2, |world| {
            let mut learner = learner(&way, Sharding::Zero2, world);
            let before = weights(&learner);
            let failed = (0..12).find_map(|done| {
                let before = weights(&learner);
                Some((learn(&mut learner, done).err()?, before))
            });
            let (error, last) = failed.unwrap();
            assert!(weights(&learner) == last, "{error}");
            assert!(learner.optimizer().is_whole() && !before.is_empty());
            error.to_string()
        });
        assert_eq!(told[0], told[1]);
        assert!(told[0].contains("is not finite"), "{}", told[0]);
    }
}

#[test]
fn a_share_that_cannot_be_written_is_an_error_on_every_rank() {
    let way = &ways()[0];
    let folder = tempfile::tempdir().unwrap();
    let told = ranks(2, |world| {
        let learner = learner(way, Sharding::Zero2, world);
        let nowhere = folder.path().join("nowhere");
        let first = match learner.world().is_first() {
            true => learner.save(&nowhere),
            false => learner.save_share(Ok(None)),
        };
        let second = match learner.world().is_first() {
            true => learner.save_share(Err(Error::State { path: nowhere, reason: "the disk is full".into() })),
            false => learner.save_share(Ok(None)),
        };
        [first, second].map(|saved| saved.unwrap_err().to_string())
    });
    for [_, second] in &told {
        assert!(second.contains("the disk is full"), "{second}");
    }
}

#[test]
fn what_the_first_rank_says_may_be_nothing() {
    let said = ranks(2, |world| {
        let rank = world.rank();
        world.first(|| Ok::<_, Error>((rank > 0).then_some(rank))).unwrap()
    });
    assert_eq!(said, [None, None]);
}

#[test]
fn the_largest_parameters_are_spread() {
    let sizes = [1000, 900, 10, 10, 800, 700];
    let owners = owners(&sizes, 4);
    let mut large: Vec<usize> = [0, 1, 4, 5].map(|place| owners[place]).to_vec();
    large.sort();
    assert_eq!(large, [0, 1, 2, 3]);
}

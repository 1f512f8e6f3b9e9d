//! A model whose layers attend to pictures beside the text: every row looks at its own prompt's, whoever sits beside it.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use tch::{Device, Kind};
use vr1_decode::LocalEngine;
use vr1_processor::Processor;
use vr1_rollout::{Engine, Group, Request, Sampling, Search};
use vr1_vlm::{Backbone, Model};

use crate::tiny::{self, Tiny, assert_recorded};

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-vlm/tests/fixtures/families/mllama_3")
}

/// In f64: no two of its tokens are within rounding of each other.
fn tiny() -> Tiny {
    let model = Rc::new(Model::load(&dir(), Device::Cpu, Kind::Double).unwrap());
    Tiny { model, processor: Processor::from_dir(&dir()).unwrap() }
}

fn sampling() -> Sampling {
    Sampling { max_completion_tokens: 24, seed: 3, temperature: 1.3, ..Sampling::default() }
}

fn ids(groups: &[Group]) -> Vec<Vec<Vec<i64>>> {
    let of = |group: &Group| group.sequences().iter().map(|sequence| sequence.ids().to_vec()).collect();
    groups.iter().map(of).collect()
}

#[test]
fn completions_beside_others_are_each_group_alone_in_any_memory() {
    let tiny = tiny();
    // Words alone, one picture, two: with one to five completions, each twice.
    let requests: Vec<Request> = (0..6u64)
        .map(|i| {
            let prompt = tiny.prompts()[i as usize % 3].clone();
            Request::new(prompt, 1 + (i as usize * 2) % 5, sampling(), tiny::key(i))
        })
        .collect();
    let together = tiny.generate(requests.clone());
    for group in &together {
        group.sequences().iter().for_each(|sequence| assert_recorded(tiny.model.as_ref(), sequence));
    }
    for (request, group) in requests.iter().zip(&together) {
        let alone = tiny.generate(vec![request.clone()]);
        assert_eq!(ids(&alone), ids(std::slice::from_ref(group)), "{}", request.prompt.sample());
    }
    for bytes in [1, 60_000, 400_000] {
        let model: Rc<dyn Backbone> = tiny.model.clone();
        let mut engine = LocalEngine::new(model, tiny.processor.tokenizer().clone()).unwrap().with_memory(bytes);
        assert_eq!(ids(&engine.generate(requests.clone()).unwrap()), ids(&together), "in {bytes} bytes");
    }
}

#[test]
fn beams_look_at_their_prompts_pictures() {
    let tiny = tiny();
    let search = Search::Beam { beams: 3, length_penalty: 1.0 };
    let beam = |prompt| Request { search, ..Request::new(prompt, 1, Sampling::greedy(12), tiny::key(0)) };
    let found = tiny.generate(tiny.prompts().into_iter().map(beam).collect());
    for group in &found {
        assert_recorded(tiny.model.as_ref(), &group.sequences()[0]);
    }
}

#[test]
fn a_prompt_takes_more_memory_for_every_picture_beside_it() {
    let tiny = tiny();
    let [words, one, two] = <[_; 3]>::try_from(tiny.prompts()).unwrap();
    let beside =
        |prompt: &vr1_processor::Prompt| tiny.model.prompt_bytes(prompt) - tiny.model.key_value_bytes() * prompt.len();
    // Of each picture the tokens of its tiles, 16 patches and one more, in both layers that attend to it: keys and values of one head of 16.
    let tiles = |prompt: &vr1_processor::Prompt| -> usize {
        prompt.patches().iter().map(|patches| patches.pixel_values.nrows() / 16).sum()
    };
    assert_eq!(beside(&words), 0);
    for prompt in [&one, &two] {
        assert_eq!(beside(prompt), tiles(prompt) * 17 * 2 * 2 * 16 * 8);
    }
}

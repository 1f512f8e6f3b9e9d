//! Any completion gets a finite reward, a missing one or an error from every built-in program.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vr1_reward::{Fields, Program, Record, Registry, Rollout, builtin_programs};

static PROGRAMS: LazyLock<Vec<Program>> = LazyLock::new(|| {
    let registry = Registry::default();
    builtin_programs().map(|(name, _)| Program::builtin(name, &registry).expect("built in")).collect()
});

fuzz_target!(|texts: (&str, &str, usize)| {
    let (completion, solution, tokens) = texts;
    let fields = Fields::new();
    let rollout = Rollout { prompt: solution, completion, solution, tokens, finished: tokens % 2 == 0, fields: &fields };
    for program in PROGRAMS.iter() {
        for outcome in program.outcomes(&[rollout, rollout]).into_iter().flatten() {
            let values = outcome.terms.iter().map(|(_, value)| *value).chain([outcome.total]);
            assert!(values.flatten().all(f32::is_finite));
        }
    }
    let _ = Record::parse(completion);
});

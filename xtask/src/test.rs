//! Every test of the workspace, and every example for a minute.

use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::checkout::Checkout;
use crate::{process, setup};

/// The examples that reproduce a system; each has a `--smoke` that asserts a number within a minute.
const EXAMPLES: [&str; 12] = [
    "visualthinker_sat",
    "vlm_r1_rec",
    "r1v_counting",
    "llamav_o1_curriculum",
    "dpo_rounds",
    "vlm_r1_ovd",
    "r1v_geoqa",
    "open_r1_multimodal",
    "r1_vision",
    "r1_onevision",
    "open_r1_video",
    "insight_v",
];

/// Sets up, runs the tests and then the smoke runs; one that fails does not hide the ones after it.
pub(crate) fn test(checkout: &Checkout) -> Result<()> {
    setup::setup(checkout)?;
    let mut tests = process::cargo(checkout, ["test", "--workspace", "--no-fail-fast"]);
    if std::env::var_os("OMP_NUM_THREADS").is_none() {
        // Tests run side by side, and OpenMP's threads spin while they wait for each other.
        tests.env("OMP_NUM_THREADS", "1");
    }
    let mut ends = vec![timed("tests", || process::run(&mut tests))];
    ends.extend(smoke_runs(checkout));
    report(&ends)
}

/// The smoke runs, two at a time: one alone leaves half of a machine idle, because its steps are small.
fn smoke_runs(checkout: &Checkout) -> Vec<End> {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)).to_string();
    let (names, ends) = (Mutex::new(EXAMPLES.iter()), Mutex::new(Vec::new()));
    let next = || names.lock().expect("nothing panics under it").next();
    let worker = || {
        while let Some(name) = next() {
            // The tests built it; what takes time is in libtorch and in C++, which every profile optimizes.
            let smoke = ["run", "--quiet", "-p", "vr1", "--example", name, "--", "--smoke"];
            let mut command = process::cargo(checkout, smoke);
            command.env("OMP_NUM_THREADS", &threads);
            let end = timed(&format!("smoke run of {name}"), || process::run(&mut command));
            ends.lock().expect("nothing panics under it").push(end);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(worker);
        scope.spawn(worker);
    });
    ends.into_inner().expect("nothing panics under it")
}

/// One thing done: its name, its seconds, and what went wrong.
struct End {
    what: String,
    seconds: f64,
    error: Option<anyhow::Error>,
}

fn timed(what: &str, work: impl FnOnce() -> Result<()>) -> End {
    let start = Instant::now();
    let error = work().err();
    End { what: what.into(), seconds: start.elapsed().as_secs_f64(), error }
}

fn report(ends: &[End]) -> Result<()> {
    eprintln!();
    for End { what, seconds, error } in ends {
        eprintln!("{:>7.1} s  {}  {what}", seconds, if error.is_some() { "FAILED" } else { "passed" });
    }
    let failed: Vec<String> =
        ends.iter().filter_map(|end| end.error.as_ref()).map(|error| format!("{error:#}")).collect();
    if !failed.is_empty() {
        bail!("{}", failed.join("\n       "));
    }
    Ok(())
}

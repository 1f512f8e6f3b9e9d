//! `cargo xtask`: set-up, the main job, the tests, the lints and the data sets, each one command.
//!
//! Nothing here needs libtorch: this program is what fetches it. So it depends on little and builds in seconds.

mod arrows;
mod bench;
mod build;
mod checkout;
mod demo;
mod environment;
mod fetch;
mod gpu;
mod install;
mod libtorch;
mod lint;
mod parity;
mod pip;
mod process;
mod python;
mod setup;
mod test;
mod vllm;

use std::process::ExitCode;

use anyhow::{Result, bail};
use checkout::Checkout;

const USAGE: &str = "\
usage: cargo xtask COMMAND
  demo [ARG…]       set up, then run the main job: `visualthinker_sat`, release build (ARGs go to it)
  test              set up, then run every test and the smoke run of every example
  parity [ARG…]     set up, then vr1 beside transformers and peft on fresh random checkpoints, Math-Verify on drawn
                    answers, Pillow on drawn pictures and transformers' processors on drawn conversations
                    (--seeds N a family, --seed N again, families: llama, qwen2, qwen2_vl, qwen2_5_vl; answers; pictures;
                    processors)
  bench-peers [ARG…]
                    set up, then vr1 beside TRL and transformers on the same work (step, decode; --sizes, --write …);
                    `bench-peers growth`: how time and memory of a step grow
  gpu-check [STAGE…]
                    what a card makes of vr1: kernels, parity, decode, step, peer; packed into target/gpu-check and run
                    where there is a card; `--pack DIR` packs alone, to be taken to one
  setup             libtorch 2.11.0 for plain cargo: from LIBTORCH, from python3, or installed by pip
  lint [STEP…]      what CI checks: fmt, arrows, package, clippy, doc, deny (default: all of them)
  fmt               format the code
  fetch easy-vqa    the easy-VQA data set, into data/easy-vqa/
  fetch vllm        vLLM 0.32.0 for the CPU, into ~/.cache/vr1/ (5 GB): the test that samples from it skips without";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[&str]) -> Result<()> {
    let checkout = Checkout::find()?;
    match args {
        ["help" | "-h" | "--help"] => println!("{USAGE}"),
        ["demo", rest @ ..] => demo::demo(&checkout, rest)?,
        ["parity", rest @ ..] => parity::parity(&checkout, rest)?,
        ["bench-peers", rest @ ..] => bench::peers(&checkout, rest)?,
        ["gpu-check", rest @ ..] => gpu::check(&checkout, rest)?,
        ["test"] => test::test(&checkout)?,
        ["setup"] => setup::setup(&checkout)?,
        ["lint", steps @ ..] => lint::lint(&checkout, steps)?,
        ["fmt"] => lint::fmt(&checkout)?,
        ["fetch", "easy-vqa"] => fetch::easy_vqa(&checkout)?,
        ["fetch", "vllm"] => vllm::fetch(&checkout)?,
        ["fetch", other @ ..] => bail!("nothing is known as `{}`: `easy-vqa` and `vllm` are", other.join(" ")),
        [] => bail!("no command\n{USAGE}"),
        unknown => bail!("`{}` is no command\n{USAGE}", unknown.join(" ")),
    }
    Ok(())
}

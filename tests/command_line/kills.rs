//! Kills at random moments: whatever a run was doing, the same command comes to the same end, with its summary.
//!
//! `VR1_KILLS` says how many; 30 where it does not.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Instant;

use super::*;
use crate::edges::Ground;

const TOP: &str = "\
system: kills
model: nowhere
save_every_steps: 1
prompt: { layout: raw, text: '{{ question }}' }
reward: { terms: { accuracy: 'length(completion) / 100' }, total: accuracy }
optimizer: { learning_rate: 1.0e-3 }
evaluation:
  samples: 16
  max_completion_tokens: 2
  every_steps: 2
  sets: { in_domain: { kind: scenes, task: spatial, split: in_domain } }
";

const GRPO: &str = "
  kind: grpo
  train: { kind: scenes, task: spatial, split: train }
  prompts_per_step: 2
  group_size: 2
  sampling: { temperature: 1.0, max_completion_tokens: 4 }
";

const SFT: &str = "
  kind: sft
  documents_per_step: 2
  documents: [{ source: { kind: scenes, task: spatial, split: train }, text: '{{ question }}', target: '{{ solution }}' }]
";

const DPO: &str = "
  kind: dpo
  pairs: { kind: sampled, train: { kind: scenes, task: spatial, split: train }, group_size: 3, sampling: { max_completion_tokens: 4 } }
  pairs_per_step: 2
  rounds: 2
";

/// Recipes of each kind, four steps each.
fn recipes() -> [(&'static str, String); 5] {
    let alone = |objective: &str| format!("{TOP}steps: 4\nobjective:{objective}");
    let stage = |objective: &str| format!("- steps: 2\n  objective:{}", objective.replace("\n  ", "\n    "));
    let staged = format!("{TOP}stages:\n{}{}", stage(SFT), stage(GRPO));
    [
        ("GRPO", alone(GRPO)),
        ("LoRA", format!("{}lora: {{ rank: 4, alpha: 8 }}\n", alone(GRPO))),
        ("SFT", alone(SFT)),
        ("stages", staged),
        ("DPO", alone(DPO)),
    ]
}

/// A number from 0 to 1, another each time.
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn a_run_that_is_killed_at_any_moment_comes_to_the_same_end() {
    let kills: usize = std::env::var("VR1_KILLS").map_or(30, |kills| kills.parse().unwrap());
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut state = seed;
    let grounds: Vec<_> = recipes()
        .into_iter()
        .map(|(kind, recipe)| {
            let ground = Ground::of(&recipe);
            let begun = Instant::now();
            let (code, said) = ground.train("whole", &[]);
            assert_eq!(code, Some(0), "{kind}: {said}");
            let whole = ground.everything("whole");
            (kind, ground, whole, begun.elapsed())
        })
        .collect();
    let mut left = kills;
    for run in 0.. {
        if left == 0 {
            break;
        }
        let (kind, ground, whole, takes) = &grounds[run % grounds.len()];
        let out = format!("run-{run}");
        let mut moments = Vec::new();
        // One or two kills, then to the end.
        for _ in 0..(1 + usize::from(random(&mut state) < 0.5)).min(left) {
            let moment = takes.mul_f64(random(&mut state) * 1.05);
            let mut process = ground.command(&out, &[]).stderr(Stdio::null()).spawn().unwrap();
            sleep(moment);
            let _ = process.kill();
            process.wait().unwrap();
            moments.push(moment);
            left -= 1;
        }
        let (code, said) = ground.train(&out, &[]);
        let place = || format!("seed {seed}, {kind}, killed after {moments:?} of {takes:?}");
        assert_eq!(code, Some(0), "{}: {said}", place());
        let all = ground.everything(&out);
        let differs = whole.iter().find(|(name, bytes)| all.get(*name) != Some(*bytes)).map(|(name, _)| name);
        assert_eq!(differs, None, "{}: a file that is another", place());
        assert_eq!(all.len(), whole.len(), "{}: {:?}", place(), all.keys());
        assert!(ground.path(&out).join("report.html").is_file());
        fs::remove_dir_all(ground.path(&out)).unwrap();
    }
}

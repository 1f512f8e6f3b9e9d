//! Runs that never ran: folders with everything that a run leaves for its page.

use std::{
    collections::BTreeMap,
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};
use vr1_run::{RunFolder, StepMetrics, Summary};

/// What a made run has.
pub(crate) struct Made {
    pub(crate) steps: u64,
    /// Whose rollouts are recorded: every step that this divides.
    pub(crate) every: u64,
    pub(crate) groups: usize,
    pub(crate) answers: usize,
    pub(crate) seed: u64,
    pub(crate) learning_rate: f64,
    pub(crate) finished: bool,
}

impl Default for Made {
    fn default() -> Self {
        Self { steps: 60, every: 5, groups: 8, answers: 8, seed: 42, learning_rate: 2e-4, finished: true }
    }
}

/// What cannot harm a page that takes it for text.
pub(crate) const HOSTILE: &str =
    "</script><img src=x onerror=\"window.harmed = true\"><script>window.harmed = true</script>";

impl Made {
    pub(crate) fn write(&self, dir: &Path) -> RunFolder {
        let mut run = RunFolder::create(dir).unwrap();
        run.write_config(&self.config()).unwrap();
        fs::write(dir.join("events.out.tfevents.1795807864.5.vr1"), []).unwrap();
        for step in 1..=self.steps {
            run.append_metrics(&self.metrics(step)).unwrap();
            if step % self.every == 0 || step == 1 {
                self.rollouts(dir, step);
            }
        }
        if self.finished {
            let last = self.skill(self.steps);
            let scores = |skill: f64| {
                let scores = [
                    ("accuracy", skill),
                    ("in_domain/accuracy", skill),
                    ("in_domain/completion_length", 40.0 - 20.0 * skill),
                    ("out_of_domain/accuracy", 0.8 * skill),
                ];
                scores.map(|(name, value)| (name.to_owned(), value)).into()
            };
            let seconds = 2.5 * self.steps as f64;
            run.write_summary(&Summary {
                before: scores(0.2),
                after: scores(last),
                steps: self.steps,
                seconds,
                ..Summary::default()
            })
            .unwrap();
            self.evaluation(dir, 0);
            self.evaluation(dir, self.steps);
        }
        run
    }

    fn config(&self) -> Value {
        json!({
            "system": "VisualThinker-R1-Zero", "model": "examples/assets/tiny", "seed": self.seed, "steps": self.steps,
            "objective": {"kind": "grpo", "prompts_per_step": self.groups, "group_size": self.answers, "sampling": {"temperature": 1.0}},
            "reward": {"terms": {"accuracy": "max(math(answer, solution), choice(answer, solution))", "format": "format(completion, style='base')"}, "total": "accuracy + format"},
            "optimizer": {"method": "adam_w", "learning_rate": self.learning_rate},
            "evaluation": {"metric": "accuracy", "threshold": 0.5},
        })
    }

    fn noise(&self, step: u64, salt: u64) -> f64 {
        let mut x = (step + 1000 * salt + 77 * self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x ^= x >> 29;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x >> 40) as f64 / (1 << 24) as f64 - 0.5
    }

    fn skill(&self, step: u64) -> f64 {
        0.2 + 0.6 * (1.0 - (-(step as f64) / (self.steps as f64 / 3.0)).exp()) * (self.learning_rate / 2e-4).min(1.0)
    }

    pub(crate) fn metrics(&self, step: u64) -> StepMetrics {
        let (skill, noise) = (self.skill(step), |salt| self.noise(step, salt));
        let values = [
            ("reward", skill + 0.9 + 0.2 * noise(1)),
            ("rewards/accuracy", skill + 0.15 * noise(2)),
            ("rewards/format", 0.9 + 0.1 * noise(3)),
            ("reward_std", 0.4 * (1.0 - skill) + 0.1 * noise(4)),
            ("groups_of_equals", (skill - 0.2).max(0.0)),
            ("reward_missing", 0.0),
            ("reward_errors", 0.0),
            ("completion_length", 40.0 - 20.0 * skill + 4.0 * noise(5)),
            ("finished", 0.95 + 0.05 * noise(6)),
            ("loss", 0.01 * noise(7)),
            ("policy_loss", 0.01 * noise(8)),
            ("grad_norm", 0.5 + 0.3 * noise(9)),
            ("learning_rate", self.learning_rate * (1.0 - step as f64 / self.steps as f64)),
            ("kl", 0.02 * skill + 0.005 * noise(10)),
            ("old_kl", 1e-6 * (1.0 + noise(11))),
            ("clip_ratio", 0.02 + 0.01 * noise(12)),
            ("clip_ratio_low", 0.01),
            ("clip_ratio_high", 0.01 + 0.01 * noise(12)),
            ("active_tokens", 1.0),
            ("ratio_min", 0.9 + 0.05 * noise(13)),
            ("ratio_max", 1.1 + 0.05 * noise(14)),
            ("sampler_ratio", 1.0),
            ("entropy", 0.2 - 0.1 * skill + 0.02 * noise(15)),
            ("sampled_entropy", 0.2 - 0.1 * skill + 0.02 * noise(15)),
            ("sampler_kl", 1e-6 * (1.2 + noise(16))),
            ("sampler_gap", 0.02 + 0.01 * noise(17)),
            ("tokens_per_second", 5000.0 + 800.0 * noise(18)),
            ("micro_batches", 1.0),
            ("seconds", 2.4 + 0.4 * noise(19)),
            ("seconds_collecting", 1.2),
            ("seconds_weights", 0.05),
            ("seconds_prefill", 0.25),
            ("seconds_decoding", 0.7 + 0.1 * noise(20)),
            ("seconds_rewards", 0.01),
            ("seconds_reference", 0.15),
            ("seconds_forward", 0.3),
            ("seconds_backward", 0.45 + 0.05 * noise(21)),
            ("seconds_optimizer", 0.05),
        ];
        values.into_iter().fold(StepMetrics::new(step), |row, (name, value)| row.with(name, value))
    }

    pub(crate) fn rollouts(&self, dir: &Path, step: u64) {
        let folder = dir.join("rollouts");
        fs::create_dir_all(&folder).unwrap();
        let mut rows = Vec::new();
        for group in 0..self.groups {
            let asked = question(dir, step, group);
            let solved = |answer: usize| match group % 4 {
                0 => true,
                1 => false,
                _ => self.noise(step, (100 * group + answer) as u64) + 0.5 < self.skill(step),
            };
            for answer in 0..self.answers {
                let right = solved(answer);
                let hostile = if group == 2 && answer == 0 { HOSTILE } else { "" };
                let mut row = json!({
                    "step": step, "group": group, "completion_index": answer, "key": {"dataset": 0, "epoch": 0, "index": group},
                    "completion": format!("{}{hostile}", spoken(step, group, answer, right)),
                    "tokens": 21 + answer, "finished": answer != 5, "total": if right { 1.5 } else { 0.5 },
                    "terms": {"accuracy": if right { 1.0 } else { 0.0 }, "format": 0.5}, "advantage": if right { 0.9 } else { -0.7 },
                    "ids": [1, 2, 3], "logprobs": [-0.1, -0.2, -0.3], "version": 2, "seed": 42,
                });
                row.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
                if group == 3 && answer == 1 {
                    (row["total"], row["terms"]["accuracy"]) = (Value::Null, Value::Null);
                    row["error"] = json!("the judge gave no number");
                }
                rows.push(row);
            }
        }
        write(&folder.join(format!("step-{step}.jsonl.zst")), &rows);
    }

    fn evaluation(&self, dir: &Path, step: u64) {
        let folder = dir.join("evaluations");
        fs::create_dir_all(&folder).unwrap();
        let row = |index: usize| {
            let right = if step == 0 { index.is_multiple_of(5) } else { index % 7 != 3 };
            let mut row = json!({
                "set": if index < 30 { "in_domain" } else { "out_of_domain" }, "completion": spoken(step, index, 0, right), "finished": true,
                "total": if right { 1.5 } else { 0.5 }, "terms": {"accuracy": if right { 1.0 } else { 0.0 }, "format": 0.5},
            });
            row.as_object_mut().unwrap().extend(question(dir, 0, index).as_object().unwrap().clone());
            row
        };
        write(&folder.join(format!("step-{step}.jsonl.zst")), &(0..40).map(row).collect::<Vec<_>>());
    }
}

const COLOURS: [(&str, [u8; 3]); 5] = [
    ("blue", [40, 90, 200]),
    ("red", [200, 50, 40]),
    ("green", [40, 150, 80]),
    ("black", [30, 30, 30]),
    ("orange", [240, 150, 30]),
];

fn question(dir: &Path, step: u64, group: usize) -> Value {
    let ((one, _), (other, _)) = (COLOURS[group % 5], COLOURS[(group + 1) % 5]);
    json!({
        "sample": format!("spatial-train-42-{}", 1000 * step + group as u64),
        "prompt": format!("<|vision_start|><|image_pad|><|vision_end|>A conversation between User and Assistant. The user asks a question about the image, and the Assistant solves it.\nUser: Is the {one} circle left or right of the {other} box? Choose between the following options: left or right \nAssistant: Let me solve this step by step.\n<think>"),
        "solution": "left",
        "media": [picture(dir, group)],
    })
}

fn spoken(step: u64, group: usize, answer: usize, right: bool) -> String {
    let ((one, _), (other, _)) = (COLOURS[group % 5], COLOURS[(group + 1) % 5]);
    let side = if right { "left" } else { "right" };
    format!(
        "In step {step} I look: the {one} circle is at the {side}, the {other} box in the middle ({answer}).</think>\n<answer>The {one} circle is {side} of the {other} box.</answer>"
    )
}

/// Draws a circle beside a box into the thumbnails of the run, under the hash of its bytes.
fn picture(dir: &Path, group: usize) -> Value {
    let ((_, one), (_, other)) = (COLOURS[group % 5], COLOURS[(group + 1) % 5]);
    let drawn = RgbImage::from_fn(160, 112, |x, y| {
        let (dx, dy) = (x as f64 - 40.0, y as f64 - 56.0);
        if dx * dx + dy * dy < 600.0 {
            Rgb(one)
        } else if (96..136).contains(&x) && (36..76).contains(&y) {
            Rgb(other)
        } else {
            Rgb([235, 232, 220])
        }
    });
    let mut jpeg = Cursor::new(Vec::new());
    drawn.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let hash = blake3::hash(jpeg.get_ref()).to_hex();
    let folder = dir.join("rollouts/media");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{hash}.jpg")), jpeg.get_ref()).unwrap();
    json!({"kind": "image", "blake3": hash.as_str(), "width": 640, "height": 448, "thumbnail": format!("media/{hash}.jpg")})
}

/// Rows as a compressed file, put in place whole.
pub(crate) fn write(path: &Path, rows: &[Value]) {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let aside = path.with_extension("tmp");
    fs::write(&aside, zstd::encode_all(text.as_bytes(), 3).unwrap()).unwrap();
    fs::rename(aside, path).unwrap();
}

/// The JSON within a page.
pub(crate) fn data(page: &Path) -> Value {
    let text = fs::read_to_string(page).unwrap();
    let (_, rest) = text.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

/// A made run's folder and its page.
pub(crate) fn reported(made: &Made) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    made.write(folder.path());
    let page = vr1_run::report(folder.path()).unwrap();
    (folder, page)
}

/// Scores by name.
pub(crate) fn scores(list: &[(&str, f64)]) -> BTreeMap<String, f64> {
    list.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

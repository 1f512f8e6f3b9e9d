use std::fmt;

use crate::{Fields, Program, Rollout};

/// A degenerate completion that earns at least what a correct plain answer does.
#[derive(Debug, Clone, PartialEq)]
pub struct Hack {
    /// What was tried.
    pub name: &'static str,
    /// The completion, shortened.
    pub completion: String,
    /// Its reward.
    pub reward: f32,
    /// The plain answer's reward.
    pub plain: f32,
}

impl fmt::Display for Hack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, completion, reward, plain } = self;
        write!(f, "{name} earns {reward}, a correct plain answer {plain}: {completion:?}")
    }
}

/// A sample to try degenerate completions on.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeSample {
    /// The question.
    pub prompt: String,
    /// Its reference answer.
    pub solution: String,
    /// The sample's own fields.
    pub fields: Fields,
}

impl ProbeSample {
    /// A counting question and a multiple choice.
    fn usual() -> Vec<Self> {
        let sample = |prompt: &str, solution: &str| Self {
            prompt: prompt.into(),
            solution: solution.into(),
            fields: Fields::new(),
        };
        vec![
            sample("How many cubes are there?", "3"),
            sample(
                "Is the cube left or right of the ball? Choose between the following options: left or right",
                "left",
            ),
            sample("Which is nearer? (A) the cube (B) the ball", "B"),
        ]
    }
}

impl Program {
    /// Scores degenerate completions against a correct plain answer, on the samples of the program's own tests and
    /// otherwise on a count and two choices.
    ///
    /// Tried are the empty completion, the prompt echoed, tags alone, every option listed, the right format around a
    /// wrong answer, and a thousand repeats. What earns at least as much as the plain answer is reported.
    ///
    /// # Example
    /// ```
    /// use vr1_reward::{Program, Registry};
    /// let yaml = "
    /// terms: { accuracy: 'contains(completion, solution)', length: 'tokens / 100' }
    /// total: to_number(accuracy > 0) + length";
    /// let hacks = Program::parse(yaml, &Registry::default())?.probe(&[]);
    /// assert!(hacks.iter().any(|hack| hack.name == "a thousand repeats"));
    /// # Ok::<(), vr1_reward::Error>(())
    /// ```
    #[must_use]
    pub fn probe(&self, samples: &[ProbeSample]) -> Vec<Hack> {
        let own = self.source().tests.iter().filter(|test| !test.solution.is_empty()).map(|test| ProbeSample {
            prompt: test.prompt.clone(),
            solution: test.solution.clone(),
            fields: test.fields.clone(),
        });
        let mut tried: Vec<ProbeSample> = samples.to_vec();
        if tried.is_empty() {
            tried.extend(own);
        }
        if tried.is_empty() {
            tried = ProbeSample::usual();
        }
        let mut hacks: Vec<Hack> = Vec::new();
        for sample in &tried {
            for hack in self.probe_one(sample) {
                if !hacks.iter().any(|known| known.name == hack.name) {
                    hacks.push(hack);
                }
            }
        }
        hacks
    }

    fn probe_one(&self, sample: &ProbeSample) -> Vec<Hack> {
        let solution = crate::last_tagged(&sample.solution, "answer").unwrap_or(&sample.solution).trim();
        let score = |completion: &str| {
            let rollout = Rollout {
                prompt: &sample.prompt,
                completion,
                solution: &sample.solution,
                tokens: completion.split_whitespace().count(),
                finished: true,
                fields: &sample.fields,
            };
            self.outcome(&rollout).ok().and_then(|outcome| outcome.total)
        };
        let braced = format!("{{\"answer\": {solution}}}");
        let answers = [solution, braced.as_str()];
        let shapes = |answer: &str| {
            [
                format!("<think>I look at the picture.</think>\n<answer>{answer}</answer>"),
                format!("I look at the picture.</think>\n<answer>{answer}</answer>"),
                answer.to_owned(),
            ]
        };
        let plain = answers.iter().flat_map(|answer| shapes(answer)).filter_map(|text| score(&text));
        let Some(plain) = plain.reduce(f32::max) else { return Vec::new() };
        let wrong = "a thing that is not there";
        let listed = options(sample, solution);
        let mut tries = vec![
            ("the empty completion", String::new()),
            ("the prompt echoed", sample.prompt.clone()),
            ("the prompt as the answer", format!("<think>hm</think><answer>{}</answer>", sample.prompt)),
            ("tags alone", "<think></think><answer></answer>".to_owned()),
            ("every option listed", format!("<think>hm</think><answer>{listed}</answer>")),
            ("a thousand repeats", format!("<think>{}</think><answer>{wrong}</answer>", "wait ".repeat(1000))),
            ("a thousand answers", format!("<answer>{wrong}</answer>").repeat(1000)),
        ];
        tries.extend(shapes(wrong).into_iter().map(|text| ("the format around a wrong answer", text)));
        let scored: Vec<(&'static str, String, f32)> = tries
            .into_iter()
            .filter_map(|(name, completion)| score(&completion).map(|reward| (name, completion, reward)))
            .collect();
        // Where nothing is worth more than anything else, the static check has more to say.
        let least = scored.iter().map(|(.., reward)| *reward).fold(plain, f32::min);
        let judged = scored.into_iter().filter(|(.., reward)| *reward >= plain && *reward > least);
        let judged = judged.map(|(name, completion, reward)| {
            let shown = completion.chars().take(60).collect();
            Hack { name, completion: shown, reward, plain }
        });
        judged.collect()
    }
}

/// Every option there may be: the sample's own, as far as its fields list them, the usual ones, and the right one.
fn options(sample: &ProbeSample, solution: &str) -> String {
    const USUAL: &str = "(A) (B) (C) (D) A B C D left right yes no 0 1 2 3 4 5 6 7 8 9";
    let lists = sample.fields.values().filter_map(serde_json::Value::as_array);
    let mut options: Vec<&str> = lists.flatten().filter_map(serde_json::Value::as_str).collect();
    options.extend(USUAL.split(' '));
    if solution.len() < 80 && !options.contains(&solution) {
        options.push(solution);
    }
    options.join(" ")
}

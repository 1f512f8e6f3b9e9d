use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;
use vr1_grpo::{AdvantageConfig, advantages_by_group, teaches_nothing};
use vr1_reward::{Program, Rollout as Judged};
use vr1_run::{RunError, read_rows, rollout_steps};

use crate::{Error, Result, Rollout};

/// How recorded rollouts would have been rewarded by another program.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Rescored {
    /// The step; none for the sum over all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Groups, and completions in them.
    pub groups: usize,
    /// Completions.
    pub completions: usize,
    /// Completions that have a reward by one of the two alone.
    pub missing: usize,
    /// Mean reward as it was recorded, and by the other program, over the completions that have both.
    pub recorded_mean: f64,
    /// By the other program.
    pub mean: f64,
    /// Pairs of completions of a group that the recorded rewards tell apart.
    pub pairs: usize,
    /// Those of them whose order is the other way round.
    pub rank_flips: usize,
    /// Those of them that are equally good now.
    pub ties: usize,
    /// Pairs that were equally good and are told apart now.
    pub told_apart: usize,
    /// Completions whose advantage is of the other sign, or is 0 now, or was.
    pub advantages_of_another_sign: usize,
    /// Mean over completions of how far the advantages lie apart.
    pub advantage_change: f64,
    /// Groups of which another completion would be the best.
    pub another_best: usize,
    /// Groups that taught something and would teach nothing.
    pub teach_no_more: usize,
    /// Groups that taught nothing and would teach something.
    pub teach_now: usize,
}

/// A group that would teach something else, and how much else.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changed {
    /// Its step.
    pub step: u64,
    /// Its place in the step.
    pub group: usize,
    /// Its sample.
    pub sample: String,
    /// The largest change of an advantage.
    pub change: f64,
    /// The rewards that were recorded; NaN, `null` in JSON, where there is none.
    pub recorded: Vec<f32>,
    /// Those of the other program.
    pub rewards: Vec<f32>,
}

/// Scores a run's rollouts by another program: what is another in each step, in all of them together at the end, and the `most` groups that
/// change most. Advantages are compared as GRPO takes them, over the standard deviation of a group, for both.
///
/// # Errors
/// If there are no rollouts, or a file of them is broken.
pub fn rescore(run_dir: &Path, program: &Program, most: usize) -> Result<(Vec<Rescored>, Vec<Changed>)> {
    let files = rollout_steps(run_dir)?;
    if files.is_empty() {
        return Err(Error::Recipe(format!("{}: no rollouts are recorded in it", run_dir.display())));
    }
    let (mut steps, mut all) = (Vec::new(), Vec::new());
    for (step, path) in files {
        let rows: Vec<Rollout> = read_rows(&path)?.collect::<Result<_, RunError>>()?;
        let groups: Vec<&[Rollout]> = rows.chunk_by(|a, b| a.group == b.group).collect();
        let one = |rows: &&[Rollout]| group(program, step, rows);
        let compared: Vec<(Rescored, Changed)> = groups.par_iter().map(one).collect::<Result<_>>()?;
        let mut sum = Rescored { step: Some(step), ..Rescored::default() };
        for (told, changed) in compared {
            sum.add(&told);
            all.push(changed);
        }
        steps.push(sum);
    }
    let mut sum = Rescored::default();
    steps.iter().for_each(|step| sum.add(step));
    steps.push(sum);
    all.retain(|changed| changed.change > 0.0);
    all.sort_by(|a, b| b.change.total_cmp(&a.change));
    all.truncate(most);
    Ok((steps, all))
}

fn group(program: &Program, step: u64, rows: &[Rollout]) -> Result<(Rescored, Changed)> {
    let judged: Vec<Judged<'_>> = rows.iter().map(judged).collect();
    let rewards: Vec<f32> = program
        .outcomes(&judged)
        .into_iter()
        .map(|outcome| outcome.ok().and_then(|outcome| outcome.total).unwrap_or(f32::NAN))
        .collect();
    let recorded: Vec<f32> = rows.iter().map(|row| row.outcome.total.unwrap_or(f32::NAN)).collect();
    let advantages = |rewards: &[f32]| advantages_by_group(rewards, &[rewards.len()], &AdvantageConfig::default());
    let (before, now) = (advantages(&recorded)?, advantages(&rewards)?);
    let both: Vec<usize> = (0..rows.len()).filter(|&i| recorded[i].is_finite() && rewards[i].is_finite()).collect();
    let mut told = Rescored {
        groups: 1,
        completions: rows.len(),
        missing: (0..rows.len()).filter(|&i| recorded[i].is_finite() != rewards[i].is_finite()).count(),
        ..Rescored::default()
    };
    let mean = |list: &[f32]| both.iter().map(|&i| f64::from(list[i])).sum::<f64>() / both.len().max(1) as f64;
    (told.recorded_mean, told.mean) = (mean(&recorded), mean(&rewards));
    for (place, &i) in both.iter().enumerate() {
        for &j in &both[place + 1..] {
            let order = |list: &[f32]| list[i].total_cmp(&list[j]);
            let alike = |list: &[f32]| list[i] == list[j];
            told.pairs += usize::from(!alike(&recorded));
            match (alike(&recorded), alike(&rewards)) {
                (false, true) => told.ties += 1,
                (true, false) => told.told_apart += 1,
                (false, false) => told.rank_flips += usize::from(order(&recorded) != order(&rewards)),
                (true, true) => {}
            }
        }
    }
    let sign = |advantage: f32| (advantage > 0.0, advantage < 0.0);
    told.advantages_of_another_sign = before.iter().zip(&now).filter(|(a, b)| sign(**a) != sign(**b)).count();
    let changes = || before.iter().zip(&now).map(|(a, b)| f64::from((a - b).abs()));
    told.advantage_change = changes().sum::<f64>() / rows.len().max(1) as f64;
    let best = |list: &[f32]| {
        let highest = list.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        list.iter().map(|reward| *reward == highest).collect::<Vec<_>>()
    };
    let (best_before, best_now) = (best(&recorded), best(&rewards));
    told.another_best = usize::from(!best_before.iter().zip(&best_now).any(|(a, b)| *a && *b));
    let teaches = |rewards: &[f32]| !teaches_nothing(rewards);
    told.teach_no_more = usize::from(teaches(&recorded) && !teaches(&rewards));
    told.teach_now = usize::from(!teaches(&recorded) && teaches(&rewards));
    let (number, sample) = (rows[0].group, rows[0].sample.clone());
    let change = changes().fold(0.0, f64::max);
    Ok((told, Changed { step, group: number, sample, change, recorded, rewards }))
}

fn judged(row: &Rollout) -> Judged<'_> {
    Judged {
        prompt: &row.prompt,
        completion: &row.completion,
        solution: &row.solution,
        tokens: row.tokens,
        finished: row.finished,
        fields: &row.fields,
    }
}

impl Rescored {
    /// Takes up what is told of others; means are over all completions.
    fn add(&mut self, other: &Self) {
        let (mine, theirs) = (self.completions as f64, other.completions as f64);
        let mean = |a: f64, b: f64| (a * mine + b * theirs) / (mine + theirs).max(1.0);
        self.recorded_mean = mean(self.recorded_mean, other.recorded_mean);
        self.mean = mean(self.mean, other.mean);
        self.advantage_change = mean(self.advantage_change, other.advantage_change);
        self.groups += other.groups;
        self.completions += other.completions;
        self.missing += other.missing;
        self.pairs += other.pairs;
        self.rank_flips += other.rank_flips;
        self.ties += other.ties;
        self.told_apart += other.told_apart;
        self.advantages_of_another_sign += other.advantages_of_another_sign;
        self.another_best += other.another_best;
        self.teach_no_more += other.teach_no_more;
        self.teach_now += other.teach_now;
    }
}

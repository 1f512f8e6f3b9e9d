use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use vr1_train::{Changed, Rescored, rescore};

use crate::score::program;
use crate::{print, print_json};

#[derive(Args)]
pub(crate) struct Rescore {
    /// The run's folder; nothing in it is changed.
    run: PathBuf,
    /// A reward program: a YAML file, or the name of a built-in one.
    #[arg(long, value_name = "FILE.yaml|BUILTIN")]
    reward: String,
    /// How many of the groups that change most are shown.
    #[arg(long, value_name = "N", default_value_t = 5)]
    most: usize,
    /// Print a line of JSON to stdout: `{"steps":[…],"all":{…},"most":[…]}`.
    #[arg(long)]
    json: bool,
}

impl Rescore {
    pub(crate) fn run(self) -> Result<()> {
        let program = program(&self.reward, &vr1::registry()?)?;
        let (mut steps, most) = rescore(&self.run, &program, self.most)?;
        let all = steps.pop().unwrap_or_default();
        if self.json {
            return print_json(&serde_json::json!({ "steps": steps, "all": all, "most": most }));
        }
        let mut text = format!(
            "{:>6} {:>8} {:>8} {:>7} {:>7} {:>7} {:>10} {:>9} {:>9} {:>9}\n",
            "step", "recorded", "now", "flips", "ties", "apart", "advantage", "best", "no more", "teach now"
        );
        steps.iter().chain([&all]).for_each(|row| text += &line(row));
        text += &told(&all);
        most.iter().for_each(|changed| text += &shown(changed));
        print(&text)
    }
}

fn line(row: &Rescored) -> String {
    let step = row.step.map_or_else(|| "all".to_owned(), |step| step.to_string());
    format!(
        "{step:>6} {:>8.3} {:>8.3} {:>7} {:>7} {:>7} {:>10.3} {:>9} {:>9} {:>9}\n",
        row.recorded_mean,
        row.mean,
        row.rank_flips,
        row.ties,
        row.told_apart,
        row.advantage_change,
        row.another_best,
        row.teach_no_more,
        row.teach_now
    )
}

fn told(all: &Rescored) -> String {
    let Rescored { groups, completions, missing, pairs, rank_flips, ties, told_apart, .. } = all;
    let signs = all.advantages_of_another_sign;
    format!(
        "{completions} completions in {groups} groups; {missing} have a reward by one of the two alone\n\
         of {pairs} pairs that were told apart {rank_flips} change places and {ties} are equal now; {told_apart} that were equal are told apart\n\
         {signs} advantages have another sign; {} groups have another best answer, {} would teach no more, {} would teach now\n",
        all.another_best, all.teach_no_more, all.teach_now
    )
}

fn shown(changed: &Changed) -> String {
    let list = |rewards: &[f32]| rewards.iter().map(|reward| format!("{reward:.2}")).collect::<Vec<_>>().join(" ");
    let Changed { step, group, sample, .. } = changed;
    format!(
        "step {step}, group {group}, `{sample}`: {} were recorded, {} now\n",
        list(&changed.recorded),
        list(&changed.rewards)
    )
}

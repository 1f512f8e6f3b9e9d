//! Which rollouts a page holds: a run may have recorded more than a page can.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    metrics::StepMetrics,
    report::{
        groups::{Group, groups},
        settings::Judge,
        thumbnails::Thumbnails,
    },
    run_error::RunError,
};

/// The rollouts that a page shows, and a word on what it does not.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Browse {
    pub(crate) steps: Vec<Step>,
    pub(crate) told: String,
}

/// Groups of a step.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) step: u64,
    pub(crate) groups: Vec<Group>,
    /// How many it has; fewer may be shown.
    pub(crate) of: usize,
}

/// Steps read of a run: the first, the last, as many evenly between, and those whose rewards differed most.
const STEPS: usize = 16;
const WIDEST: usize = 5;
/// Groups of all these steps, and answers of a group.
const GROUPS: usize = 192;
pub(crate) const ANSWERS: usize = 16;
/// The bytes of all.
const BYTES: usize = 2_500_000;

/// The rollouts of a report.
///
/// # Errors
/// A file cannot be read, or a line of it is no rollout.
pub(crate) fn browse(
    files: &[(u64, PathBuf)],
    metrics: &[StepMetrics],
    judge: &Judge,
    thumbnails: &mut Thumbnails,
) -> Result<Browse, RunError> {
    let mut ranked = Vec::new();
    let mut counts = Vec::new();
    let read = steps(files, metrics);
    let most = GROUPS / read.len().max(1);
    for &index in &read {
        let (step, path) = &files[index];
        let all = groups(path, judge, ANSWERS)?;
        counts.push((*step, all.len()));
        ranked.push(best(all, most));
    }
    // Every step's best first, then every step's second: no step takes the room of another.
    let mut taken: Vec<Vec<Group>> = ranked.iter().map(|_| Vec::new()).collect();
    let mut left = BYTES;
    for rank in 0..most {
        for (groups, taken) in ranked.iter_mut().zip(&mut taken) {
            let Some(group) = groups.get_mut(rank) else { continue };
            let bytes = group.bytes();
            if bytes <= left {
                left -= bytes;
                group.asked.media.iter_mut().for_each(|picture| thumbnails.take(picture));
                taken.push(group.clone());
            }
        }
    }
    let shown: usize = taken.iter().map(Vec::len).sum();
    let steps = counts.into_iter().zip(taken).map(|((step, of), mut groups)| {
        groups.sort_by_key(|group| group.group);
        Step { step, groups, of }
    });
    let steps: Vec<Step> = steps.filter(|step| !step.groups.is_empty()).collect();
    let told = told(files.len(), &steps, shown);
    Ok(Browse { steps, told })
}

fn told(recorded: usize, steps: &[Step], shown: usize) -> String {
    let read: usize = steps.iter().map(|step| step.of).sum();
    match recorded {
        0 => "This run recorded no rollouts.".into(),
        _ if recorded == steps.len() && read == shown => {
            format!("All {shown} groups of all {recorded} recorded steps.")
        }
        _ => format!(
            "{shown} groups of {} of {recorded} recorded steps: the first, the last, some evenly between, and those whose \
             rewards differed most. Of these steps' {read} groups the most informative are here, and some that were wholly \
             solved or failed; the others are left out, and stand in the run's folder under rollouts/.",
            steps.len()
        ),
    }
}

/// Which of the recorded steps are read, in order.
fn steps(files: &[(u64, PathBuf)], metrics: &[StepMetrics]) -> BTreeSet<usize> {
    let Some(last) = files.len().checked_sub(1) else { return BTreeSet::new() };
    if files.len() <= STEPS {
        return (0..files.len()).collect();
    }
    let even = STEPS - WIDEST;
    let mut chosen: BTreeSet<usize> = (0..even).map(|nth| nth * last / (even - 1)).collect();
    let spread = |row: &StepMetrics| row.get("reward_std").filter(|spread| spread.is_finite());
    let mut widest: Vec<(f64, u64)> = metrics.iter().filter_map(|row| Some((spread(row)?, row.step))).collect();
    widest.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, step) in widest {
        if chosen.len() == STEPS {
            break;
        }
        chosen.extend(files.binary_search_by_key(&step, |(step, _)| *step));
    }
    chosen
}

/// At most so many groups: half of them those with the widest spread of rewards, and of those wholly solved and wholly
/// failed some; the best to show first.
pub(crate) fn best(mut groups: Vec<Group>, most: usize) -> Vec<Group> {
    groups.sort_by(|a, b| b.spread.unwrap_or(-1.0).total_cmp(&a.spread.unwrap_or(-1.0)));
    if groups.len() <= most {
        return groups;
    }
    let wide = (0..groups.len()).take(most / 2);
    let solved = (0..groups.len()).filter(|&at| groups[at].judged > 0 && groups[at].right == groups[at].judged);
    let failed = (0..groups.len()).filter(|&at| groups[at].judged > 0 && groups[at].right == 0);
    let mut order: Vec<usize> = wide.chain(solved.take(most / 6)).chain(failed.take(most / 6)).collect();
    order.extend(0..groups.len());
    let mut seen = BTreeSet::new();
    order.retain(|at| seen.insert(*at));
    order.truncate(most);
    order.into_iter().map(|at| groups[at].clone()).collect()
}

/// The groups of one step, as many as a page takes at once.
///
/// # Errors
/// The file cannot be read, or a line of it is no rollout.
pub(crate) fn step(step: u64, path: &Path, judge: &Judge) -> Result<Step, RunError> {
    let all = groups(path, judge, ANSWERS)?;
    let of = all.len();
    let mut left = BYTES;
    let mut groups = best(all, 200);
    groups.retain(|group| {
        let fits = group.bytes() <= left;
        left = left.saturating_sub(group.bytes());
        fits
    });
    groups.sort_by_key(|group| group.group);
    Ok(Step { step, groups, of })
}

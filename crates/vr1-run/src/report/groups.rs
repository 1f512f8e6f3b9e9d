//! Recorded rollouts as a page shows them: the answers of a group together.

use std::path::Path;

use serde::Serialize;

use crate::{
    report::{
        points::short,
        rows::{Answer, Asked, Row, rows},
        settings::Judge,
    },
    run_error::RunError,
};

/// What was asked, and every answer that is shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Group {
    pub(crate) group: u64,
    pub(crate) asked: Asked,
    pub(crate) answers: Vec<Answer>,
    /// Answers that are not shown.
    pub(crate) more: usize,
    /// How many of all answers are right, of how many that could be judged.
    pub(crate) right: usize,
    pub(crate) judged: usize,
    /// The greatest reward less the least, and the mean.
    pub(crate) spread: Option<f64>,
    pub(crate) mean: Option<f64>,
}

/// The groups of a step, each with at most `most` answers: where there are more, those with the greatest and the least
/// rewards.
///
/// # Errors
/// The file cannot be read, or a line of it is no rollout.
pub(crate) fn groups(path: &Path, judge: &Judge, most: usize) -> Result<Vec<Group>, RunError> {
    let mut groups = Vec::new();
    let mut open: Vec<Row> = Vec::new();
    for row in rows(path)? {
        let row = row?;
        if open.first().is_some_and(|first| !first.is_of(&row)) {
            groups.extend(group(&open, groups.len(), judge, most));
            open.clear();
        }
        open.push(row);
    }
    groups.extend(group(&open, groups.len(), judge, most));
    Ok(groups)
}

fn group(rows: &[Row], index: usize, judge: &Judge, most: usize) -> Option<Group> {
    let first = rows.first()?;
    let mut answers: Vec<Answer> = rows.iter().enumerate().map(|(index, row)| row.answer(judge, index)).collect();
    let totals: Vec<f64> = answers.iter().filter_map(|answer| answer.total).collect();
    let least = totals.iter().copied().reduce(f64::min);
    let greatest = totals.iter().copied().reduce(f64::max);
    let (right, judged) = (count(&answers, Some(true)), answers.iter().filter(|one| one.right.is_some()).count());
    let more = answers.len().saturating_sub(most);
    if more > 0 {
        answers.sort_by(|a, b| a.total.unwrap_or(f64::MAX).total_cmp(&b.total.unwrap_or(f64::MAX)));
        answers.drain(most / 2..most / 2 + more);
        answers.sort_by_key(|answer| answer.index);
    }
    Some(Group {
        group: first.group.unwrap_or(index as u64),
        asked: first.asked(),
        answers,
        more,
        right,
        judged,
        spread: greatest.zip(least).and_then(|(greatest, least)| short(greatest - least, 5)),
        mean: (!totals.is_empty())
            .then(|| totals.iter().sum::<f64>() / totals.len() as f64)
            .and_then(|mean| short(mean, 5)),
    })
}

fn count(answers: &[Answer], right: Option<bool>) -> usize {
    answers.iter().filter(|answer| answer.right == right).count()
}

impl Group {
    /// About what it takes on the page, without pictures.
    pub(crate) fn bytes(&self) -> usize {
        self.asked.bytes() + self.answers.iter().map(Answer::bytes).sum::<usize>()
    }
}

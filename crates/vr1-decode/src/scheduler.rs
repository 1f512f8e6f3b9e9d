use std::collections::VecDeque;
use std::ops::Range;

/// A group that is to be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    /// Larger than that of every job before it.
    pub(crate) id: u64,
    /// What its prompt takes, in bytes.
    pub(crate) prompt: u64,
    pub(crate) rows: usize,
}

/// Rows of a job that may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admission {
    pub(crate) id: u64,
    pub(crate) rows: Range<usize>,
}

/// Says what may be decoded beside what is being decoded, and knows nothing of how.
///
/// Rows begin in the order in which their jobs came, and as many at a time as the budget has room for; a job whose rows do not all fit is
/// decoded in parts. Its prompt is held from its first row's beginning until its last row's end. The budget is exceeded by one row alone,
/// where that is more than it: so no job waits for ever.
#[derive(Debug)]
pub(crate) struct Scheduler {
    budget: u64,
    /// What a row takes, in bytes, with the most tokens that it may have.
    row: u64,
    /// Those not at their end, in the order in which they came.
    jobs: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    job: Job,
    begun: usize,
    ended: usize,
}

impl Entry {
    fn under_way(&self) -> usize {
        self.begun - self.ended
    }
}

impl Scheduler {
    pub(crate) fn new(budget: u64, row: u64) -> Self {
        Self { budget, row, jobs: VecDeque::new() }
    }

    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    pub(crate) fn submit(&mut self, job: Job) {
        self.jobs.push_back(Entry { job, begun: 0, ended: 0 });
    }

    /// Whether every row of every job has ended.
    #[cfg(test)]
    fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// What is taken now, in bytes.
    pub(crate) fn taken(&self) -> u64 {
        let of = |entry: &Entry| match entry.begun {
            0 => 0,
            _ => entry.job.prompt.saturating_add(self.row.saturating_mul(entry.under_way() as u64)),
        };
        self.jobs.iter().map(of).fold(0, u64::saturating_add)
    }

    /// The rows that may begin now.
    pub(crate) fn admissible(&self) -> Vec<Admission> {
        let mut free = self.budget.saturating_sub(self.taken());
        let mut nothing = self.jobs.iter().all(|entry| entry.under_way() == 0);
        let mut admitted = Vec::new();
        for entry in self.jobs.iter().filter(|entry| entry.begun < entry.job.rows) {
            let prompt = if entry.begun == 0 { entry.job.prompt } else { 0 };
            let fit = free.checked_sub(prompt).map_or(0, |free| free / self.row.max(1));
            let fit = usize::try_from(fit).unwrap_or(usize::MAX).max(usize::from(nothing));
            let rows = entry.begun..entry.job.rows.min(entry.begun.saturating_add(fit));
            if rows.is_empty() {
                break;
            }
            nothing = false;
            let taken = self.row.saturating_mul(rows.len() as u64).saturating_add(prompt);
            free = free.saturating_sub(taken);
            let whole = rows.end == entry.job.rows;
            admitted.push(Admission { id: entry.job.id, rows });
            if !whole {
                break;
            }
        }
        admitted
    }

    /// The rows that may begin now, which have begun with this.
    pub(crate) fn admit(&mut self) -> Vec<Admission> {
        let admitted = self.admissible();
        for Admission { id, rows } in &admitted {
            if let Some(entry) = self.jobs.iter_mut().find(|entry| entry.job.id == *id) {
                entry.begun = rows.end;
            }
        }
        admitted
    }

    /// A row of a job that had begun has ended.
    pub(crate) fn end(&mut self, id: u64) {
        if let Some(place) = self.jobs.iter().position(|entry| entry.job.id == id) {
            self.jobs[place].ended += 1;
            if self.jobs[place].ended == self.jobs[place].job.rows {
                self.jobs.remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What a row takes.
    const ROW: u64 = 10;

    fn scheduler(budget: u64, jobs: &[(u64, usize)]) -> Scheduler {
        let mut scheduler = Scheduler::new(budget, ROW);
        (0..).zip(jobs).for_each(|(id, &(prompt, rows))| scheduler.submit(Job { id, prompt, rows }));
        scheduler
    }

    fn admitted(scheduler: &mut Scheduler) -> Vec<(u64, Range<usize>)> {
        scheduler.admit().into_iter().map(|admission| (admission.id, admission.rows)).collect()
    }

    #[test]
    fn what_fits_begins_together_and_the_next_as_rows_end() {
        // A prompt takes as much as a row does.
        let mut scheduler = scheduler(70, &[(10, 2), (10, 4), (10, 1)]);
        assert_eq!(admitted(&mut scheduler), [(0, 0..2), (1, 0..3)]);
        assert_eq!(scheduler.taken(), 70);
        assert!(admitted(&mut scheduler).is_empty());
        scheduler.end(1);
        assert_eq!(admitted(&mut scheduler), [(1, 3..4)]);
        scheduler.end(0);
        assert!(admitted(&mut scheduler).is_empty(), "room for a row, but not for its prompt");
        scheduler.end(0);
        assert_eq!(admitted(&mut scheduler), [(2, 0..1)]);
        [1, 1, 1, 2].into_iter().for_each(|id| scheduler.end(id));
        assert!(scheduler.is_idle() && scheduler.taken() == 0);
    }

    #[test]
    fn a_row_that_is_more_than_the_budget_is_decoded_alone() {
        let mut scheduler = scheduler(1, &[(10, 2), (10, 1)]);
        for (id, row) in [(0, 0), (0, 1), (1, 0)] {
            assert_eq!(admitted(&mut scheduler), [(id, row..row + 1)]);
            assert!(admitted(&mut scheduler).is_empty());
            scheduler.end(id);
        }
        assert!(scheduler.is_idle());
    }

    proptest! {
        #[test]
        fn every_row_runs_once_in_order_within_the_budget(
            budget in 0u64..200,
            jobs in prop::collection::vec((0u64..40, 1usize..9), 1..12),
            luck in prop::collection::vec(any::<prop::sample::Index>(), 200),
        ) {
            let mut scheduler = scheduler(budget, &jobs);
            let mut begun: Vec<(u64, usize)> = Vec::new();
            let mut running: Vec<u64> = Vec::new();
            let mut luck = luck.into_iter().cycle();
            while !scheduler.is_idle() {
                let more = scheduler.admissible();
                prop_assert_eq!(&scheduler.admit(), &more);
                for Admission { id, rows } in more {
                    running.extend(rows.clone().map(|_| id));
                    begun.extend(rows.map(|row| (id, row)));
                }
                prop_assert!(!running.is_empty(), "something always runs");
                // What is taken, counted again: prompts of jobs that have begun and not ended, and rows.
                let mut left: BTreeMap<u64, usize> = BTreeMap::new();
                for &(id, _) in &begun {
                    left.entry(id).or_insert(jobs[id as usize].1);
                }
                for &(id, _) in &begun {
                    *left.entry(id).or_default() -= 1;
                }
                running.iter().for_each(|id| *left.entry(*id).or_default() += 1);
                let prompts = left.iter().filter(|(_, left)| **left > 0).map(|(id, _)| jobs[*id as usize].0);
                let taken = prompts.sum::<u64>() + running.len() as u64 * ROW;
                prop_assert_eq!(taken, scheduler.taken());
                prop_assert!(taken <= budget || running.len() == 1, "{} of {}", taken, budget);
                let next = luck.next().map_or(0, |luck| luck.index(running.len()));
                scheduler.end(running.swap_remove(next));
            }
            let all: Vec<(u64, usize)> =
                (0..).zip(&jobs).flat_map(|(id, &(_, rows))| (0..rows).map(move |row| (id, row))).collect();
            prop_assert_eq!(begun, all);
        }
    }
}

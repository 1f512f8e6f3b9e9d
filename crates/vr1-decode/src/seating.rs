use std::ops::Range;

/// How rows are seated in groups of one size: which prompt each group sees, and which row has which seat.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seating {
    /// The prompt of each group.
    pub(crate) prompts: Vec<usize>,
    /// The row of each seat, group after group; nothing where a group is filled up.
    pub(crate) rows: Vec<Option<usize>>,
}

/// Of how many seats one may be empty.
pub(crate) const SEATS_AN_EMPTY_ONE: usize = 8;

/// Seats the rows of prompts, `rows[p]` of prompt `p`, which may be none: in groups as large as leave few seats empty. The rows of a group look
/// at their prompt at once.
pub(crate) fn seat(rows: &[Range<usize>]) -> Seating {
    let count: usize = rows.iter().map(ExactSizeIterator::len).sum();
    let seats = |group: usize| rows.iter().map(|rows| rows.len().div_ceil(group) * group).sum::<usize>();
    let most = rows.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
    // Groups of one leave none empty.
    let fits = |group: &usize| seats(*group) <= count + count / SEATS_AN_EMPTY_ONE;
    let group = (1..=most).rev().find(fits).unwrap_or(1);
    let mut seating = Seating { prompts: Vec::new(), rows: Vec::with_capacity(seats(group)) };
    for (prompt, rows) in rows.iter().enumerate() {
        for start in rows.clone().step_by(group) {
            seating.prompts.push(prompt);
            seating.rows.extend((start..start + group).map(|row| rows.contains(&row).then_some(row)));
        }
    }
    seating
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(counts: &[usize]) -> Vec<Range<usize>> {
        let mut start = 0;
        let range = |&count: &usize| {
            start += count;
            start - count..start
        };
        counts.iter().map(range).collect()
    }

    #[test]
    fn a_group_is_as_large_as_leaves_few_seats_empty() {
        let of = |counts: &[usize]| seat(&ranges(counts));
        assert_eq!(of(&[2, 0, 2]), Seating { prompts: vec![0, 2], rows: [0, 1, 2, 3].map(Some).into() });
        assert_eq!(of(&[8, 8, 8, 7]).rows.len(), 32);
        assert_eq!(of(&[3, 1]), Seating { prompts: vec![0, 0, 0, 1], rows: [0, 1, 2, 3].map(Some).into() });
        assert_eq!(of(&[0, 0]), Seating { prompts: vec![], rows: vec![] });
    }

    proptest! {
        #[test]
        fn every_row_has_one_seat_before_its_own_prompt(counts in prop::collection::vec(0usize..20, 0..12)) {
            let seating = seat(&ranges(&counts));
            let seated: Vec<usize> = seating.rows.iter().copied().flatten().collect();
            prop_assert_eq!(&seated, &(0..counts.iter().sum()).collect::<Vec<_>>());
            prop_assert!(seating.rows.len() <= seated.len() + seated.len() / SEATS_AN_EMPTY_ONE);
            let group = seating.rows.len() / seating.prompts.len().max(1);
            for (seat, row) in seating.rows.iter().enumerate() {
                if let Some(row) = row {
                    prop_assert!(ranges(&counts)[seating.prompts[seat / group]].contains(row));
                }
            }
        }
    }
}

//! `N` patches of all images.

/// What each patch has of a square of learned positions, `side` by `side`, that is stretched over its picture with corners on
/// corners: four places in the square and a weight for each, `[N · 4]`. Patches are at these rows and columns.
pub(super) fn stretched(grid_thw: &[[i64; 3]], rows: &[i64], columns: &[i64], side: i64) -> (Vec<i64>, Vec<f32>) {
    let (mut places, mut weights) = (Vec::with_capacity(4 * rows.len()), Vec::with_capacity(4 * rows.len()));
    let sizes = grid_thw.iter().flat_map(|&[t, h, w]| std::iter::repeat_n((h, w), (t * h * w) as usize));
    for ((height, width), (&row, &column)) in sizes.zip(rows.iter().zip(columns)) {
        for (row, of_row) in along(row, height, side) {
            for (column, of_column) in along(column, width, side) {
                places.push(row * side + column);
                weights.push(of_row * of_column);
            }
        }
    }
    (places, weights)
}

/// The two places on a side of the square that are nearest to place number `index` of `size`, and their weights; in f32, as the
/// model was trained.
fn along(index: i64, size: i64, side: i64) -> [(i64, f32); 2] {
    let at = index as f32 * (side - 1) as f32 / (size - 1).max(1) as f32;
    let below = at.floor();
    [0.0, 1.0].map(|next| {
        let weight = (1.0 - (at - below - next).abs()).max(0.0);
        (((below + next) as i64).clamp(0, side - 1), weight)
    })
}

#[cfg(test)]
mod tests {
    use super::stretched;

    #[test]
    fn corners_lie_on_corners_and_what_is_between_is_shared() {
        // Two rows of three patches over a square of four by four: columns at 0, 1.5 and 3.
        let (rows, columns) = ([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]);
        let (places, weights) = stretched(&[[1, 2, 3]], &rows, &columns, 4);
        assert_eq!(places[..12], [0, 1, 4, 5, 1, 2, 5, 6, 3, 3, 7, 7]);
        assert_eq!(weights[..12], [1.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(places[12..16], [12, 13, 12, 13]);
        assert_eq!(weights[12..16], [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_single_row_is_the_first() {
        let (places, weights) = stretched(&[[1, 1, 1]], &[0], &[0], 48);
        assert_eq!((places[0], weights[0]), (0, 1.0));
        assert_eq!(weights[1..], [0.0; 3]);
    }
}

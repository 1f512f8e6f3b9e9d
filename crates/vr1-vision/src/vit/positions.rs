use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

/// Where patches stand on a square of `side × side` places, line by line; those of a tile of other sides in proportion.
#[derive(Debug)]
pub(super) struct Places {
    side: i64,
    /// For a number of patches along a side, the place of each.
    known: BTreeMap<i64, Vec<i64>>,
}

impl Places {
    pub(super) fn new(side: i64) -> Self {
        Self { side, known: BTreeMap::new() }
    }

    /// The places of the patches of a tile of `rows × columns`, from left to right and top to bottom.
    pub(super) fn of(&mut self, [rows, columns]: [i64; 2]) -> Vec<i64> {
        let [lines, along] = [rows, columns].map(|count| self.along(count));
        let side = self.side;
        lines.iter().flat_map(|line| along.iter().map(move |column| line * side + column)).collect()
    }

    fn along(&mut self, count: i64) -> Vec<i64> {
        let side = self.side;
        self.known.entry(count).or_insert_with(|| in_proportion(count, side)).clone()
    }
}

/// The places of `count` patches along a side of `side` places.
///
/// In whole numbers patch `i` would be at `i · side / count`; transformers finds it in f32, by the operations here, and models are trained
/// with what comes out: of 25 patches on 70 places number 5 is at 13.
fn in_proportion(count: i64, side: i64) -> Vec<i64> {
    let options = (Kind::Float, Device::Cpu);
    let step = 1.0 / side as f64;
    let borders = Tensor::arange_start_step(step, 1.0, step, options);
    let at = Tensor::arange(count, options) * (Tensor::ones([1], options) / count as f64);
    let places = at.clamp_max(1.0 - 1e-6).bucketize(&borders, false, true);
    (0..count).map(|i| places.int64_value(&[i])).collect()
}

#[cfg(test)]
mod tests {
    use super::{Places, in_proportion};

    #[test]
    fn patches_stand_where_transformers_has_them() {
        assert_eq!(in_proportion(4, 4), [0, 1, 2, 3]);
        assert_eq!(in_proportion(2, 4), [0, 2]);
        assert_eq!(in_proportion(3, 4), [0, 1, 2]);
        assert_eq!(in_proportion(1, 1), [0]);
        for side in [14, 16, 26, 27, 32, 64, 70] {
            assert_eq!(in_proportion(side, side), (0..side).collect::<Vec<_>>(), "{side}");
        }
        // Rounding: 5 / 25 of 70 places is 14.
        assert_eq!(in_proportion(25, 70)[5], 13);
        let other = (1..=70)
            .map(|count| in_proportion(count, 70).into_iter().zip(0..).filter(|(at, i)| *at != i * 70 / count).count());
        assert_eq!(other.sum::<usize>(), 18);
    }

    #[test]
    fn lines_come_one_after_the_other() {
        assert_eq!(Places::new(4).of([2, 3]), [0, 1, 2, 8, 9, 10]);
    }
}

/// The squares of patches in the order of their windows, and the size of each window in squares.
///
/// A frame of `height × width` squares is laid out in windows of `window × window` from its upper left corner; those at
/// the right and lower edges are cut off there. Frames stay apart.
pub(super) fn by_window(frames: &[(i64, i64)], window: i64) -> (Vec<i64>, Vec<i64>) {
    let (mut order, mut sizes, mut start) = (Vec::new(), Vec::new(), 0);
    for &(height, width) in frames {
        for top in (0..height).step_by(window as usize) {
            for left in (0..width).step_by(window as usize) {
                let (bottom, right) = (height.min(top + window), width.min(left + window));
                order.extend(
                    (top..bottom).flat_map(|row| (left..right).map(move |column| start + row * width + column)),
                );
                sizes.push((bottom - top) * (right - left));
            }
        }
        start += height * width;
    }
    (order, sizes)
}

#[cfg(test)]
mod tests {
    use super::by_window;

    #[test]
    fn windows_are_cut_off_at_the_edges() {
        // 0 1 | 2
        // 3 4 | 5
        // ----+--
        // 6 7 | 8     and a frame of one row: 9 10
        let (order, sizes) = by_window(&[(3, 3), (1, 2)], 2);
        assert_eq!(order, [0, 1, 3, 4, 2, 5, 6, 7, 8, 9, 10]);
        assert_eq!(sizes, [4, 2, 2, 1, 2]);
    }

    #[test]
    fn a_frame_that_fills_its_windows_has_no_others() {
        let (order, sizes) = by_window(&[(2, 4)], 2);
        assert_eq!(order, [0, 1, 4, 5, 2, 3, 6, 7]);
        assert_eq!(sizes, [4, 4]);
    }
}

use std::ops::Range;

/// Position ids of M-RoPE for a sequence of text with media spans, and the position that comes next.
///
/// A text token takes the next position in all three rows (time, height, width). A media span of t × h × w tokens
/// that begins at position p takes `p + time`, `p + line` and `p + column`, and what follows begins at
/// `p + max(h, w)` (Qwen2-VL, arXiv 2409.12191 section 2.1, as transformers' `get_rope_index` computes it).
///
/// `spans` are in order; each comes with its grid in tokens. The result is three rows of `len` values.
pub(crate) fn rope_positions(len: usize, spans: &[(Range<usize>, [usize; 3])]) -> ([Vec<i64>; 3], i64) {
    let mut rows = [Vec::with_capacity(len), Vec::with_capacity(len), Vec::with_capacity(len)];
    let mut next = 0;
    let text = |rows: &mut [Vec<i64>; 3], next: &mut i64, tokens: usize| {
        let end = *next + tokens as i64;
        rows.iter_mut().for_each(|row| row.extend(*next..end));
        *next = end;
    };
    for (span, [t, h, w]) in spans {
        let before = span.start - rows[0].len();
        text(&mut rows, &mut next, before);
        for index in 0..t * h * w {
            rows[0].push(next + (index / (h * w)) as i64);
            rows[1].push(next + (index / w % h) as i64);
            rows[2].push(next + (index % w) as i64);
        }
        next += *h.max(w) as i64;
    }
    let rest = len - rows[0].len();
    text(&mut rows, &mut next, rest);
    (rows, next)
}

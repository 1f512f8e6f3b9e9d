use std::ops::Range;

/// Where a piece of media stands among the tokens, and how its positions go.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    /// Its tokens.
    pub(crate) range: Range<usize>,
    /// Tokens in time, in height and in width.
    pub(crate) grid: [usize; 3],
    /// Positions in time from one temporal patch to the next: 1, but for the videos of models that count seconds.
    pub(crate) interval: f32,
}

/// Position ids of M-RoPE for a sequence of text with media spans, and the position that comes next.
///
/// A text token takes the next position in all three rows (time, height, width). A media span of t × h × w tokens
/// that begins at position p takes `p + ⌊interval · time⌋`, `p + line` and `p + column`, and what follows begins at
/// `p + max(h, w)`, however much time the span takes (Qwen2-VL, arXiv 2409.12191 section 2.1, and Qwen2.5-VL,
/// arXiv 2502.13923 section 2.1.2, as transformers' `get_rope_index` computes it).
///
/// The position that comes next is the one that text in the same place would take. transformers' `generate` instead
/// puts what it samples behind the greatest position so far; the two differ where a long video is followed by little
/// text, and then its own `forward` over the same tokens differs from what it sampled by. Here both are the former.
///
/// `spans` are in order. The result is three rows of `len` values.
pub(crate) fn rope_positions(len: usize, spans: &[Span]) -> ([Vec<i64>; 3], i64) {
    let mut rows = [Vec::with_capacity(len), Vec::with_capacity(len), Vec::with_capacity(len)];
    let mut next = 0;
    let text = |rows: &mut [Vec<i64>; 3], next: &mut i64, tokens: usize| {
        let end = *next + tokens as i64;
        rows.iter_mut().for_each(|row| row.extend(*next..end));
        *next = end;
    };
    for Span { range, grid: [t, h, w], interval } in spans {
        let before = range.start - rows[0].len();
        text(&mut rows, &mut next, before);
        for index in 0..t * h * w {
            rows[0].push(next + ((index / (h * w)) as f32 * interval) as i64);
            rows[1].push(next + (index / w % h) as i64);
            rows[2].push(next + (index % w) as i64);
        }
        next += *h.max(w) as i64;
    }
    let rest = len - rows[0].len();
    text(&mut rows, &mut next, rest);
    (rows, next)
}

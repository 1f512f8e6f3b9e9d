use std::ops::Range;

use vr1_torch::Groups;

use crate::{Batch, BatchMedia, Result};

/// A group of a batch: where its prompt is, what follows it, and how many sequences these are, some of them no more than the prompt.
struct Laid {
    prompt: Range<usize>,
    tails: Vec<Range<usize>>,
    sequences: usize,
}

impl Batch {
    /// The same, with a prompt of its own for each tail that shows media where others share its prompt, and which of the media its are;
    /// nothing where no tail does. For a model whose prompts look at all that is shown, behind them too.
    ///
    /// # Errors
    /// If libtorch has no room for it.
    pub(crate) fn apart(&self) -> Result<Option<(Self, Vec<usize>)>> {
        let laid = self.laid();
        let shows = |tail: &Range<usize>| self.media.iter().any(|media| tail.contains(&media.start));
        let torn = |group: &Laid, tail: usize| group.sequences > 1 && shows(&group.tails[tail]);
        if !laid.iter().any(|group| (0..group.tails.len()).any(|tail| torn(group, tail))) {
            return Ok(None);
        }
        let mut out = Self {
            input_ids: Vec::new(),
            position_ids: Default::default(),
            media: Vec::new(),
            groups: self.groups.clone(),
            places: Vec::with_capacity(self.places.len()),
            targets: self.targets.clone(),
            lengths: self.lengths.clone(),
            tails: self.tails.clone(),
            recompute: self.recompute,
            routing: self.routing.clone(),
        };
        let (mut order, mut lengths, mut moved) = (Vec::new(), Vec::new(), Vec::with_capacity(laid.len()));
        for group in &laid {
            // Where the prompt and each tail begin now; last, for what has no tail, where the shared prompt does.
            let mut starts = vec![[0; 2]; group.tails.len() + 1];
            let (alone, shared): (Vec<_>, Vec<_>) = (0..group.tails.len()).partition(|&tail| torn(group, tail));
            starts[group.tails.len()] = [out.input_ids.len(); 2];
            let shared = (group.sequences > alone.len()).then_some(shared);
            for tails in shared.into_iter().chain(alone.into_iter().map(|tail| vec![tail])) {
                let prompt = self.copy(&group.prompt, &mut out, &mut order);
                for &tail in &tails {
                    starts[tail] = [prompt, self.copy(&group.tails[tail], &mut out, &mut order)];
                }
                let own = tails.iter().map(|&tail| group.tails[tail].len() as i64).collect();
                lengths.push((group.prompt.len() as i64, own));
            }
            moved.push(starts);
        }
        out.groups = Groups::new(lengths)?;
        let mut rest = self.places.iter();
        for (&trained, tail) in self.lengths.iter().zip(&self.tails) {
            let group = &laid[tail.group];
            let [prompt, own] = moved[tail.group][tail.place.unwrap_or(group.tails.len())];
            out.places.extend(rest.by_ref().take(trained).map(|&place| {
                let place = place as usize;
                let now = match tail.place.filter(|_| place >= group.prompt.end) {
                    Some(tail) => own + place - group.tails[tail].start,
                    None => prompt + place - group.prompt.start,
                };
                now as i64
            }));
        }
        Ok(Some((out, order)))
    }

    fn laid(&self) -> Vec<Laid> {
        let mut end = 0;
        let mut next = |length: i64| {
            end += length as usize;
            end - length as usize..end
        };
        let sequences = |group| self.tails.iter().filter(|tail| tail.group == group).count();
        let laid = self.groups.iter().enumerate().map(|(group, (prompt, tails))| Laid {
            prompt: next(prompt),
            tails: tails.iter().map(|&tail| next(tail)).collect(),
            sequences: sequences(group),
        });
        laid.collect()
    }

    /// Puts some tokens behind those of `out`, and gives where they begin there.
    fn copy(&self, tokens: &Range<usize>, out: &mut Self, order: &mut Vec<usize>) -> usize {
        let start = out.input_ids.len();
        out.input_ids.extend_from_slice(&self.input_ids[tokens.clone()]);
        for (row, own) in out.position_ids.iter_mut().zip(&self.position_ids) {
            row.extend_from_slice(&own[tokens.clone()]);
        }
        for (i, media) in self.media.iter().enumerate().filter(|(_, media)| tokens.contains(&media.start)) {
            out.media.push(BatchMedia { start: start + media.start - tokens.start, ..media.clone() });
            order.push(i);
        }
        start
    }
}

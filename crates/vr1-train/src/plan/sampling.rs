//! Bytes of tensors that are held while prompts and completions are run over without gradients.

use super::batch::Drawn;
use super::memory::{Held, Phase, Setting};
use super::shape::TowerShape;

/// Tokens of prompts that a model runs over at once while it samples.
const PREFILL: u64 = 4096;

impl Setting<'_> {
    /// New weights are made ready to sample from while the old are still there.
    pub(crate) fn handing_over(&self) -> Option<Phase> {
        let bytes = self.wide * self.shape.adapted;
        let anew = Held { what: "merged weights, anew", bytes };
        (bytes > 0).then(|| self.phase("handing over", [anew, self.brought()]))
    }

    /// Completions of prompts of such lengths are sampled.
    pub(crate) fn sampling(&self, name: &'static str, drawn: Drawn, prompts: &[(u64, u64)]) -> Phase {
        let shape = self.shape;
        let token = self.wide * shape.key_value * shape.layers;
        let row = token * self.room(drawn.tokens as u64) + 4 * shape.vocabulary;
        let rows = (drawn.prompts * drawn.group) as u64;
        let all_prompts: u64 = prompts.iter().map(|(prompt, _)| prompt * token).sum();
        // What does not fit waits.
        let longest = prompts.iter().map(|(prompt, _)| *prompt).max().unwrap_or(0) * token;
        let whole = all_prompts + rows * row;
        let (prefix, slots) = match whole <= self.decoding {
            true => (all_prompts, rows * token * self.room(drawn.tokens as u64)),
            false => {
                let fit =
                    (self.decoding.saturating_sub(longest) / (row.max(1) + 28 * shape.vocabulary)).max(1).min(rows);
                (longest, fit * token * self.room(drawn.tokens as u64))
            }
        };
        let seated = slots / (token * self.room(drawn.tokens as u64)).max(1);
        let (tokens, patches) =
            (prompts.iter().map(|p| p.0).sum::<u64>().min(PREFILL), prompts.iter().map(|p| p.1).sum::<u64>());
        // Pictures are encoded, then their prompts are run over, then rows.
        let of_one = prompts.iter().map(|p| p.1).max().unwrap_or(0);
        let [running, seeing] = self.pass(tokens, patches, of_one);
        let drawing = 4 * 4 * shape.vocabulary * seated;
        let held = [
            vec![Held { what: "pictures on their way through", bytes: seeing }],
            vec![
                Held { what: "keys and values of prompts", bytes: prefix },
                Held { what: "prompts on their way through", bytes: running },
            ],
            vec![
                Held { what: "keys and values of prompts", bytes: prefix },
                Held { what: "keys and values of completions", bytes: slots },
                Held { what: "logits and what is drawn from", bytes: drawing },
            ],
        ];
        let sum = |held: &[Held]| held.iter().map(|held| held.bytes).sum::<u64>();
        let held = held.into_iter().max_by_key(|held| sum(held)).unwrap_or_default();
        self.phase(name, held.into_iter().chain([self.brought()]))
    }

    /// What a pass without gradients holds on the way, at most: of tokens, and of patches before that; `of_one` are the most of a prompt.
    pub(super) fn pass(&self, tokens: u64, patches: u64, of_one: u64) -> [u64; 2] {
        let shape = self.shape;
        let language = tokens * self.wide * (5 * shape.hidden + 3 * shape.inner);
        let tower = shape.tower.as_ref().map_or(0, |tower| {
            let TowerShape { width, inner, gates, pixels, .. } = *tower;
            // A CPU lays queries, keys, values and what comes of them out anew, a picture's at a time.
            let seen = 10 * width * patches + if self.on_cpu { 4 * width * of_one } else { 0 };
            let fed = (2 * width + (1 + gates) * inner) * patches;
            // Pixels of several pictures are put together first.
            let together = if patches > of_one { pixels * patches } else { 0 };
            self.wide * (pixels * patches + seen.max(fed).max(together))
        });
        [language, tower]
    }

    /// Room for tokens of a row, which grows in a few sizes.
    pub(super) fn room(&self, tokens: u64) -> u64 {
        let (least, look) = if self.on_cpu { (64, 1) } else { (256, 16) };
        let needed = tokens.saturating_sub(1) + look;
        needed.next_power_of_two().max(least).min(tokens + look).max(needed)
    }
}

//! `S` states, `D` hidden.

use std::ops::Range;

use tch::Tensor;
use vr1_nn::{Across, Looks, Sight};

use crate::{Features, Result};

/// Tokens that follow each other and see what is shown among them: a prompt, or a group.
#[derive(Debug, Default)]
pub(crate) struct Stretch<'a> {
    /// How many tokens.
    pub(crate) tokens: usize,
    /// Where media stand among them, in order, and what was made of these.
    pub(crate) media: Vec<(Range<usize>, &'a Features)>,
}

/// What the tokens of all stretches look at beside the text; nothing where no media has anything that is looked at so.
///
/// A token is shown the last media before it, those too that adjoin it (as [`Prompt::seen_by`](vr1_processor::Prompt::seen_by) has it).
/// One that is shown none looks at everything in its stretch.
pub(crate) fn sights(stretches: &[Stretch<'_>]) -> Result<Option<Across>> {
    let (mut states, mut sights, mut begin) = (Vec::new(), Vec::new(), 0);
    for stretch in stretches {
        let shown: Vec<_> =
            stretch.media.iter().filter_map(|(span, features)| Some((span, features.across.as_ref()?))).collect();
        let all = begin..begin + shown.iter().map(|(_, shown)| shown.states.size()[0]).sum::<i64>();
        // What shows something lies side by side, whatever fills it up.
        states.extend(shown.iter().map(|(_, shown)| shown.states.narrow(0, 0, shown.count)));
        let rest = |states: &Tensor, count| states.narrow(0, count, states.size()[0] - count);
        states.extend(shown.iter().map(|(_, shown)| rest(&shown.states, shown.count)));
        let first = shown.first().map_or(stretch.tokens, |(span, _)| span.start);
        let looks = if shown.is_empty() { Looks::Nowhere } else { Looks::Around(all.clone()) };
        sights.push(Sight { tokens: first as i64, looks });
        let (mut from, mut end) = (begin, begin);
        for (i, (span, own)) in shown.iter().enumerate() {
            let adjoins = i > 0 && shown[i - 1].0.end == span.start;
            from = if adjoins { from } else { end };
            end += own.count;
            let next = shown.get(i + 1).map_or(stretch.tokens, |(next, _)| next.start);
            sights.push(Sight { tokens: (next - span.start) as i64, looks: Looks::At(from..end) });
        }
        begin = all.end;
    }
    if states.is_empty() {
        return Ok(None);
    }
    sights.retain(|sight| sight.tokens > 0);
    states.retain(|part| part.size()[0] > 0);
    let states = if states.len() == 1 { states.remove(0) } else { Tensor::cat(&states, 0) }; // [S, D]
    Ok(Some(Across::new(states, sights)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tch::{Device, Kind, Tensor};
    use vr1_nn::{Across, Context, Heads, Recompute};
    use vr1_torch::Groups;

    use super::{Stretch, sights};
    use crate::{Features, Shown};

    /// States that are all `number`, of which `count` show something.
    fn shown(number: f64, states: i64, count: i64) -> Features {
        let states = Tensor::full([states, 1], number, (Kind::Float, Device::Cpu));
        Features { tokens: None, deep: Vec::new(), across: Some(Shown { states, count }) }
    }

    /// The mean of what each token looks at: equal keys, so that weights are equal.
    fn means(across: &Across, tokens: i64) -> Vec<f32> {
        let groups = Groups::new([(tokens, Vec::new())]).unwrap();
        let query = Tensor::zeros([1, tokens, 1, 1], (Kind::Float, Device::Cpu));
        let keys = |states: &Tensor| [states.zeros_like().unsqueeze(2), states.unsqueeze(2)];
        let mut context = Context::groups(&groups, Recompute::None).beside(Some(across));
        let found = context.attend_across(0, &query, keys, Heads { count: 1, key_value: 1, dim: 1 });
        Vec::try_from(found.view([-1])).unwrap()
    }

    #[test]
    fn a_token_looks_at_the_media_before_it_and_those_that_adjoin_it_and_else_at_everything() {
        let pictures = [shown(1.0, 4, 2), shown(5.0, 4, 4), shown(9.0, 4, 1)];
        let at = |places: &[usize]| places.iter().map(|&place| place..place + 1).zip(&pictures).collect();
        let stretches = [
            Stretch { tokens: 8, media: at(&[2, 3, 6]) },
            Stretch { tokens: 2, media: Vec::new() },
            Stretch { tokens: 2, media: at(&[0]) },
        ];
        let across = sights(&stretches).unwrap().unwrap();
        assert_eq!(across.states().size(), [16, 1]);
        let both = (2.0 * 1.0 + 4.0 * 5.0) / 6.0;
        let expected = [5.0, 5.0, 1.0, both, both, both, 9.0, 9.0, 0.0, 0.0, 1.0, 1.0];
        let found = means(&across, 12);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
    }

    #[test]
    fn where_media_are_tokens_nobody_looks_across() {
        let tokens = Features::tokens(Tensor::zeros([1, 1], (Kind::Float, Device::Cpu)));
        let stretches = [Stretch { tokens: 3, media: vec![(1..2, &tokens)] }];
        assert!(sights(&stretches).unwrap().is_none());
    }
}

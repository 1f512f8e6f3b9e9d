use vr1_data::Sample;
use vr1_reward::{Reward, Rollout};
use vr1_rollout::Sequence;

use crate::{Error, Result};

/// The best of several paths, and the worst where it is worse.
#[derive(Debug, Clone, Copy)]
pub struct BestPath<'a> {
    /// The path of the highest reward; of equals the first.
    pub best: &'a Sequence,
    /// The path of the lowest reward; of equals the first.
    pub worst: &'a Sequence,
    /// By how much the best is better; more than 0.
    pub margin: f32,
}

/// The rewards of several paths about one sample, which the reward sees as one group.
///
/// Insight-V ([arXiv:2411.14432](https://arxiv.org/abs/2411.14432)) has a model grade all paths of a question in one
/// call, from 1 to 100; its prompt was not published. Any [`Reward`] may stand here.
///
/// # Errors
/// If a path cannot be judged, or the reward gives another number of scores than there are paths.
pub fn score_paths(reward: &dyn Reward, sample: &Sample, paths: &[Sequence]) -> Result<Vec<f32>> {
    let group: Vec<Rollout<'_>> = paths.iter().map(|path| rollout(sample, path)).collect();
    let failed = |source| Error::Reward { sample: sample.id.clone(), source };
    let rewards = reward.score_group(&group).map_err(failed)?;
    check_count(&rewards, paths)?;
    Ok(rewards)
}

fn rollout<'a>(sample: &'a Sample, path: &'a Sequence) -> Rollout<'a> {
    Rollout {
        prompt: &sample.question,
        completion: path.text(),
        solution: &sample.solution,
        tokens: path.ids().len(),
        finished: path.finished(),
        fields: &sample.fields,
    }
}

/// The places of the rewards, the highest first; equals keep their order, and a NaN, which says that there is none, is
/// left out.
///
/// # Example
/// ```
/// assert_eq!(vr1_agent::ranked(&[0.5, f32::NAN, 1.0, 0.5]), [2, 0, 3]);
/// ```
pub fn ranked(rewards: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rewards.len()).filter(|&i| !rewards[i].is_nan()).collect();
    order.sort_by(|&a, &b| rewards[b].total_cmp(&rewards[a]));
    order
}

/// The best of several paths against the worst: what a round of iterative DPO prefers over what.
///
/// ```text
/// best = argmax reward,   worst = argmin reward,   nothing if max = min
/// ```
///
/// A path whose reward is NaN takes no part. Where all are equally good there is no lesson in them, and nothing is
/// given.
///
/// # Errors
/// [`Error::Count`] if there are not as many rewards as paths.
///
/// # Example
/// ```
/// # use vr1_processor::{Layout, Message, Processor, PromptRequest, Role, Tokenizer};
/// # use vr1_rollout::{Engine, Request, SampleKey, Sampling, Scripted};
/// # let tokenizer = Tokenizer::train(["one of three methods"].map(String::from).into_iter(), 290)?;
/// # let processor = Processor::new(tokenizer.clone(), None, None, "example".as_ref())?;
/// # let messages = [Message::text(Role::User, "How?")];
/// # let asked = PromptRequest { sample: "s", messages: &messages, layout: Layout::Raw, prefill: "" };
/// # let request = Request::new(processor.prompt(&asked)?, 3, Sampling::default(), SampleKey::default());
/// # let said = ["a guess", "three methods", "another guess"];
/// # let mut engine = Scripted::new(tokenizer, move |_, i| Some(said[i].to_owned()));
/// use vr1_agent::best_path;
///
/// let group = &engine.generate(vec![request])?[0]; // "a guess", "three methods", "another guess"
/// let pair = best_path(&[0.0, 1.0, 0.0], group.sequences())?.expect("they differ");
/// assert_eq!((pair.best.text(), pair.worst.text(), pair.margin), ("three methods", "a guess", 1.0));
/// assert!(best_path(&[1.0, 1.0, f32::NAN], group.sequences())?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn best_path<'a>(rewards: &[f32], paths: &'a [Sequence]) -> Result<Option<BestPath<'a>>> {
    check_count(rewards, paths)?;
    let order = ranked(rewards);
    let Some((&best, &last)) = order.first().zip(order.last()) else { return Ok(None) };
    if rewards[best] <= rewards[last] {
        return Ok(None);
    }
    // The ranking's last has the lowest reward; the first of its equals is given.
    let worst = order.into_iter().find(|&i| rewards[i] == rewards[last]).unwrap_or(last);
    let margin = rewards[best] - rewards[worst];
    Ok(Some(BestPath { best: &paths[best], worst: &paths[worst], margin }))
}

fn check_count(rewards: &[f32], paths: &[Sequence]) -> Result<()> {
    match rewards.len() == paths.len() {
        true => Ok(()),
        false => Err(Error::Count { what: "rewards", found: rewards.len(), of: "paths", wanted: paths.len() }),
    }
}

use std::collections::BTreeMap;

use vr1_reward::{Program, Rollout};

use crate::benchmark::{Benchmark, Judging};
use crate::config::{BoxUnits, EvalConfig};
use crate::extraction::How;
use crate::gold::ToPixels;
use crate::item::Item;
use crate::judging;
use crate::mark::Mark;
use crate::record::Record;
use crate::{Ask, Gold};

/// Marks answers.
pub(crate) struct Marker<'a> {
    pub(crate) benchmark: Benchmark,
    pub(crate) config: &'a EvalConfig,
    pub(crate) judge: Option<&'a dyn Ask>,
    pub(crate) reward: Option<&'a Program>,
}

impl Marker<'_> {
    /// The mark of a recorded answer; what a judge says of it goes into the record.
    pub(crate) fn mark(&self, item: &Item, record: &mut Record) -> Mark {
        if let Some(reward) = self.reward {
            return by_reward(reward, item, record);
        }
        let extraction = self.config.extraction;
        let judged = match &item.gold {
            Gold::Judged(_) => true,
            _ => self.benchmark.0.judging != Judging::None,
        };
        match self.judge.filter(|_| judged) {
            Some(judge) => {
                let said =
                    judging::ask(self.benchmark, item, &record.completion, (extraction, judge), record.judged.as_ref());
                match said {
                    Ok(said) => {
                        let mark = judging::mark(self.benchmark, item, &said, extraction);
                        record.judged = Some(said);
                        mark.unwrap_or_else(missing)
                    }
                    Err(why) => missing(why),
                }
            }
            None if matches!(item.gold, Gold::Judged(_)) => {
                missing("its metric is `judge`, and no judge is given".to_owned())
            }
            None => self.benchmark.mark(item, &record.completion, extraction, self.scale(item, record)),
        }
    }

    /// From what boxes are written in to pixels of the picture.
    fn scale(&self, item: &Item, record: &Record) -> ToPixels {
        let Some(size) = item.size else { return [1.0, 1.0] };
        let unit = match (self.config.boxes, record.seen) {
            (BoxUnits::Thousandths, _) => [1000.0, 1000.0],
            (BoxUnits::Seen, Some(seen)) => seen.map(f64::from),
            _ => return [1.0, 1.0],
        };
        std::array::from_fn(|side| f64::from(size[side]) / unit[side])
    }
}

fn missing(why: String) -> Mark {
    Mark { missing: Some(why), ..Mark::default() }
}

/// The verdict of a reward program.
fn by_reward(reward: &Program, item: &Item, record: &Record) -> Mark {
    let rollout = Rollout {
        prompt: &record.prompt,
        completion: &record.completion,
        solution: &item.sample.solution,
        tokens: record.tokens,
        finished: record.finished,
        fields: &item.sample.fields,
    };
    let outcome = match reward.outcome(&rollout) {
        Ok(outcome) => outcome,
        Err(error) => return missing(error.to_string()),
    };
    let mut marks: BTreeMap<String, f64> =
        outcome.terms.iter().filter_map(|(name, value)| Some((name.clone(), f64::from((*value)?)))).collect();
    match marks.get("accuracy").copied().or(outcome.total.map(f64::from)) {
        Some(accuracy) => {
            marks.insert("accuracy".to_owned(), accuracy);
            Mark { marks, how: Some(How::Program), ..Mark::default() }
        }
        None => missing("the reward has no value for it".to_owned()),
    }
}

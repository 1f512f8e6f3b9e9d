use std::collections::HashMap;

use super::exact::clean;
use super::{reference, score};
use crate::reading::{whole_number, yes_no};
use crate::{Absent, Args, Budget, Error, Param, Registry, Result, Signature, Type, Value};

/// The texts an answer may be: the solution, or each of a list of them.
fn references<'a>(value: &'a Value<'a>) -> Vec<std::borrow::Cow<'a, str>> {
    match value {
        Value::List(items) => items.iter().map(Value::to_text).collect(),
        other => vec![other.to_text()],
    }
}

/// The best score over the references; nothing earns nothing, so that an empty answer or reference gives 0.
fn best(args: &Args<'_>, of: impl Fn(&str, &str) -> Result<f64>) -> Result<f32> {
    let mut most = 0.0_f64;
    let answer = args.text(0)?;
    for gold in references(args.value(1)) {
        let gold = reference(&gold);
        if !answer.trim().is_empty() && !gold.is_empty() {
            most = most.max(of(answer, gold)?);
        }
    }
    Ok(most as f32)
}

pub(super) fn register(registry: &mut Registry) {
    let pair = || vec![Param::answer("answer", Type::Text), Param::required("solution", Type::Any)];
    let with = |more: Param| {
        let mut params = pair();
        params.push(more);
        params
    };
    let doc = "1 where answer and solution both say yes, or both no: by the word they begin with, if a mark follows it, else \
               by the only one of both in them. \
               `compat='vlm_r1'` takes the first `yes` or `no` in any word, and calls two texts without either equal.";
    registry.register_typed(
        "yes_no",
        Signature::new(doc, with(Param::choice("compat", &["none", "vlm_r1"]))),
        |args| {
            let gold = args.value(1).to_text();
            args.budget().spend_bytes(args.text(0)?.len() + gold.len(), "yes_no")?;
            let (answer, gold) = (args.text(0)?, reference(&gold));
            Ok(score(if args.text(2)? == "vlm_r1" {
                first_substring(&answer.to_lowercase()) == first_substring(&gold.to_lowercase())
            } else {
                let said = yes_no(answer);
                said.is_some() && said == yes_no(gold)
            }))
        },
    );
    let doc = "Open-R1-Video: 1 where answer and solution begin with the same character.";
    registry.register_typed("first_letter", Signature::new(doc, pair()), |args| {
        let gold = args.value(1).to_text();
        let (answer, gold) = (args.text(0)?.trim().chars().next(), reference(&gold).chars().next());
        Ok(score(answer.is_some() && answer == gold))
    });
    let doc = "Likeness from 0 to 1: 2·LCS / (|answer| + |solution|) in characters, case and final dots aside, as in \
               VLM-R1. `compat='r1_onevision'`: an answer's final dots count.";
    let params = with(Param::choice("compat", &["none", "r1_onevision"]));
    registry.register_typed("levenshtein", Signature::new(doc, params), |args| {
        let published = args.text(2)? == "r1_onevision";
        best(args, |answer, gold| {
            let answer = if published { answer.to_lowercase() } else { clean(answer) };
            likeness(&answer, &clean(gold), args.budget())
        })
    });
    let doc = "1 − edits / longer length, in characters.";
    registry.register_typed("edit_distance", Signature::new(doc, pair()), |args| {
        best(args, |answer, gold| Ok(1.0 - edits(answer.trim(), gold, args.budget())?))
    });
    let doc = "Average normalised Levenshtein similarity (DocVQA): 1 − edits / longer length, case aside, and 0 where that \
               is not above `threshold`; the best of several solutions.";
    registry.register_typed("anls", Signature::new(doc, with(Param::number("threshold", 0.5))), |args| {
        let threshold = args.number(2)?;
        best(args, |answer, gold| {
            let share = edits(&answer.trim().to_lowercase(), &gold.to_lowercase(), args.budget())?;
            Ok(if share < threshold { 1.0 - share } else { 0.0 })
        })
    });
    let doc = "Relaxed accuracy (ChartQA): numbers within `tolerance` of the solution, texts the same but for case.";
    registry.register_typed("relaxed", Signature::new(doc, with(Param::number("tolerance", 0.05))), |args| {
        let tolerance = args.number(2)?;
        best(args, |answer, gold| {
            let same = match (plain_number(answer), plain_number(gold)) {
                (Some(a), Some(0.0)) => a == 0.0,
                (Some(a), Some(b)) => (a - b).abs() / b.abs() <= tolerance,
                _ => answer.trim().to_lowercase() == gold.to_lowercase(),
            };
            Ok(f64::from(score(same)))
        })
    });
    let doc = "Sentence BLEU of words up to four, with one added to counts above one word (Lin and Och), and the brevity \
               penalty.";
    registry.register_typed("bleu", Signature::new(doc, pair()), |args| {
        best(args, |answer, gold| bleu(answer, gold, args.budget()))
    });
    let doc = "ROUGE-L: the harmonic mean of the longest common word sequence's share of answer and solution.";
    registry.register_typed("rouge_l", Signature::new(doc, pair()), |args| {
        best(args, |answer, gold| {
            let (a, b) = (words(answer), words(gold));
            if a.is_empty() || b.is_empty() {
                return Ok(0.0);
            }
            let common = common_length(&a, &b, args.budget())? as f64;
            Ok(2.0 * common / (a.len() + b.len()) as f64)
        })
    });
    let doc = "A language model's judgement; `vr1_eval::Judge` binds it to a server.";
    let params = vec![
        Param { absent: Absent::Passed, ..Param::answer("answer", Type::Any) },
        Param::required("solution", Type::Any),
    ];
    registry.register_typed("judge", Signature::new(doc, params), |_| {
        Err(Error::verifier("judge", "no judge is bound; `vr1` takes one from VR1_JUDGE_URL and VR1_JUDGE_MODEL"))
    });
}

fn first_substring(text: &str) -> Option<&str> {
    let (yes, no) = (text.find("yes"), text.find("no"));
    match (yes, no) {
        (Some(yes), Some(no)) if no < yes => Some("no"),
        (Some(_), _) => Some("yes"),
        (None, Some(_)) => Some("no"),
        (None, None) => None,
    }
}

fn plain_number(text: &str) -> Option<f64> {
    let text = text.trim();
    match text.strip_suffix(['%', '％']) {
        Some(rest) => whole_number(rest).map(|number| number / 100.0),
        None => whole_number(text),
    }
}

fn words(text: &str) -> Vec<String> {
    text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

fn likeness(a: &str, b: &str, budget: &Budget) -> Result<f64> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.is_empty() && b.is_empty() {
        return Ok(1.0);
    }
    Ok(2.0 * common_length(&a, &b, budget)? as f64 / (a.len() + b.len()) as f64)
}

/// The length of the longest common subsequence, 64 columns at a time (Hyyrö's bit vectors).
fn common_length<T: Eq + std::hash::Hash>(a: &[T], b: &[T], budget: &Budget) -> Result<usize> {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    let blocks = short.len().div_ceil(64);
    budget.spend((long.len() as u64).saturating_mul(blocks as u64 + 1), "a comparison of texts")?;
    let mut places: HashMap<&T, Vec<u64>> = HashMap::new();
    for (at, item) in short.iter().enumerate() {
        places.entry(item).or_insert_with(|| vec![0; blocks])[at / 64] |= 1 << (at % 64);
    }
    let mut rows = vec![u64::MAX; blocks];
    for (index, item) in long.iter().enumerate() {
        if index % 1024 == 0 {
            // The clock is looked at even where the whole has been paid for.
            budget.spend(1, "a comparison of texts")?;
        }
        let Some(matches) = places.get(item) else { continue };
        let mut carry = 0_u64;
        for (row, matched) in rows.iter_mut().zip(matches) {
            let hit = *row & matched;
            let (sum, first) = row.overflowing_add(hit);
            let (sum, second) = sum.overflowing_add(carry);
            carry = u64::from(first || second);
            *row = sum | (*row & !matched);
        }
    }
    let mut length = rows.iter().map(|row| row.count_zeros() as usize).sum::<usize>();
    // Bits above the last item stay one, and count for nothing.
    length = length.min(short.len());
    Ok(length)
}

/// Insertions, deletions and substitutions over the longer length; 0 for two empty texts.
fn edits(a: &str, b: &str, budget: &Budget) -> Result<f64> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let most = a.len().max(b.len());
    if most == 0 {
        return Ok(0.0);
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        budget.spend(1 + b.len() as u64 / 4, "a comparison of texts")?;
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let up = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y)).min(row[j] + 1).min(up + 1);
            diagonal = up;
        }
    }
    Ok(row[b.len()] as f64 / most as f64)
}

fn bleu(answer: &str, gold: &str, budget: &Budget) -> Result<f64> {
    let (a, b) = (words(answer), words(gold));
    budget.spend(4 * (a.len() + b.len()) as u64, "bleu")?;
    if a.is_empty() || b.is_empty() {
        return Ok(0.0);
    }
    let mut log = 0.0;
    for n in 1..=4_usize {
        let mut left: HashMap<&[String], usize> = HashMap::new();
        b.windows(n).for_each(|gram| *left.entry(gram).or_insert(0) += 1);
        let mut hits = 0_usize;
        for gram in a.windows(n) {
            if let Some(count) = left.get_mut(gram).filter(|count| **count > 0) {
                *count -= 1;
                hits += 1;
            }
        }
        let total = a.len().saturating_sub(n - 1);
        let smooth = usize::from(n > 1);
        let precision = (hits + smooth) as f64 / (total + smooth).max(1) as f64;
        if precision == 0.0 {
            return Ok(0.0);
        }
        log += precision.ln() / 4.0;
    }
    let brevity = (1.0 - b.len() as f64 / a.len() as f64).min(0.0);
    Ok((log + brevity).exp())
}

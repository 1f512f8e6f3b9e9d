use std::collections::HashSet;

use super::score;
use crate::{Param, Registry, Signature, Type, Value};

pub(super) fn register(registry: &mut Registry) {
    let open = |doc, params| Signature { low: f64::NEG_INFINITY, high: f64::INFINITY, ..Signature::new(doc, params) };
    let doc = "Cosine length reward (arXiv 2502.03373): right answers (`correct` ≥ 0.7) from `min_correct` at 0 tokens down \
               to `max_correct` at `max_tokens`, wrong ones from `max_wrong` up to `min_wrong`. Beyond `max_tokens` it \
               stays; `compat='vlm_r1'` lets it swing back and takes every answer for right.";
    let params = vec![
        Param::required("correct", Type::Number),
        Param::required("tokens", Type::Number),
        Param::number("max_tokens", 1024.0),
        Param::number("min_wrong", 0.0),
        Param::number("max_wrong", -0.5),
        Param::number("min_correct", 1.0),
        Param::number("max_correct", 0.5),
        Param::choice("compat", &["none", "vlm_r1"]),
    ];
    registry.register_typed("cosine_length", open(doc, params), |args| {
        let published = args.text(7)? == "vlm_r1";
        let limit = args.number(2)?.max(1.0);
        let tokens = if published { args.number(1)? } else { args.number(1)?.clamp(0.0, limit) };
        let right = published || args.number(0)? >= 0.7;
        let (at_zero, at_limit) =
            if right { (args.number(5)?, args.number(6)?) } else { (args.number(4)?, args.number(3)?) };
        let turn = (1.0 - (std::f64::consts::PI * tokens / limit).cos()) / 2.0;
        Ok((at_zero + (at_limit - at_zero) * turn) as f32)
    });
    let doc = "VLM-R1's repetition penalty, from `penalty` to 0: −(1 − distinct / all) of word n-grams, or of labelled \
               boxes where the completion is a list of them.";
    let params = vec![Param::answer("completion", Type::Text), Param::number("n", 6.0), Param::number("penalty", -1.0)];
    registry.register_typed(
        "repetition",
        Signature { low: f64::NEG_INFINITY, high: 0.0, ..Signature::new(doc, params) },
        |args| {
            let (text, n) = (args.text(0)?, args.number(1)?.clamp(1.0, 64.0) as usize);
            args.budget().spend_bytes(text.len() * (4 + n), "repetition")?;
            let penalty = args.number(2)?.min(0.0);
            let share = match super::labelled_boxes(&Value::Text(text.into()), args.budget())?
                .filter(|boxes| !boxes.is_empty())
            {
                Some(boxes) => {
                    let items: HashSet<String> = boxes.iter().map(|b| format!("{:?}_{}", b.bbox, b.label)).collect();
                    items.len() as f64 / boxes.len() as f64
                }
                None => {
                    let lower = text.to_lowercase();
                    let words: Vec<&str> = lower.split_whitespace().collect();
                    if words.len() < n {
                        return Ok(0.0);
                    }
                    let mut grams: HashSet<&[&str]> = HashSet::new();
                    for gram in words.windows(n) {
                        args.budget().spend(n as u64, "repetition")?;
                        grams.insert(gram);
                    }
                    grams.len() as f64 / (words.len() - n + 1) as f64
                }
            };
            Ok(((1.0 - share) * penalty) as f32)
        },
    );
    let doc =
        "DAPO's overlong penalty (arXiv 2503.14476): 0 up to `max_tokens − buffer`, falling to −1 at `max_tokens`.";
    let params = vec![
        Param::required("tokens", Type::Number),
        Param::required("max_tokens", Type::Number),
        Param::required("buffer", Type::Number),
    ];
    registry.register_typed("overlong", Signature { low: -1.0, high: 0.0, ..Signature::new(doc, params) }, |args| {
        let (tokens, limit, buffer) = (args.number(0)?, args.number(1)?, args.number(2)?.max(1.0));
        Ok(((limit - buffer - tokens) / buffer).clamp(-1.0, 0.0) as f32)
    });
    let doc = "A reward for length: `rate` for each token up to `limit`, and nothing for a completion that was cut off. \
               `compat='visualthinker'`: without a limit, cut off or not. (Of a text or list, `length` is its size.)";
    let params = vec![
        Param::required("tokens", Type::Number),
        Param::number("rate", 0.001),
        Param::number("limit", 512.0),
        Param::choice("compat", &["none", "visualthinker"]),
    ];
    registry.register_typed("length", open(doc, params), |args| {
        let (tokens, rate) = (args.number(0)?, args.number(1)?);
        let counted = match args.text(3)? {
            "visualthinker" => tokens,
            _ if args.rollout().finished => tokens.min(args.number(2)?),
            _ => 0.0,
        };
        Ok((rate * counted) as f32)
    });
    let doc = "1 where the completion gives an answer without a thought of three words; its mean is the rate at which \
               thinking has vanished. A metric.";
    registry.register_typed(
        "answer_only_rate",
        Signature::new(doc, vec![Param::answer("completion", Type::Text)]),
        |args| {
            let text = args.text(0)?;
            args.budget().spend_bytes(text.len(), "answer_only_rate")?;
            let Some(at) = text.find("<answer>") else { return Ok(0.0) };
            let thought = text[..at].replace("<think>", " ").replace("</think>", " ");
            Ok(score(thought.split_whitespace().count() < 3))
        },
    );
}

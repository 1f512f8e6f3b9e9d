use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, Result};

/// Parameters that are learnt at a rate or with a decay of their own. Of several groups that a parameter fits, the first has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterGroup {
    /// Which parameters: parts of the model (`tower`, `merger`, `language`), places in the tree of names (`model.layers.0`), or
    /// whole names in which `*` is anything (`*.bias`); any of them.
    #[serde(rename = "match", deserialize_with = "one_or_several")]
    pub matches: Vec<String>,
    /// Their step size at its highest; the optimizer's own where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Their weight decay, whatever shape they have; the optimizer's own, on matrices alone, where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

impl ParameterGroup {
    pub(super) fn validate(&self) -> Result<()> {
        let refuse = |field, value: String, allowed| Err(Error::Setting { field, value, allowed });
        if self.matches.is_empty() {
            return refuse("optimizer.groups: `match`", "[]".to_owned(), "a pattern or several");
        }
        match (self.learning_rate, self.weight_decay) {
            (None, None) => {
                let allowed = "a group with a `learning_rate`, a `weight_decay` or both";
                refuse("optimizer.groups", format!("{:?}", self.matches), allowed)
            }
            (Some(rate), _) if !(rate > 0.0 && rate.is_finite()) => {
                let allowed = "above 0 and finite; what is not to learn is named in `freeze`";
                refuse("optimizer.groups: a `learning_rate`", rate.to_string(), allowed)
            }
            (_, Some(decay)) if !(0.0..f64::INFINITY).contains(&decay) => {
                refuse("optimizer.groups: a `weight_decay`", decay.to_string(), "0 or more and finite")
            }
            _ => Ok(()),
        }
    }
}

fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a pattern of names, or a list of such")]
    enum Either {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::One(pattern) => vec![pattern],
        Either::Several(patterns) => patterns,
    })
}

/// What a group is of: a parameter's name, and the part of the model that it is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) part: Option<&'a str>,
}

impl Named<'_> {
    fn fits(&self, pattern: &str) -> bool {
        let below =
            |place: &str| self.name.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.part == Some(pattern) || if pattern.contains('*') { fits(pattern, self.name) } else { below(pattern) }
    }
}

/// Whether `name` is `pattern`, in which `*` is anything.
fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let (first, last) = (pieces.next().unwrap_or_default(), pieces.next_back());
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = last else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// Which group each parameter is of.
///
/// # Errors
/// If a pattern fits no parameter, or none that groups before it have left.
pub(super) fn assigned(groups: &[ParameterGroup], parameters: &[Named<'_>]) -> Result<Vec<Option<usize>>> {
    let mut assigned = vec![None; parameters.len()];
    for (number, group) in groups.iter().enumerate() {
        let before = assigned.clone();
        for (entry, pattern) in group.matches.iter().enumerate() {
            let fitting = || (0..parameters.len()).filter(|&i| parameters[i].fits(pattern));
            let field = format!("optimizer.groups.{number}.match.{entry}");
            if fitting().next().is_none() {
                return Err(Error::NothingMatches { field, pattern: pattern.clone(), left: "" });
            }
            if fitting().all(|i| before[i].is_some()) {
                let left = " that groups before it do not have";
                return Err(Error::NothingMatches { field, pattern: pattern.clone(), left });
            }
            fitting().for_each(|i| assigned[i] = assigned[i].or(Some(number)));
        }
    }
    Ok(assigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything_and_a_place_ends_at_a_dot() {
        let fits = |pattern: &str, name: &str| Named { name, part: Some("language") }.fits(pattern);
        for (pattern, yes, no) in [
            ("*.bias", "model.layers.0.q_proj.bias", "model.layers.0.bias.weight"),
            ("model.layers.1", "model.layers.1.mlp.weight", "model.layers.10.mlp.weight"),
            ("model.layers.*.mlp.*", "model.layers.3.mlp.up.weight", "model.layers.3.attn.up.weight"),
            ("*norm*", "model.norm.weight", "model.embed.weight"),
            ("a*a", "aba", "a"),
            ("language", "anything", "visual"),
            ("*", "anything", ""),
            ("*.lora_B.weight", "model.layers.0.q_proj.lora_B.weight", "model.layers.0.q_proj.lora_A.weight"),
        ] {
            assert!(fits(pattern, yes), "{pattern} {yes}");
            assert!(no.is_empty() || pattern == "language" || !fits(pattern, no), "{pattern} {no}");
        }
        assert!(!Named { name: "language_model.x", part: None }.fits("language"));
    }

    #[test]
    fn the_first_group_that_fits_has_a_parameter() {
        let named = |name, part| Named { name, part: Some(part) };
        let parameters =
            [named("visual.a.bias", "tower"), named("visual.a.weight", "tower"), named("model.b.bias", "language")];
        let group = |patterns: &[&str]| ParameterGroup {
            matches: patterns.iter().map(|&pattern| pattern.to_owned()).collect(),
            ..ParameterGroup::default()
        };
        let groups = [group(&["*.bias"]), group(&["tower"])];
        assert_eq!(assigned(&groups, &parameters).ok(), Some(vec![Some(0), Some(1), Some(0)]));
        // Patterns of one group do not take anything from each other.
        assert!(assigned(&[group(&["*.bias", "model.b"])], &parameters).is_ok());
        let refused = |groups: &[ParameterGroup]| assigned(groups, &parameters).err().map(|error| error.to_string());
        let nowhere = refused(&[group(&["tower", "merger"])]).unwrap_or_default();
        assert!(nowhere.contains("optimizer.groups.0.match.1") && nowhere.contains("\"merger\""), "{nowhere}");
        let taken = refused(&[group(&["*"]), group(&["tower"])]).unwrap_or_default();
        assert!(taken.contains("optimizer.groups.1.match.0") && taken.contains("before it"), "{taken}");
    }
}

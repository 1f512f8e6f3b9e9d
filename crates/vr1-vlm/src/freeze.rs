use tch::Tensor;

use crate::{Backbone, Error, Model, Result};

/// Parts of a model by the words that settings have for them: a word, where its parameters are, and where they are not.
const PARTS: [(&str, &[&str], &[&str]); 3] = [
    ("tower", &["visual"], &["visual.merger"]),
    ("merger", &["visual.merger"], &[]),
    ("language", &["model", "lm_head"], &[]),
];

/// Whether `name` is the place `prefix` or below it.
fn below(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether `entry`, a part's word or a place in the tree of names, holds the parameter `name`.
fn holds(entry: &str, name: &str) -> bool {
    match PARTS.iter().find(|(word, _, _)| *word == entry) {
        Some((_, within, without)) => {
            within.iter().any(|prefix| below(name, prefix)) && !without.iter().any(|prefix| below(name, prefix))
        }
        None => below(name, entry),
    }
}

impl Model {
    /// Makes the parameters that training moves collect gradients, and no others; gives those back by name.
    ///
    /// With an adapter these are its own, else all; but for what `freeze` names: `tower` (the vision encoder without its
    /// merger), `merger`, `language`, or a place in the tree of names such as `visual`, `model.layers.3` or
    /// `model.embed_tokens`.
    ///
    /// # Errors
    /// If an entry of `freeze` names nothing.
    pub(crate) fn trained(&self, freeze: &[String]) -> Result<Vec<(String, Tensor)>> {
        if let Some(entry) = freeze.iter().find(|entry| !self.parameters().iter().any(|(name, _)| holds(entry, name))) {
            return Err(Error::NoSuchPart { entry: entry.clone() });
        }
        Ok(self.parameters().train(|name| !freeze.iter().any(|entry| holds(entry, name))))
    }
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn a_place_ends_at_a_dot() {
        assert!(holds("model.layers.1", "model.layers.1.mlp.up_proj.weight"));
        assert!(!holds("model.layers.1", "model.layers.10.mlp.up_proj.weight"));
    }

    #[test]
    fn every_parameter_is_in_one_part() {
        for (name, part) in [
            ("visual.blocks.0.attn.qkv.lora_A.weight", "tower"),
            ("visual.patch_embed.proj.weight", "tower"),
            ("visual.merger.ln_q.weight", "merger"),
            ("model.norm.weight", "language"),
            ("lm_head.weight", "language"),
        ] {
            let found: Vec<&str> = ["tower", "merger", "language"].into_iter().filter(|p| holds(p, name)).collect();
            assert_eq!(found, [part], "{name}");
        }
    }
}

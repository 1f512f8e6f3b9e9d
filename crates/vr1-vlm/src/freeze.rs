use tch::Tensor;

use crate::{Backbone, Error, Model, Result};

/// Part of a model: the word that settings have for it, where its parameters are, and where they are not.
pub(crate) type ModelPart = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Whether `name` is the place `prefix` or below it.
fn below(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether `entry`, a part's word or a place in the tree of names, holds the parameter `name`.
fn holds(parts: &[ModelPart], entry: &str, name: &str) -> bool {
    match parts.iter().find(|(word, _, _)| *word == entry) {
        Some((_, within, without)) => {
            within.iter().any(|prefix| below(name, prefix)) && !without.iter().any(|prefix| below(name, prefix))
        }
        None => below(name, entry),
    }
}

impl Model {
    /// The part that holds the parameter `name`.
    pub(crate) fn part_of(&self, name: &str) -> Option<&'static str> {
        let parts = self.config().parts();
        parts.iter().map(|(word, _, _)| *word).find(|word| holds(parts, word, name))
    }

    /// Makes the parameters that training moves collect gradients, and no others; gives those back by name.
    ///
    /// With an adapter these are its own, else all; but for what `freeze` names: `tower` (the vision encoder without its
    /// merger), `merger`, `language`, or a place in the tree of names such as `visual`, `model.layers.3` or
    /// `model.embed_tokens`.
    ///
    /// # Errors
    /// If an entry of `freeze` names nothing.
    pub(crate) fn trained(&self, freeze: &[String]) -> Result<Vec<(String, Tensor)>> {
        let parts = self.config().parts();
        let unknown = |entry: &&String| !self.parameters().iter().any(|(name, _)| holds(parts, entry, name));
        if let Some(entry) = freeze.iter().find(unknown) {
            let words: Vec<String> = parts.iter().map(|(word, _, _)| format!("`{word}`")).collect();
            return Err(Error::NoSuchPart { entry: entry.clone(), parts: words.join(", ") });
        }
        Ok(self.parameters().train(|name| !freeze.iter().any(|entry| holds(parts, entry, name))))
    }
}

#[cfg(test)]
mod tests {
    use super::holds as holds_in;
    use crate::families::FAMILIES;

    fn holds_of(model_type: &str, entry: &str, name: &str) -> bool {
        let family = FAMILIES.iter().find(|family| family.model_type == model_type);
        family.is_some_and(|family| holds_in(family.parts, entry, name))
    }

    fn holds(entry: &str, name: &str) -> bool {
        holds_of("qwen2_vl", entry, name)
    }

    #[test]
    fn a_place_ends_at_a_dot() {
        assert!(holds("model.layers.1", "model.layers.1.mlp.up_proj.weight"));
        assert!(!holds("model.layers.1", "model.layers.10.mlp.up_proj.weight"));
    }

    #[test]
    fn every_parameter_is_in_one_part() {
        for (family, name, part) in [
            ("qwen2_vl", "visual.blocks.0.attn.qkv.lora_A.weight", "tower"),
            ("qwen2_vl", "visual.patch_embed.proj.weight", "tower"),
            ("qwen2_vl", "visual.merger.ln_q.weight", "merger"),
            ("qwen2_vl", "model.norm.weight", "language"),
            ("qwen2_vl", "lm_head.weight", "language"),
            ("mllama", "vision_model.class_embedding", "tower"),
            ("mllama", "vision_model.global_transformer.layers.0.gate_attn", "tower"),
            ("mllama", "multi_modal_projector.bias", "merger"),
            ("mllama", "model.layers.3.cross_attn_attn_gate", "language"),
        ] {
            let holds = |part: &&str| holds_of(family, part, name);
            let found: Vec<&str> = ["tower", "merger", "language"].into_iter().filter(holds).collect();
            assert_eq!(found, [part], "{name}");
        }
    }
}

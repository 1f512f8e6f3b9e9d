use serde::Deserialize;
use serde_json::json;
use vr1_nn::{Path, Result, check_sizes, read_config, with_defaults};
use vr1_processor::{Patches, Tiles};

use super::Idefics3Vision;
use crate::tower::{Cut, Sections, VisionConfig, VisionTower};
use crate::vit::{Form, VitConfig};

/// The keys of the whole file that say how patches are joined.
#[derive(Debug, Deserialize)]
struct Keys {
    scale_factor: i64,
}

/// Tower and connector.
#[derive(Debug, Clone)]
pub(super) struct Idefics3VisionConfig {
    pub(super) tower: VitConfig,
    /// Side of the squares of patches that become a token.
    pub(super) scale_factor: i64,
    /// The language model's width.
    pub(super) hidden_size: i64,
}

/// The tower of Idefics3 and SmolVLM. A key that is left out has the default of transformers' classes.
///
/// # Errors
/// If a key is of the wrong type or impossible.
pub fn idefics3(sections: &Sections<'_>) -> Result<Box<dyn VisionConfig>> {
    let Keys { scale_factor } = read_config(&with_defaults(sections.outer, json!({ "scale_factor": 2 })))?;
    check_sizes(&[("scale_factor", scale_factor)])?;
    let tower = VitConfig::read(sections.vision, Form::Idefics3)?;
    Ok(Box::new(Idefics3VisionConfig { tower, scale_factor, hidden_size: sections.hidden_size }))
}

impl VisionConfig for Idefics3VisionConfig {
    fn cut(&self) -> Option<Cut> {
        None
    }

    fn tokens(&self, patches: &Patches) -> Option<usize> {
        let ([tiles, rows, columns], joined) = (patches.grid_thw, self.scale_factor as usize);
        let square = rows == columns && rows % joined == 0 && patches.tiles == Tiles::Whole;
        (square && self.tower.takes(patches)).then(|| tiles * (rows / joined).pow(2))
    }

    fn wants(&self) -> String {
        format!("square {}, {} × {1} of them a token", self.tower.wants(), self.scale_factor)
    }

    fn output(&self) -> i64 {
        self.hidden_size
    }

    fn build(&self, root: &Path<'_>) -> Box<dyn VisionTower> {
        Box::new(Idefics3Vision::new(root, self))
    }
}

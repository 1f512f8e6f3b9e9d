use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use vr1_nn::{Error, Path, Result, check_sizes, read_config, with_defaults};
use vr1_processor::{Patches, Tiles};

use super::AriaVision;
use crate::tower::{Cut, Sections, VisionConfig, VisionTower};
use crate::vit::{Form, VitConfig};

/// The keys of the whole file that say what is made of the tower's states.
#[derive(Debug, Deserialize)]
struct Keys {
    vision_feature_layer: i64,
    projector_patch_to_query_dict: Option<BTreeMap<String, i64>>,
}

/// Tower and projector.
#[derive(Debug, Clone)]
pub(super) struct AriaVisionConfig {
    pub(super) tower: VitConfig,
    /// Behind how many blocks its states are read.
    pub(super) behind: i64,
    /// How many queries look at a tile of so many patches.
    pub(super) queries: BTreeMap<i64, i64>,
    /// The language model's width.
    pub(super) hidden_size: i64,
}

/// The tower of Aria. A key that is left out has the default of transformers' classes.
///
/// # Errors
/// If a key is of the wrong type or impossible.
pub fn aria(sections: &Sections<'_>) -> Result<Box<dyn VisionConfig>> {
    let left_out = json!({ "vision_feature_layer": -1, "projector_patch_to_query_dict": null });
    let keys: Keys = read_config(&with_defaults(sections.outer, left_out))?;
    let tower = VitConfig::read(sections.vision, Form::Idefics3)?;
    let (depth, layer) = (tower.num_hidden_layers, keys.vision_feature_layer);
    let behind = if layer < 0 { layer + depth + 1 } else { layer };
    if !(0..=depth).contains(&behind) {
        let reason = format!("`vision_feature_layer`: {layer} is none of the states of {depth} blocks");
        return Err(Error::Config(reason));
    }
    let mut queries = BTreeMap::new();
    for (patches, count) in keys.projector_patch_to_query_dict.into_iter().flatten() {
        let Ok(number) = patches.parse() else {
            let reason = format!("`projector_patch_to_query_dict`: {patches:?} is no number of patches");
            return Err(Error::Config(reason));
        };
        check_sizes(&[("projector_patch_to_query_dict", number), ("projector_patch_to_query_dict", count)])?;
        queries.insert(number, count);
    }
    if queries.is_empty() {
        queries.extend([(1225, 128), (4900, 256)]);
    }
    Ok(Box::new(AriaVisionConfig { tower, behind, queries, hidden_size: sections.hidden_size }))
}

impl AriaVisionConfig {
    /// How many queries look at a tile of these pictures.
    pub(super) fn queries(&self, patches: &Patches) -> Option<i64> {
        let [_, rows, columns] = patches.grid_thw;
        self.queries.get(&((rows * columns) as i64)).copied()
    }
}

impl VisionConfig for AriaVisionConfig {
    fn cut(&self) -> Option<Cut> {
        None
    }

    fn tokens(&self, patches: &Patches) -> Option<usize> {
        let [tiles, rows, columns] = patches.grid_thw;
        let within = match &patches.tiles {
            Tiles::Corners(corners) => {
                let held = |&[high, wide]: &[usize; 2]| (1..=rows).contains(&high) && (1..=columns).contains(&wide);
                corners.len() == tiles && corners.iter().all(held)
            }
            other => *other == Tiles::Whole,
        };
        let queries = self.queries(patches).filter(|_| within && self.tower.takes(patches))?;
        Some(tiles * queries as usize)
    }

    fn wants(&self) -> String {
        let counts: Vec<String> = self.queries.keys().map(i64::to_string).collect();
        format!("{}, {} of them a tile", self.tower.wants(), counts.join(" or "))
    }

    fn output(&self) -> i64 {
        self.hidden_size
    }

    fn build(&self, root: &Path<'_>) -> Box<dyn VisionTower> {
        Box::new(AriaVision::new(root, self))
    }
}

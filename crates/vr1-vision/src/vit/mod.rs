//! The plain vision transformer ([arXiv:2010.11929](https://arxiv.org/abs/2010.11929)) that CLIP
//! ([arXiv:2103.00020](https://arxiv.org/abs/2103.00020)), SigLIP ([arXiv:2303.15343](https://arxiv.org/abs/2303.15343)) and
//! Idefics3 ([arXiv:2408.12637](https://arxiv.org/abs/2408.12637)) share: learnt positions, and attention among all patches
//! of a tile.

mod block;
mod config;
mod model;
mod positions;

pub(crate) use config::{Form, Reads, VitConfig, tiles};
pub(crate) use model::Vit;

//! `I` pictures, `T` tiles of a picture, `P` tokens of a tile, `R` arrangements of tiles, `E` width.

use tch::Tensor;
use vr1_nn::{Embedding, Init, Path};

use super::MllamaVisionConfig;

/// Tells tiles where in their picture they are, by as much as a gate is open.
#[derive(Debug)]
pub(super) struct TileEmbedding {
    gate: Tensor,
    embedding: Embedding,
    tiles: i64,
    width: i64,
}

impl TileEmbedding {
    pub(super) fn new(path: &Path<'_>, config: &MllamaVisionConfig) -> Self {
        let (tiles, width) = (config.max_num_tiles, config.hidden_size);
        Self {
            gate: path.get("gate", &[1], Init::Zeros),
            embedding: Embedding::new(&path.sub("embedding"), config.arrangements() + 1, tiles * width),
            tiles,
            width,
        }
    }

    /// What is added to the tiles of pictures of these arrangements, `[I]`: `[I, T, 1, E]`.
    pub(super) fn forward(&self, arrangements: &Tensor) -> Tensor {
        self.embedding.forward(arrangements).view([-1, self.tiles, 1, self.width]) * self.gate.tanh()
    }
}

/// Tells the tokens of a tile where in it they are, and by as much as a gate is open instead where in their picture.
#[derive(Debug)]
pub(super) struct PositionEmbedding {
    gate: Tensor,
    embedding: Tensor,
    tile_embedding: Embedding,
    tiles: i64,
}

impl PositionEmbedding {
    pub(super) fn new(path: &Path<'_>, config: &MllamaVisionConfig) -> Self {
        let (tiles, tokens, width) = (config.max_num_tiles, config.tile_tokens(), config.hidden_size);
        let rows = config.arrangements() + 1;
        Self {
            gate: path.get("gate", &[1], Init::Zeros),
            embedding: path.get("embedding", &[tokens, width], Init::Normal(0.02)),
            tile_embedding: Embedding::new(&path.sub("tile_embedding"), rows, tiles * tokens * width),
            tiles,
        }
    }

    /// What is added to the tokens of pictures of these arrangements, `[I]`: `[I, T, P, E]`.
    pub(super) fn forward(&self, arrangements: &Tensor) -> Tensor {
        let (size, gate) = (self.embedding.size(), self.gate.tanh());
        let of_tiles = self.tile_embedding.forward(arrangements).view([-1, self.tiles, size[0], size[1]]);
        &self.embedding * (1.0 - &gate) + of_tiles * gate
    }
}

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vr1_nn::{Activation, Error, Heads, Result, check_sizes, read_config, with_defaults};
use vr1_processor::{Patches, Tiles};

/// What the transformers of this kind differ in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// A token that stands for the whole tile before its patches, and a norm before the blocks; no bias on the patches.
    #[default]
    Clip,
    /// Patches alone.
    Siglip,
    /// The same, whose positions are in proportion to the sides of what is shown.
    Idefics3,
}

/// Which of its states are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Those behind the last block, normed.
    Normed,
    /// Those behind so many blocks, side by side.
    Behind(Vec<i64>),
}

/// The keys of `vision_config`; Hugging Face's names.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct VitConfig {
    pub(crate) hidden_size: i64,
    pub(crate) intermediate_size: i64,
    pub(crate) num_hidden_layers: i64,
    num_attention_heads: i64,
    num_channels: i64,
    /// Side of the tiles that it was trained on, in pixels.
    image_size: i64,
    patch_size: i64,
    pub(crate) hidden_act: Activation,
    pub(crate) layer_norm_eps: f64,
    /// Whether files hold what SigLIP makes one vector of a picture with, which nothing here reads.
    #[serde(default)]
    vision_use_head: bool,
    #[serde(skip)]
    pub(crate) form: Form,
}

impl Form {
    /// What transformers' class has for keys that are left out.
    fn defaults(self) -> Value {
        let (hidden, heads, patch, act, epsilon) = match self {
            Self::Clip => (768, 12, 32, "quick_gelu", 1e-5),
            Self::Siglip => (768, 12, 16, "gelu_pytorch_tanh", 1e-6),
            Self::Idefics3 => (1152, 16, 32, "gelu_pytorch_tanh", 1e-6),
        };
        json!({
            "hidden_size": hidden, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": heads,
            "num_channels": 3, "image_size": 224, "patch_size": patch, "hidden_act": act, "layer_norm_eps": epsilon,
            "vision_use_head": self == Self::Siglip,
        })
    }
}

impl VitConfig {
    /// The transformer that a `vision_config` describes; a key that is left out has the default of transformers' class.
    pub(crate) fn read(json: &Map<String, Value>, form: Form) -> Result<Self> {
        let config = Self { form, ..read_config(&with_defaults(json, form.defaults()))? };
        check_sizes(&[
            ("hidden_size", config.hidden_size),
            ("intermediate_size", config.intermediate_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", config.num_attention_heads),
            ("num_channels", config.num_channels),
            ("image_size", config.image_size),
            ("patch_size", config.patch_size),
        ])?;
        let (width, heads) = (config.hidden_size, config.num_attention_heads);
        if width % heads != 0 {
            return Err(Error::Config(format!("`num_attention_heads`: {heads} does not divide `hidden_size` {width}")));
        }
        if config.side() < 1 {
            let (image, patch) = (config.image_size, config.patch_size);
            return Err(Error::Config(format!("`image_size`: {image} holds no patch of {patch} × {patch}")));
        }
        Ok(config)
    }

    pub(crate) fn heads(&self) -> Heads {
        let dim = self.hidden_size / self.num_attention_heads;
        Heads { count: self.num_attention_heads, key_value: self.num_attention_heads, dim }
    }

    /// Patches along a side of the tiles that it was trained on.
    pub(crate) fn side(&self) -> i64 {
        self.image_size / self.patch_size
    }

    /// Tokens before the patches of a tile.
    pub(crate) fn before(&self) -> i64 {
        i64::from(self.form == Form::Clip)
    }

    /// Whether files hold a head that nothing here reads.
    pub(crate) fn head(&self) -> bool {
        self.form == Form::Siglip && self.vision_use_head
    }

    /// The shape of the matrix that embeds a patch: a convolution whose stride is its kernel.
    pub(crate) fn kernel(&self) -> [i64; 4] {
        [self.hidden_size, self.num_channels, self.patch_size, self.patch_size]
    }

    /// How many numbers a flattened patch has.
    pub(crate) fn values(&self) -> i64 {
        self.num_channels * self.patch_size * self.patch_size
    }

    /// Whether it takes tiles of these patches: of as many as it was trained on, but where positions are in proportion.
    pub(crate) fn takes(&self, patches: &Patches) -> bool {
        let [_, rows, columns] = patches.grid_thw.map(|n| n as i64);
        let sides = self.form == Form::Idefics3 || [rows, columns] == [self.side(); 2];
        sides && patches.pixel_values.dim().1 as i64 == self.values()
    }

    /// What it takes, in words.
    pub(crate) fn wants(&self) -> String {
        let (side, values) = (self.side(), self.values());
        match self.form {
            Form::Idefics3 => format!("tiles in patches of {values} values"),
            Form::Clip | Form::Siglip => format!("tiles of {side} × {side} patches of {values} values"),
        }
    }
}

/// Lines and columns of patches of each tile, those that show something.
pub(crate) fn tiles(patches: &Patches) -> Vec<[i64; 2]> {
    let [count, rows, columns] = patches.grid_thw;
    let sides = match &patches.tiles {
        Tiles::Corners(corners) => corners.clone(),
        _ => vec![[rows, columns]; count],
    };
    sides.into_iter().map(|sides| sides.map(|side| side as i64)).collect()
}

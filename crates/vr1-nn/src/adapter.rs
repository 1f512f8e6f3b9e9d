use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::lora::Picker;
use crate::{LoraConfig, Names, Result};

/// A LoRA adapter that a model is built with.
#[derive(Debug)]
pub struct Adapter {
    pub(crate) config: LoraConfig,
    pub(crate) picker: Picker,
    pub(crate) source: AdapterSource,
}

#[derive(Debug)]
pub(crate) enum AdapterSource {
    /// `A` is drawn, `B` is zero: the model is as it was.
    Random { seed: u64 },
    /// A file in PEFT's layout.
    File(Checkpoint),
    /// Where the model's other parameters come from.
    Held,
}

impl Adapter {
    /// An adapter that changes nothing yet; what training starts from.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn random(config: LoraConfig, seed: u64) -> Result<Self> {
        Self::new(config, AdapterSource::Random { seed })
    }

    /// An adapter in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors` in the directory `dir`.
    ///
    /// # Errors
    /// If a file is missing or broken, or the settings are not known here.
    pub fn open(dir: &Path) -> Result<Self> {
        let config = LoraConfig::from_peft(&dir.join("adapter_config.json"))?;
        Self::new(config, AdapterSource::File(Checkpoint::open_adapter(&dir.join("adapter_model.safetensors"))?))
    }

    pub(crate) fn new(config: LoraConfig, source: AdapterSource) -> Result<Self> {
        config.validate()?;
        Ok(Self { picker: Picker::new(&config)?, config, source })
    }

    /// The same for a model whose files have these `names`.
    pub(crate) fn of(self, names: Names) -> Result<Self> {
        let source = match self.source {
            AdapterSource::File(checkpoint) => AdapterSource::File(checkpoint.adapting(names)?),
            other => other,
        };
        Ok(Self { source, ..self })
    }

    /// Its settings.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }
}

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tch::{Device, Kind};
use vr1_nn::{Adapter, Checkpoint};
use vr1_vlm::{Backbone, Model, ModelConfig};

use crate::{check_weights, say};

#[derive(Args)]
pub(crate) struct Export {
    /// A model directory or a Hub id.
    #[arg(long, value_name = "DIR|HUB_ID")]
    model: String,
    /// A LoRA adapter in PEFT's layout, merged into the model.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Write the adapter alone, in today's layout, instead of merging it.
    #[arg(long, requires = "adapter")]
    adapter_only: bool,
    /// Where the Hugging Face directory is put; there is nothing there yet.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The kind of number of the weights: `f32`, `bf16` or `f16`; that of the model where it is not given.
    #[arg(long)]
    dtype: Option<String>,
    /// Refuse weights that are not finite; else they are told.
    #[arg(long)]
    check_weights: bool,
}

impl Export {
    pub(crate) fn run(self) -> Result<()> {
        ensure!(!self.out.exists(), "--out: {} is there already", self.out.display());
        let dir = vr1_vlm::resolve(&self.model)?;
        let kind = match &self.dtype {
            Some(name) => vr1::kind(name)?,
            None => stored(&dir)?,
        };
        let mut model = Model::load(&dir, Device::Cpu, kind)?;
        if let Some(adapter) = &self.adapter {
            model = model.with_adapter(Adapter::open(adapter)?)?;
        }
        check_weights(&model, self.check_weights)?;
        // Made aside and renamed, so that what stands at `out` is whole.
        let aside = self.out.with_extension("part");
        if aside.exists() {
            bail!("{} is in the way: it was left by an export that did not finish; remove it", aside.display());
        }
        fs::create_dir_all(&aside).with_context(|| format!("cannot write {}", aside.display()))?;
        let filled = match self.adapter_only {
            true => model.save_adapter(&aside, Some(&self.model)).map_err(Into::into),
            false => fill(&model, kind, &dir, &aside),
        };
        let done = filled.and_then(|()| {
            fs::rename(&aside, &self.out).with_context(|| format!("cannot write {}", self.out.display()))
        });
        if done.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_dir_all(&aside);
        }
        done?;
        say(format_args!("{} parameters in {}", model.parameters().count(), self.out.display()));
        Ok(())
    }
}

/// The kind that the weights of `dir` are stored in.
fn stored(dir: &Path) -> Result<Kind> {
    let checkpoint = Checkpoint::open(dir, ModelConfig::from_dir(dir)?.names())?;
    let kinds = [Kind::Float, Kind::BFloat16, Kind::Half];
    let has = |kind: &&Kind| checkpoint.names().any(|name| checkpoint.kind(name) == Some(**kind));
    Ok(kinds.iter().find(has).copied().unwrap_or(Kind::Float))
}

/// The model, and beside it whatever `from` has that is neither weights nor their configuration.
fn fill(model: &Model, kind: Kind, from: &Path, to: &Path) -> Result<()> {
    model.save(to, kind)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let text = [".json", ".jinja", ".txt"].iter().any(|end| name.ends_with(end));
        let ours = name == "config.json" || name.ends_with(".index.json") || name.starts_with("adapter_");
        if text && !ours && path.is_file() {
            fs::copy(&path, to.join(name)).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

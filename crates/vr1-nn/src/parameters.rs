use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use safetensors::serialize_to_file;
use tch::{Kind, Tensor};
use vr1_torch::{Storage, guarded};

use crate::blocks::check_here;
use crate::{Error, Hooked, LayerHook, LoraConfig, Modules, Names, Published, Result, Stored};

pub(crate) const LORA_A: &str = "lora_A.weight";
pub(crate) const LORA_B: &str = "lora_B.weight";

/// Whether a parameter is an adapter's.
pub(crate) fn is_adapter(name: &str) -> bool {
    [LORA_A, LORA_B].iter().any(|end| name.ends_with(end))
}

/// A model's parameters by name. The tensors are the model's own: what changes here changes there.
#[derive(Debug)]
pub struct Parameters {
    tensors: BTreeMap<String, Tensor>,
    /// How files hold those that they do not hold whole.
    stored: BTreeMap<String, Stored>,
    names: Names,
    /// Those that nothing is computed with.
    idle: BTreeSet<String>,
    adapter: Option<LoraConfig>,
    layers: Vec<(String, Hooked)>,
}

impl Parameters {
    pub(crate) fn new(tensors: BTreeMap<String, Tensor>, names: Names, adapter: Option<LoraConfig>) -> Self {
        let (stored, idle, layers) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        Self { tensors, stored, names, idle, adapter, layers }
    }

    /// The same, with these layers.
    pub(crate) fn with_layers(self, layers: Vec<(String, Hooked)>) -> Self {
        Self { layers, ..self }
    }

    /// The places of the layers that are [held](crate::Held) one by one, in the order in which they run, with the hook of each: the blocks of
    /// a tower, those of a decoder.
    pub fn layers(&self) -> &[(String, Hooked)] {
        &self.layers
    }

    /// The names of the parameters of the layer at `place`, without its adapters'.
    pub fn of_layer<'a>(&'a self, place: &'a str) -> impl Iterator<Item = (&'a str, &'a Tensor)> {
        let below = move |name: &str| name.strip_prefix(place).is_some_and(|rest| rest.starts_with('.'));
        self.iter().filter(move |(name, _)| below(name) && !is_adapter(name))
    }

    fn hook(&self, name: &str) -> Option<Arc<dyn LayerHook>> {
        let below = |place: &str| name.strip_prefix(place).is_some_and(|rest| rest.starts_with('.'));
        self.layers.iter().find(|(place, _)| below(place)).and_then(|(_, hooked)| hooked.get())
    }

    /// The same, of which nothing is computed with these.
    pub(crate) fn with_idle(self, idle: BTreeSet<String>) -> Self {
        Self { idle, ..self }
    }

    /// The same, of which files hold some as these say.
    pub(crate) fn with_stored(self, stored: BTreeMap<String, Stored>) -> Self {
        Self { stored, ..self }
    }

    /// Names and tensors, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// One parameter.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The settings of the adapter that is among them.
    pub fn adapter(&self) -> Option<&LoraConfig> {
        self.adapter.as_ref()
    }

    /// What files call them.
    pub fn names(&self) -> Names {
        self.names
    }

    /// How many numbers there are in all.
    pub fn count(&self) -> usize {
        self.tensors.values().map(Tensor::numel).sum()
    }

    /// Makes the parameters that `trained` picks by name collect gradients, and no others; gives those back. Where there is
    /// an adapter, only its own are picked; those that nothing is computed with never are.
    pub fn train(&self, trained: impl Fn(&str) -> bool) -> Vec<(String, Tensor)> {
        let mut picked = Vec::new();
        for (name, tensor) in &self.tensors {
            let own = self.adapter.is_none() || is_adapter(name);
            let tensor = tensor.set_requires_grad(own && !self.idle.contains(name) && trained(name));
            if tensor.requires_grad() {
                picked.push((name.clone(), tensor));
            }
        }
        picked
    }

    /// Checks that every number is finite, of those that are here.
    ///
    /// # Errors
    /// If one is not; the first parameter with such a one is named.
    pub fn check_finite(&self) -> Result<()> {
        // A NaN is both the least and the greatest; no other way to look at every number is as fast.
        let finite = |tensor: &Tensor| {
            let (least, greatest) = tensor.aminmax(None, false);
            least.double_value(&[]).is_finite() && greatest.double_value(&[]).is_finite()
        };
        let here = |tensor: &Tensor| Storage::of(tensor).is_ok_and(|storage| storage.is_there());
        match tch::no_grad(|| self.tensors.iter().find(|(_, tensor)| here(tensor) && !finite(tensor))) {
            Some((name, _)) => Err(Error::NotFinite { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Copies the values of `other` into these parameters.
    ///
    /// # Errors
    /// If a name is missing there or a shape differs, or one of the two is not here.
    pub fn copy_from(&self, other: &Self) -> Result<()> {
        tch::no_grad(|| {
            for (name, tensor) in &self.tensors {
                let source = other.get(name).ok_or_else(|| Error::Config(format!("no parameter {name} to copy")))?;
                check_here(name, tensor).and_then(|()| check_here(name, source))?;
                tensor.shallow_clone().f_copy_(source)?;
            }
            Ok(())
        })
    }

    /// All parameters as `kind` under their published names, in an order in which those of a layer follow each other; an adapter is merged into
    /// the layers that it adapts.
    ///
    /// # Errors
    /// If `kind` is not one weights are saved in.
    pub fn published(&self, kind: Kind) -> Result<Vec<Published<'_>>> {
        let own = self.tensors.iter().filter(|(name, _)| !is_adapter(name));
        let tour = Rc::default();
        let mut all = Vec::with_capacity(self.tensors.len());
        for (name, tensor) in own {
            let stored = self.stored.get(name).copied().unwrap_or(Stored::Whole);
            for (entry, part) in tch::no_grad(|| stored.entries(name, tensor)) {
                let (hook, adaptation) = (self.hook(name), self.adaptation(name));
                all.push(Published::new(self.names.published(&entry), part, kind, adaptation, hook, &tour)?);
            }
        }
        Ok(all)
    }

    /// Writes all parameters, as they are [published](Self::published), into the safetensors `file`, by way of a file beside it.
    ///
    /// # Errors
    /// If `kind` is not one weights are saved in, or the file cannot be written.
    pub fn save(&self, file: &Path, kind: Kind) -> Result<()> {
        write(self.published(kind)?, file)
    }

    /// Writes the adapter in PEFT's layout into the directory `dir`: `adapter_config.json` and
    /// `adapter_model.safetensors`. `base` is the adapted model's directory or Hub id.
    ///
    /// # Errors
    /// If there is no adapter or a file cannot be written.
    pub fn save_adapter(&self, dir: &Path, base: Option<&str>) -> Result<()> {
        let config = self.adapter.as_ref().ok_or_else(|| Error::Config("the model has no adapter".to_owned()))?;
        let own = self.tensors.iter().filter(|(name, _)| is_adapter(name));
        let tour = Rc::default();
        let all = own.map(|(name, tensor)| {
            let name = format!("base_model.model.{}", self.names.today(name));
            Published::new(name, tensor.shallow_clone(), Kind::Float, None, None, &tour)
        });
        write(all.collect::<Result<_>>()?, &dir.join("adapter_model.safetensors"))?;
        let file = dir.join("adapter_config.json");
        let text = format!("{:#}\n", self.spelt_out(config).to_peft(base));
        std::fs::write(&file, text).map_err(|source| Error::Io { path: file, source })
    }

    /// The adapter's settings as PEFT is to read them: what it calls `all-linear` is experts too, which are no linear layers here.
    fn spelt_out(&self, config: &LoraConfig) -> LoraConfig {
        if self.stored.is_empty() || config.target_modules != Modules::default() {
            return config.clone();
        }
        let layers =
            self.tensors.keys().filter_map(|name| name.strip_suffix(LORA_A)?.trim_end_matches('.').rsplit('.').next());
        let names: BTreeSet<&str> = layers.collect();
        let names = names.into_iter().map(str::to_owned).collect();
        LoraConfig { target_modules: Modules::Names(names), ..config.clone() }
    }

    /// The two matrices that adapt a parameter, and the scale of their product.
    pub(crate) fn adaptation(&self, name: &str) -> Option<(&Tensor, &Tensor, f64)> {
        let layer = name.strip_suffix(".weight")?;
        let part = |end: &str| self.tensors.get(&format!("{layer}.{end}"));
        Some((part(LORA_A)?, part(LORA_B)?, self.adapter.as_ref()?.scale()))
    }
}

fn write(all: Vec<Published<'_>>, file: &Path) -> Result<()> {
    let views = all.into_iter().map(|one| (one.name().to_owned(), one));
    let bad = |e: safetensors::SafeTensorError| Error::Safetensors { path: file.to_owned(), reason: e.to_string() };
    let aside = file.with_extension("safetensors.part");
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    guarded(|| serialize_to_file(views, Some(format), &aside))?.map_err(bad)?;
    std::fs::rename(&aside, file).map_err(|source| Error::Io { path: file.to_owned(), source })
}

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};
use vr1_torch::MappedFile;

use crate::{Error, Result};

/// The weights of a model directory: one safetensors file, or several with an index, mapped into memory.
///
/// Names are given as published checkpoints have them: the `model.language_model.` and `model.visual.` prefixes that
/// some versions of transformers write become `model.` and `visual.`, and what a wrapper put before all names (`module.`,
/// `_orig_mod.`) is taken off. What is computed and not learnt (`inv_freq`) is passed over.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    tensors: BTreeMap<String, Entry>,
    files: Vec<MappedFile>,
}

#[derive(Debug)]
struct Entry {
    file: usize,
    start: usize,
    end: usize,
    dtype: Dtype,
    shape: Vec<i64>,
}

impl Checkpoint {
    /// Opens the weights in the directory `path` without reading the tensors yet.
    ///
    /// # Errors
    /// If there are none, a shard is missing, or a file is cut short; the error names the file.
    pub fn open(path: &Path) -> Result<Self> {
        let mut checkpoint = Self { path: path.to_owned(), tensors: BTreeMap::new(), files: Vec::new() };
        for file in shards(path)? {
            checkpoint.add(&file)?;
        }
        checkpoint.publish(Unwrap::All)?;
        Ok(checkpoint)
    }

    /// Opens the single file `path`.
    pub(crate) fn open_file(path: &Path) -> Result<Self> {
        let mut checkpoint = Self { path: path.to_owned(), tensors: BTreeMap::new(), files: Vec::new() };
        checkpoint.add(path)?;
        checkpoint.publish(Unwrap::Nothing)?;
        Ok(checkpoint)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let file = MappedFile::open(path)?;
        let bad = |reason: String| Error::Safetensors { path: path.to_owned(), reason };
        let (header, metadata) = SafeTensors::read_metadata(&file).map_err(|e| bad(e.to_string()))?;
        // The header is preceded by its length, eight bytes.
        let data = header + 8;
        for (name, info) in metadata.tensors() {
            let (start, end) = (data + info.data_offsets.0, data + info.data_offsets.1);
            if end > file.len() {
                return Err(bad(format!("{name} ends at byte {end}, the file at {}", file.len())));
            }
            let shape = info.shape.iter().map(|&d| d as i64).collect();
            let entry = Entry { file: self.files.len(), start, end, dtype: info.dtype, shape };
            // Frequencies, which follow from the config.
            if name.ends_with("inv_freq") {
                continue;
            }
            if self.tensors.insert(name.clone(), entry).is_some() {
                return Err(bad(format!("{name} is there twice")));
            }
        }
        self.files.push(file);
        Ok(())
    }

    /// Gives all tensors the names that published checkpoints have for them.
    fn publish(&mut self, unwrap: Unwrap) -> Result<()> {
        let prefix = match unwrap {
            Unwrap::All => wrapper(&self.tensors.keys().map(String::as_str).collect::<Vec<_>>()),
            Unwrap::Nothing => 0,
        };
        for (name, entry) in std::mem::take(&mut self.tensors) {
            let name = published_name(&name[prefix..]);
            if self.tensors.insert(name.clone(), entry).is_some() {
                let reason = format!("{name} is there twice");
                return Err(Error::Safetensors { path: self.path.clone(), reason });
            }
        }
        Ok(())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[i64]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// Whether two tensors are both there and not the same.
    pub(crate) fn differ(&self, one: &str, other: &str) -> bool {
        let bytes = |name: &str| {
            let entry = self.tensors.get(name)?;
            Some((&entry.shape, entry.dtype, &self.files[entry.file][entry.start..entry.end]))
        };
        matches!((bytes(one), bytes(other)), (Some(one), Some(other)) if one != other)
    }

    /// The kind of number that a tensor is stored in; none if there is no such tensor or it is no floating-point kind.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        match self.tensors.get(name)?.dtype {
            Dtype::F32 => Some(Kind::Float),
            Dtype::F16 => Some(Kind::Half),
            Dtype::BF16 => Some(Kind::BFloat16),
            Dtype::F64 => Some(Kind::Double),
            _ => None,
        }
    }

    /// What the file calls the kind of a tensor.
    pub(crate) fn dtype(&self, name: &str) -> Option<String> {
        self.tensors.get(name).map(|entry| format!("{:?}", entry.dtype))
    }

    /// Copies a tensor out of its file, from the kind it is `stored` in, to `device` as `kind`.
    ///
    /// # Errors
    /// If there is no such tensor, or libtorch has no room for it.
    pub(crate) fn read(&self, name: &str, stored: Kind, (kind, device): (Kind, Device)) -> Result<Tensor> {
        let entry = self.tensors.get(name).ok_or_else(|| Error::Config(format!("no tensor {name}")))?;
        let tensor = Tensor::f_empty(&entry.shape, (kind, device))?;
        tch::no_grad(|| self.files[entry.file].copy_to(entry.start..entry.end, stored, &tensor))?;
        Ok(tensor)
    }
}

/// Whether what stands before all names is taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unwrap {
    /// It is.
    All,
    /// Names are as they are.
    Nothing,
}

/// How many bytes of every name a wrapper put there: parts that all names have in common and that no model's names begin
/// with, `model.` too where it stands before the model's own.
fn wrapper(names: &[&str]) -> usize {
    const OWN: [&str; 4] = ["model", "visual", "lm_head", "base_model"];
    let mut length = 0;
    loop {
        let rest = |name: &&str| {
            name.get(length..)
                .and_then(|name| name.split_once('.'))
                .map(|(part, rest)| (part.to_owned(), rest.to_owned()))
        };
        let Some(parts) = names.iter().map(rest).collect::<Option<Vec<_>>>() else { return length };
        let Some((first, _)) = parts.first() else { return length };
        let twice = || {
            let own = |rest: &str| rest.split_once('.').map_or(rest, |(part, _)| part).to_owned();
            let seconds: Vec<String> = parts.iter().map(|(_, rest)| own(rest)).collect();
            first == "model"
                && seconds.iter().all(|part| OWN.contains(&part.as_str()))
                && seconds.iter().any(|part| part == "model")
        };
        let wraps = parts.iter().all(|(part, _)| part == first) && (!OWN.contains(&first.as_str()) || twice());
        if !wraps {
            return length;
        }
        length += first.len() + 1;
    }
}

/// The name that published checkpoints have for a tensor or module.
fn published_name(name: &str) -> String {
    // Of a LoRA adapter in PEFT's layout.
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    if let Some(rest) = name.strip_prefix("model.language_model.") {
        format!("model.{rest}")
    } else if let Some(rest) = name.strip_prefix("model.visual.") {
        format!("visual.{rest}")
    } else {
        name.to_owned()
    }
}

/// The name that today's transformers has for a tensor or module of a vision-language model.
pub(crate) fn nested_name(name: &str) -> String {
    match name.strip_prefix("model.") {
        Some(rest) => format!("model.language_model.{rest}"),
        None if name.starts_with("visual.") => format!("model.{name}"),
        None => name.to_owned(),
    }
}

fn shards(path: &Path) -> Result<Vec<PathBuf>> {
    let single = path.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = path.join("model.safetensors.index.json");
    if !index.is_file() {
        return Err(Error::NoWeights(path.to_owned()));
    }
    let text = std::fs::read_to_string(&index).map_err(|source| Error::Io { path: index.clone(), source })?;
    let bad = |reason: String| Error::Index { path: index.clone(), reason };
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
    let map = json["weight_map"].as_object().ok_or_else(|| bad("no object `weight_map`".to_owned()))?;
    let shard = |(tensor, file): (&String, &serde_json::Value)| match file.as_str().map(Path::new) {
        // A file of this directory, and no way out of it.
        Some(name) if name.file_name() == Some(name.as_os_str()) => Ok(path.join(name)),
        _ => Err(bad(format!("the shard of {tensor} is {file}, not a file name"))),
    };
    let mut files: Vec<PathBuf> = map.iter().map(shard).collect::<Result<_>>()?;
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

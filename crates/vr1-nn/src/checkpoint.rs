use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};
use vr1_torch::MappedFile;

use crate::{Error, Result};

/// The weights of a model directory: one safetensors file, or several with an index, mapped into memory.
///
/// Names are given as published checkpoints have them: the `model.language_model.` and `model.visual.` prefixes that
/// some versions of transformers write become `model.` and `visual.`.
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
        Ok(checkpoint)
    }

    /// Opens the single file `path`.
    pub(crate) fn open_file(path: &Path) -> Result<Self> {
        let mut checkpoint = Self { path: path.to_owned(), tensors: BTreeMap::new(), files: Vec::new() };
        checkpoint.add(path)?;
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
            // Old files hold these frequencies too, which follow from the config.
            if name.ends_with("rotary_emb.inv_freq") {
                continue;
            }
            let name = published_name(&name);
            if self.tensors.insert(name.clone(), entry).is_some() {
                return Err(bad(format!("{name} is there twice")));
            }
        }
        self.files.push(file);
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

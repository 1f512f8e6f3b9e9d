use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};
use vr1_torch::MappedFile;

use crate::{Error, Names, Result};

/// The weights of a model directory: one safetensors file, or several with an index, mapped into memory.
///
/// Names are given as modules here ask for them, whichever of its family's [`Names`] the files have, and what a wrapper put
/// before all names (`module.`, `_orig_mod.`) is taken off. What is computed and not learnt (`inv_freq`) is passed over.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    names: Names,
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
    /// Opens the weights in the directory `path`, whose files have these `names`, without reading the tensors yet.
    ///
    /// # Errors
    /// If there are none, a shard is missing, or a file is cut short; the error names the file.
    pub fn open(path: &Path, names: Names) -> Result<Self> {
        let mut checkpoint = Self { path: path.to_owned(), names, tensors: BTreeMap::new(), files: Vec::new() };
        for file in shards(path)? {
            checkpoint.add(&file)?;
        }
        let wrapper = wrapper(&checkpoint.names().collect::<Vec<_>>(), names);
        checkpoint.rename(|name| names.own(&name[wrapper..]))?;
        Ok(checkpoint)
    }

    /// Opens the adapter in the single file `path`, in PEFT's layout; its names are the file's until it is [adapting].
    ///
    /// [adapting]: Self::adapting
    pub(crate) fn open_adapter(path: &Path) -> Result<Self> {
        let (names, tensors) = (Names::LANGUAGE, BTreeMap::new());
        let mut checkpoint = Self { path: path.to_owned(), names, tensors, files: Vec::new() };
        checkpoint.add(path)?;
        checkpoint.rename(|name| name.strip_prefix("base_model.model.").unwrap_or(name).to_owned())?;
        Ok(checkpoint)
    }

    /// The same for a model whose files have these `names`.
    pub(crate) fn adapting(mut self, names: Names) -> Result<Self> {
        self.names = names;
        self.rename(|name| names.own(name))?;
        Ok(self)
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

    fn rename(&mut self, other: impl Fn(&str) -> String) -> Result<()> {
        for (name, entry) in std::mem::take(&mut self.tensors) {
            let name = other(&name);
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

    /// What its files call tensors.
    pub(crate) fn family(&self) -> Names {
        self.names
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

    /// Copies a tensor out of its file, from the kind it is `stored` in, into `room` if there is any, else to a device as a kind.
    ///
    /// # Errors
    /// If there is no such tensor, or libtorch has no room for it.
    pub(crate) fn read(
        &self,
        name: &str,
        stored: Kind,
        (options, room): ((Kind, Device), Option<&Tensor>),
    ) -> Result<Tensor> {
        let entry = self.tensors.get(name).ok_or_else(|| Error::Config(format!("no tensor {name}")))?;
        let tensor = match room {
            Some(room) => room.shallow_clone(),
            None => Tensor::f_empty(&entry.shape, options)?,
        };
        tch::no_grad(|| self.files[entry.file].copy_to(entry.start..entry.end, stored, &tensor))?;
        Ok(tensor)
    }
}

/// How many bytes of every name a wrapper put there: parts that all names have in common and that no name of the model
/// begins with, `model.` too where it stands before the model's own.
fn wrapper(names: &[&str], family: Names) -> usize {
    let own = |part: &str| part == "base_model" || family.roots().any(|root| root == part);
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
            let root = |rest: &str| rest.split_once('.').map_or(rest, |(part, _)| part).to_owned();
            let seconds: Vec<String> = parts.iter().map(|(_, rest)| root(rest)).collect();
            first == "model" && seconds.iter().all(|part| own(part)) && seconds.iter().any(|part| part == "model")
        };
        let wraps = parts.iter().all(|(part, _)| part == first) && (!own(first) || twice());
        if !wraps {
            return length;
        }
        length += first.len() + 1;
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

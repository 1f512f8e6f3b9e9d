//! What an optimizer holds between steps, in files: one where a rank holds it all, else one of each rank and an index as Hugging Face's
//! sharded weights have it. A name stands in one file, whichever rank wrote it, so that any number of ranks reads what any number wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use vr1_torch::MappedFile;

use super::Optimizer;
use super::slot::Slot;
use crate::{Error, Result};

/// The file of what one rank holds by itself.
pub(crate) const FILE: &str = "optimizer.safetensors";
/// The file that says in which file each tensor is, where there are several.
const INDEX: &str = "optimizer.safetensors.index.json";

/// Which file each tensor is in.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    metadata: Metadata,
    weight_map: BTreeMap<String, String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Metadata {
    /// Bytes of all tensors.
    total_size: u64,
}

impl Optimizer {
    /// Writes what a resumed run needs of what this rank holds: moments, step counts and, of narrow parameters, the f32 masters.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        let tensors: Vec<(String, Tensor)> =
            self.state().map(|(name, tensor)| (name, tensor.to_device(Device::Cpu).contiguous())).collect();
        Ok(Tensor::write_safetensors(&tensors, file)?)
    }

    /// Writes the same of all ranks into the folder that the first of them has: each rank a file, which is brought to disk, and the first
    /// the index of them. All ranks call this, with what they have of a folder: the first its own or why there is none, the others nothing.
    ///
    /// # Errors
    /// If any rank cannot write its file, or the first has no folder; every rank has an error then.
    pub(crate) fn save_shards(&self, folder: Result<Option<&Path>>) -> Result<()> {
        let world = self.shards().world();
        let own = folder.map(|folder| folder.map(Path::to_owned));
        let told: Vec<Option<PathBuf>> = world.all(own)?;
        let Some(folder) = told.into_iter().next().flatten() else {
            return Err(Error::Lost { rank: world.rank(), reason: "rank 0 has no folder to save into".to_owned() });
        };
        let name = format!("optimizer-{:05}-of-{:05}.safetensors", world.rank() + 1, world.size());
        let path = folder.join(&name);
        let saved = self.save(&path).and_then(|()| {
            let unsynced = |error: std::io::Error| Error::State { path: path.clone(), reason: error.to_string() };
            fs::File::open(&path).and_then(|file| file.sync_all()).map_err(unsynced)
        });
        let names: Vec<String> = self.state().map(|(name, _)| name).collect();
        let written = world.all(saved.map(|()| (name, names, self.state_bytes())))?;
        let index = || {
            let mut index = Index::default();
            for (file, names, bytes) in written {
                index.metadata.total_size += bytes;
                index.weight_map.extend(names.into_iter().map(|name| (name, file.clone())));
            }
            let path = folder.join(INDEX);
            let broken = |reason: String| Error::State { path: path.clone(), reason };
            let text = serde_json::to_vec_pretty(&index).map_err(|error| broken(error.to_string()))?;
            fs::write(&path, text).map_err(|error| broken(error.to_string()))
        };
        // Nothing is no word that the first could say.
        world.first(|| index().map(|()| true)).map(drop)
    }

    /// Takes up what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, or is of other parameters or moments; nothing is changed then.
    pub fn restore(&mut self, file: &Path) -> Result<()> {
        self.take_up(&Saved::file(file)?)
    }

    /// Takes up what is in a folder, this rank's share of it, whichever ranks wrote it.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub(crate) fn restore_from(&mut self, folder: &Path) -> Result<()> {
        let index = folder.join(INDEX);
        match index.is_file() {
            true => self.take_up(&Saved::files(&index)?),
            false => self.restore(&folder.join(FILE)),
        }
    }

    fn take_up(&mut self, saved: &Saved) -> Result<()> {
        let broken = |reason: String| Error::State { path: saved.path.clone(), reason };
        let facts = |tensor: &Tensor| (tensor.kind(), tensor.size());
        let mut pairs = Vec::new();
        for (name, mine) in self.state() {
            let Some(entry) = saved.tensors.get(&name) else { return Err(broken(format!("{name} is missing"))) };
            let found = (entry.kind, entry.size.clone());
            if found != facts(mine) {
                return Err(broken(format!("{name} is {found:?}, should be {:?}", facts(mine))));
            }
            pairs.push((name, mine.shallow_clone(), entry));
        }
        // What is another rank's is looked at there.
        let mine: BTreeSet<&str> = pairs.iter().map(|(name, ..)| name.as_str()).collect();
        let others = self.names.iter().enumerate().filter(|(place, _)| !self.shards.has(*place));
        let others: BTreeSet<&str> = others.map(|(_, (name, _))| name.as_str()).collect();
        let of_another = |name: &str| name.split_once('.').is_some_and(|(_, parameter)| others.contains(parameter));
        let strange = saved.tensors.keys().find(|name| !mine.contains(name.as_str()) && !of_another(name));
        if let Some(name) = strange {
            return Err(broken(format!("{name} is of nothing that is trained")));
        }
        tch::no_grad(|| pairs.into_iter().try_for_each(|(_, mine, entry)| saved.read(entry, &mine)))
    }

    /// The state's tensors that this rank holds, the optimizer's own, by name.
    fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.slots.iter().flat_map(Slot::state)
    }
}

/// Files with an optimizer's state, of which nothing is read before it is asked for.
struct Saved {
    /// The file that names the others, or the only one.
    path: PathBuf,
    files: Vec<MappedFile>,
    tensors: BTreeMap<String, Entry>,
}

/// Where a tensor stands.
struct Entry {
    file: usize,
    bytes: std::ops::Range<usize>,
    kind: Kind,
    size: Vec<i64>,
}

impl Saved {
    fn file(path: &Path) -> Result<Self> {
        let mut saved = Self { path: path.to_owned(), files: Vec::new(), tensors: BTreeMap::new() };
        saved.add(path)?;
        Ok(saved)
    }

    fn files(path: &Path) -> Result<Self> {
        let broken = |reason: String| Error::State { path: path.to_owned(), reason };
        let text = fs::read(path).map_err(|error| broken(error.to_string()))?;
        let index: Index = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        let mut saved = Self { path: path.to_owned(), files: Vec::new(), tensors: BTreeMap::new() };
        for file in index.weight_map.values().collect::<BTreeSet<_>>() {
            if Path::new(file).components().count() != 1 {
                return Err(broken(format!("{file:?} is no file beside it")));
            }
            saved.add(&path.with_file_name(file))?;
        }
        match index.weight_map.keys().find(|name| !saved.tensors.contains_key(*name)) {
            Some(name) => Err(broken(format!("{name} is in no file"))),
            None => Ok(saved),
        }
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let broken = |reason: String| Error::State { path: path.to_owned(), reason };
        let file = MappedFile::open(path).map_err(|error| broken(error.to_string()))?;
        let (header, metadata) = SafeTensors::read_metadata(&file).map_err(|error| broken(error.to_string()))?;
        // The header is preceded by its length, eight bytes.
        let data = header + 8;
        for (name, info) in metadata.tensors() {
            let bytes = data + info.data_offsets.0..data + info.data_offsets.1;
            if bytes.end > file.len() {
                return Err(broken(format!("{name} ends at byte {}, the file at {}", bytes.end, file.len())));
            }
            let kind = match info.dtype {
                Dtype::F32 => Kind::Float,
                Dtype::U8 => Kind::Uint8,
                other => return Err(broken(format!("{name} is of {other:?}"))),
            };
            let size = info.shape.iter().map(|&side| side as i64).collect();
            let entry = Entry { file: self.files.len(), bytes, kind, size };
            if self.tensors.insert(name.clone(), entry).is_some() {
                return Err(broken(format!("{name} is in another file, too")));
            }
        }
        self.files.push(file);
        Ok(())
    }

    fn read(&self, entry: &Entry, into: &Tensor) -> Result<()> {
        Ok(self.files[entry.file].copy_to(entry.bytes.clone(), entry.kind, into)?)
    }
}

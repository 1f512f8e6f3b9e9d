//! The folder of a case: the base, the files in which the case differs from it, and its tensors changed step by step, as
//! tests/fixtures/field/generate.py does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

/// What is done to the tensors of the base.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Step {
    Copy {
        name: String,
        of: String,
    },
    Drop {
        name: String,
    },
    Zeros {
        name: String,
        kind: String,
        shape: Vec<i64>,
    },
    Prefix {
        with: String,
    },
    /// The first rows once more, behind the last.
    Rows {
        name: String,
        count: i64,
    },
    /// The values but the last over and over, so that no row is another one.
    Shapes {
        of: BTreeMap<String, Vec<i64>>,
    },
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    Single,
    Shards,
    /// Shards, and a single file of zeros beside them.
    Stale,
}

type Tensors = BTreeMap<String, Tensor>;

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/field")
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// The base with the tokenizer and the settings for images that go with it.
pub(crate) fn copy() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy_into(&fixtures().join("../../../../vr1-processor/tests/fixtures/checkpoint"), dir.path());
    copy_into(&fixtures().join("base"), dir.path());
    dir
}

/// A copy with one of its JSON files changed.
pub(crate) fn with(file: &str, edit: impl FnOnce(&mut Map<String, Value>)) -> TempDir {
    let dir = copy();
    let path = dir.path().join(file);
    let mut json = fs::read_to_string(&path).map_or(Map::new(), |text| serde_json::from_str(&text).unwrap());
    edit(&mut json);
    fs::write(path, Value::Object(json).to_string()).unwrap();
    dir
}

/// A copy with the files of the case `id`, without those `gone`, and with its tensors changed.
pub(crate) fn of_case(id: &str, gone: &[String], steps: &[Step], form: Form) -> TempDir {
    let dir = copy();
    for file in gone {
        fs::remove_file(dir.path().join(file)).unwrap();
    }
    let own = fixtures().join(id);
    if own.is_dir() {
        copy_into(&own, dir.path());
    }
    if steps.is_empty() && form == Form::Single {
        return dir;
    }
    let single = dir.path().join("model.safetensors");
    let mut tensors: Tensors = Tensor::read_safetensors(&single).unwrap().into_iter().collect();
    fs::remove_file(&single).unwrap();
    for step in steps {
        tensors = changed(tensors, step);
    }
    let tensors: Vec<(String, Tensor)> = tensors.into_iter().collect();
    let write = |part: &[(String, Tensor)], file: &str| Tensor::write_safetensors(part, dir.path().join(file)).unwrap();
    if form == Form::Single {
        write(&tensors, "model.safetensors");
    } else {
        let (first, second) = tensors.split_at(tensors.len() / 2);
        write(first, "model-00001-of-00002.safetensors");
        write(second, "model-00002-of-00002.safetensors");
    }
    if form == Form::Stale {
        let zeros: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.zeros_like())).collect();
        write(&zeros, "model.safetensors");
    }
    dir
}

fn changed(mut tensors: Tensors, step: &Step) -> Tensors {
    match step {
        Step::Copy { name, of } => drop(tensors.insert(name.clone(), tensors[of].copy())),
        Step::Drop { name } => drop(tensors.remove(name).unwrap()),
        Step::Zeros { name, kind, shape } => {
            let kind = if kind == "I32" { Kind::Int } else { Kind::Half };
            tensors.insert(name.clone(), Tensor::zeros(shape, (kind, Device::Cpu)));
        }
        Step::Prefix { with } => {
            return tensors.into_iter().map(|(name, tensor)| (format!("{with}{name}"), tensor)).collect();
        }
        Step::Rows { name, count } => {
            let own = &tensors[name];
            let longer = Tensor::cat(&[own, &own.narrow(0, 0, *count)], 0);
            tensors.insert(name.clone(), longer);
        }
        Step::Shapes { of } => {
            let filled = |(name, shape): (&String, &Vec<i64>)| {
                let count: i64 = shape.iter().product();
                let own = tensors[name].flatten(0, -1);
                let own = own.narrow(0, 0, own.size()[0] - 1);
                let long = own.repeat([count / own.size()[0] + 1]);
                (name.clone(), long.narrow(0, 0, count).reshape(shape))
            };
            return of.iter().map(filled).collect();
        }
    }
    tensors
}

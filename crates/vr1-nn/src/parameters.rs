use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};
use tch::{Kind, Tensor};

use crate::{Error, Result};

/// A model's parameters by name. The tensors are the model's own: what changes here changes there.
#[derive(Debug)]
pub struct Parameters {
    tensors: BTreeMap<String, Tensor>,
}

impl Parameters {
    pub(crate) fn new(tensors: BTreeMap<String, Tensor>) -> Self {
        Self { tensors }
    }

    /// Names and tensors, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// One parameter.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// How many numbers there are in all.
    pub fn count(&self) -> usize {
        self.tensors.values().map(Tensor::numel).sum()
    }

    /// Makes the parameters that `trained` picks by name collect gradients, and no others; gives those back.
    pub fn train(&self, trained: impl Fn(&str) -> bool) -> Vec<(String, Tensor)> {
        let mut picked = Vec::new();
        for (name, tensor) in &self.tensors {
            let tensor = tensor.set_requires_grad(trained(name));
            if tensor.requires_grad() {
                picked.push((name.clone(), tensor));
            }
        }
        picked
    }

    /// Copies the values of `other` into these parameters.
    ///
    /// # Errors
    /// If a name is missing there or a shape differs.
    pub fn copy_from(&self, other: &Self) -> Result<()> {
        tch::no_grad(|| {
            for (name, tensor) in &self.tensors {
                let source = other.get(name).ok_or_else(|| Error::Config(format!("no parameter {name} to copy")))?;
                tensor.shallow_clone().f_copy_(source)?;
            }
            Ok(())
        })
    }

    /// Writes all parameters to one safetensors file, aside first and then renamed, in `kind`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, file: &Path, kind: Kind) -> Result<()> {
        let dtype = match kind {
            Kind::Float => Dtype::F32,
            Kind::BFloat16 => Dtype::BF16,
            Kind::Half => Dtype::F16,
            other => return Err(Error::Config(format!("weights are not saved as {other:?}"))),
        };
        let mut bytes = Vec::with_capacity(self.tensors.len());
        for tensor in self.tensors.values() {
            let tensor = tensor.detach().to_device(tch::Device::Cpu).to_kind(kind).contiguous();
            let mut buffer = vec![0u8; tensor.numel() * kind.elt_size_in_bytes()];
            tensor.f_copy_data_u8(&mut buffer, tensor.numel())?;
            bytes.push(buffer);
        }
        let mut views = Vec::with_capacity(bytes.len());
        for ((name, tensor), data) in self.tensors.iter().zip(&bytes) {
            let shape = tensor.size().iter().map(|&d| d as usize).collect();
            let view = TensorView::new(dtype, shape, data).map_err(|e| safetensors_error(file, &e))?;
            views.push((name.as_str(), view));
        }
        let aside = file.with_extension("safetensors.part");
        let format = std::collections::HashMap::from([("format".to_owned(), "pt".to_owned())]);
        serialize_to_file(views, Some(format), &aside).map_err(|e| safetensors_error(file, &e))?;
        std::fs::rename(&aside, file).map_err(|source| Error::Io { path: file.to_owned(), source })
    }
}

fn safetensors_error(file: &Path, error: &safetensors::SafeTensorError) -> Error {
    Error::Safetensors { path: file.to_owned(), reason: error.to_string() }
}

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use safetensors::Dtype;
use safetensors::tensor::View;
use tch::{Device, Kind, Tensor};

use crate::hook::Tour;
use crate::lora::merge;
use crate::{Error, LayerHook, Result};

/// A parameter as others have it: under its published name, of the kind it is given in, an adapter merged into it. Its numbers are made when they
/// are asked for, so that they are never all there at once; where ranks hold each a share of a layer, that is brought meanwhile, and left for
/// the next one's: ask one after the other.
#[derive(Debug)]
pub struct Published<'a> {
    name: String,
    tensor: Tensor,
    adaptation: Option<(&'a Tensor, &'a Tensor, f64)>,
    kind: Kind,
    dtype: Dtype,
    shape: Vec<usize>,
    /// What the layer that it is of must be entered by.
    hook: Option<Arc<dyn LayerHook>>,
    tour: Rc<Tour>,
}

impl<'a> Published<'a> {
    /// One that is of a layer with this hook, and is adapted by these.
    ///
    /// # Errors
    /// If `kind` is not one that weights are published in.
    pub(crate) fn new(
        name: String,
        tensor: Tensor,
        kind: Kind,
        adaptation: Option<(&'a Tensor, &'a Tensor, f64)>,
        hook: Option<Arc<dyn LayerHook>>,
        tour: &Rc<Tour>,
    ) -> Result<Self> {
        let dtype = match kind {
            Kind::Float => Dtype::F32,
            Kind::BFloat16 => Dtype::BF16,
            Kind::Half => Dtype::F16,
            other => return Err(Error::Config(format!("weights are not saved as {other:?}"))),
        };
        let shape = tensor.size().iter().map(|&d| d as usize).collect();
        Ok(Self { name, tensor, adaptation, kind, dtype, shape, hook, tour: tour.clone() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its shape.
    pub fn size(&self) -> Vec<i64> {
        self.tensor.size()
    }

    /// The kind of number that it is given in.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its numbers on `device`, contiguous; they may be the parameter's own.
    ///
    /// # Panics
    /// If its layer cannot be brought, or there is no room: what [`vr1_torch::guarded`] makes an error of.
    pub fn numbers(&self, device: Device) -> Tensor {
        self.tour.come_to(self.hook.as_ref());
        let merged = self.adaptation.map(|(a, b, scale)| tch::no_grad(|| merge(&self.tensor, a, b, scale)));
        let tensor = merged.as_ref().unwrap_or(&self.tensor);
        tensor.detach().to_device(device).to_kind(self.kind).contiguous()
    }
}

impl View for Published<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let tensor = self.numbers(Device::Cpu);
        let mut bytes = vec![0; self.data_len()];
        // The buffer is as long as the tensor, which is on the CPU and contiguous.
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        bytes.into()
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.kind.elt_size_in_bytes()
    }
}

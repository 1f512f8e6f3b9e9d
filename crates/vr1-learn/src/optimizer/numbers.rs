use tch::{Device, Kind, Tensor};
use vr1_torch::Blockwise;

use super::blockwise::{BLOCK, Codebook};
use super::piece::Piece;

/// A parameter's f32 numbers as an optimizer holds them between steps.
#[derive(Debug)]
pub(super) enum Numbers {
    /// Where the parameter is.
    Here(Tensor),
    /// In the host's memory.
    Host { tensor: Tensor, device: Device },
    /// In 8 bits, `codes` `[blocks, 256]` and `scales` `[blocks]`, wherever these are.
    Blockwise { codes: Tensor, scales: Tensor, size: Vec<i64>, codebook: Codebook },
}

impl Numbers {
    /// Those of `tensor`, kept on the host for `device`.
    pub(super) fn host(tensor: &Tensor, device: Device) -> Self {
        Self::Host { tensor: on_host(tensor, device), device }
    }

    /// As many as `parameter` has, all 0, in 8 bits.
    pub(super) fn blockwise(parameter: &Tensor, codebook: &Codebook, offload: bool) -> Self {
        let device = parameter.device();
        let blocks = (parameter.numel() as i64 + BLOCK - 1) / BLOCK;
        let codes = Tensor::zeros([blocks, BLOCK], (Kind::Uint8, device));
        let scales = Tensor::zeros([blocks], (Kind::Float, device));
        let [codes, scales] = [codes, scales].map(|tensor| if offload { on_host(&tensor, device) } else { tensor });
        Self::Blockwise { codes, scales, size: parameter.size(), codebook: codebook.shallow_clone() }
    }

    /// The numbers of a piece where the parameter is, to be changed in place and given to [`store`](Self::store).
    pub(super) fn load(&self, piece: &Piece) -> Tensor {
        match self {
            Self::Here(tensor) => piece.of(tensor),
            Self::Host { tensor, device } => piece.of(tensor).to_device_(*device, Kind::Float, true, true),
            Self::Blockwise { codes, scales, size, codebook } => {
                let (numbers, blocks) = (self.run(piece, size), self.blocks(piece, size));
                let [codes, scales] =
                    [codes, scales].map(|tensor| tensor.narrow(0, blocks.0, blocks.1).to_device(codebook.device()));
                let values = codebook.widen(&codes, &scales).view([-1]).narrow(0, 0, numbers.1);
                if numbers.1 == size.iter().product::<i64>() { values.view(size.as_slice()) } else { values }
            }
        }
    }

    /// Bytes a number that [`load`](Self::load) and [`store`](Self::store) hold on the way.
    pub(super) fn held(&self, piece: &Piece) -> u64 {
        match self {
            Self::Here(_) => 0,
            Self::Host { .. } => 4,
            Self::Blockwise { .. } if self.packed(piece).is_some() => 0,
            // Codes and what they stand for; what is narrowed, its shares and its codes in the kinds that libtorch finds them in.
            Self::Blockwise { .. } => 40,
        }
    }

    /// The codes and scales of a piece where they are updated as they lie: in 8 bits, on the CPU.
    pub(super) fn packed(&self, piece: &Piece) -> Option<Packed<'_>> {
        let Self::Blockwise { codes, scales, size, codebook } = self else { return None };
        if codebook.device() != Device::Cpu {
            return None;
        }
        let (start, count) = self.blocks(piece, size);
        let [codes, scales] = [codes, scales].map(|tensor| tensor.narrow(0, start, count));
        Some(Packed { codes, scales, codebook })
    }

    /// Keeps what became of the numbers that [`load`](Self::load) gave.
    pub(super) fn store(&self, piece: &Piece, values: &Tensor) {
        match self {
            Self::Here(_) => {}
            Self::Host { tensor, .. } => piece.of(tensor).copy_(values),
            Self::Blockwise { codes, scales, size, codebook } => {
                let blocks = self.blocks(piece, size);
                let (new_codes, new_scales) = codebook.narrow(&values.reshape([-1]));
                codes.narrow(0, blocks.0, blocks.1).copy_(&new_codes);
                scales.narrow(0, blocks.0, blocks.1).copy_(&new_scales);
            }
        }
    }

    fn run(&self, piece: &Piece, size: &[i64]) -> (i64, i64) {
        piece.run(size.iter().product::<i64>() as usize)
    }

    /// The blocks of a piece: a piece begins with one.
    fn blocks(&self, piece: &Piece, size: &[i64]) -> (i64, i64) {
        let (start, length) = self.run(piece, size);
        (start / BLOCK, (length + BLOCK - 1) / BLOCK)
    }

    /// What is held, and what is added to its name.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        let (first, second) = match self {
            Self::Here(tensor) | Self::Host { tensor, .. } => (("", tensor), None),
            Self::Blockwise { codes, scales, .. } => (("_codes", codes), Some(("_scales", scales))),
        };
        [first].into_iter().chain(second)
    }
}

/// Some blocks of numbers in 8 bits, those of an optimizer themselves.
#[derive(Debug)]
pub(super) struct Packed<'a> {
    codes: Tensor,
    scales: Tensor,
    codebook: &'a Codebook,
}

impl Packed<'_> {
    /// The same for what updates them.
    pub(super) fn blocks(&self) -> Blockwise<'_> {
        let [values, middles] = self.codebook.tables();
        Blockwise { codes: &self.codes, scales: &self.scales, values, middles }
    }
}

/// A copy in the host's memory, from where `device` fetches fast.
fn on_host(tensor: &Tensor, device: Device) -> Tensor {
    let copy = tensor.to_device_(Device::Cpu, tensor.kind(), false, true);
    if device.is_cuda() { copy.pin_memory(device) } else { copy }
}

//! [`group_attention`](crate::group_attention) by its kernel, over splits of the keys. Letters as there.

use tch::{Kind, Tensor};

use crate::driver::{Argument, Gpu, Size};
use crate::kernels::{Kernel, in_packs, kind_name};
use crate::{OwnKeys, Result, SharedKeys};

/// The head sizes that the kernel is compiled for.
pub(crate) const HEAD_SIZES: [i64; 5] = [64, 80, 96, 128, 256];

/// Keys, and queries, that a block takes at a time, as in the kernel.
const TILE: i64 = 64;

/// Bytes of a block that it puts results together in, beside its tiles.
const RESULTS: i64 = 2048;

/// Nothing where the kernel does not take these.
pub(crate) fn by_kernel(query: &Tensor, prefix: &SharedKeys<'_>, own: &OwnKeys<'_>) -> Result<Option<Tensor>> {
    let (rows, heads, d) = (query.size()[0], query.size()[1], query.size()[2]);
    let (shared, groups, capacity) = (prefix.keys.size()[1], prefix.starts.size()[0], own.keys.size()[1]);
    let in_cache = |x: &&Tensor| {
        let stride = x.stride();
        x.data_ptr().addr().is_multiple_of(16) && stride[..stride.len() - 1].iter().all(|stride| stride % 8 == 0)
    };
    let fits = HEAD_SIZES.contains(&d)
        && matches!(query.kind(), Kind::BFloat16 | Kind::Half)
        && [prefix.keys, prefix.values, own.keys, own.values].iter().all(in_cache)
        && prefix.keys.size()[0].max(capacity) < i64::from(i32::MAX) - TILE;
    let (Some(kind), Some(gpu)) = (kind_name(query.kind()).filter(|_| fits), Kernel::GroupAttention.gpu(query)?) else {
        return Ok(None);
    };
    if memory(d) + RESULTS > gpu.memory {
        return Ok(None);
    }
    let query = query.f_contiguous()?;
    let query = if in_packs(&query) { query } else { query.copy() };
    let [starts, lengths, own_lengths] = [prefix.starts, prefix.lengths, own.lengths].map(Tensor::f_contiguous);
    let (starts, lengths, own_lengths) = (starts?, lengths?, own_lengths?);
    let out = query.f_empty_like()?;
    let functions = Kernel::GroupAttention.functions(gpu, &[format!("T={kind}"), format!("D={d}")])?;
    if rows == 0 {
        return Ok(Some(out));
    }

    let tiles = (rows / groups * (heads / shared) + TILE - 1) / TILE;
    let of_prefix = Keys {
        tensors: [prefix.keys, prefix.values],
        starts: Some(&starts),
        lengths: &lengths,
        most: prefix.keys.size()[0],
        longest: prefix.longest.min(prefix.keys.size()[0]),
        units: groups * shared * tiles,
    };
    let of_rows = Keys {
        tensors: [own.keys, own.values],
        starts: None,
        lengths: &own_lengths,
        most: capacity,
        longest: capacity,
        units: rows * shared,
    };
    let [splits, own_splits] = [&of_prefix, &of_rows].map(|keys| keys.splits(gpu));
    let floats = |size: &[i64]| Tensor::f_empty(size, (Kind::Float, query.device()));
    let (outs, lses) =
        (floats(&[splits + own_splits, rows * heads, d])?, floats(&[splits + own_splits, rows * heads])?);
    let [first, second] = [(&of_prefix, splits), (&of_rows, own_splits)].map(|(keys, splits)| keys.argument(splits));
    let shape = Argument::of_words([two(groups, rows), two(heads, shared)]);
    let scale = Argument::from((1.0 / (d as f64).sqrt()) as f32);
    let attend =
        Size { blocks: [of_prefix.units * splits + of_rows.units * own_splits, 1], threads: 128, shared: memory(d) };
    let merge = Size { blocks: [rows * heads, 1], threads: d, shared: 0 };
    // SAFETY: these are the kernels' arguments: each split has its place in `outs` and `lses`; where prefixes and rows lie in their
    // tensors was checked by shape, and the kernel keeps starts and lengths within these.
    unsafe {
        gpu.launch(
            functions[0],
            attend,
            &[(&query).into(), first, second, shape, scale, (&outs).into(), (&lses).into()],
        )?;
        gpu.launch(functions[1], merge, &[first, second, shape, (&outs).into(), (&lses).into(), (&out).into()])?;
    }
    Ok(Some(out))
}

/// Bytes that a block works in: its queries, and keys and values of one tile or two.
fn memory(d: i64) -> i64 {
    let stages = if d > 128 { 1 } else { 2 };
    (1 + 2 * stages) * TILE * (d + 8) * 2
}

/// `Keys` of the kernel.
struct Keys<'a> {
    tensors: [&'a Tensor; 2],
    starts: Option<&'a Tensor>,
    lengths: &'a Tensor,
    most: i64,
    longest: i64,
    /// What has these keys to itself: blocks, if there were no splits.
    units: i64,
}

impl Keys<'_> {
    /// Into how many parts the keys are cut, so that there is a block for each processor.
    fn splits(&self, gpu: &Gpu) -> i64 {
        let wanted = (gpu.processors + self.units - 1) / self.units;
        wanted.min((self.longest + TILE - 1) / TILE).max(1)
    }

    fn argument(&self, splits: i64) -> Argument {
        let mut words: Vec<u64> = self.tensors.iter().map(|&x| Argument::from(x).word()).collect();
        words.extend([Argument::from(self.starts), Argument::from(self.lengths)].map(Argument::word));
        for x in self.tensors {
            let stride = x.stride();
            let [.., token, head, _] = stride[..] else { continue }; // there are three or four
            words.extend([if stride.len() == 4 { stride[0] } else { 0 }, token, head].map(|stride| stride as u64));
        }
        words.extend([two(self.most, self.longest), splits as u64]);
        Argument::of_words(words)
    }
}

/// Two ints as they lie in a struct.
fn two(first: i64, second: i64) -> u64 {
    u64::from(first as u32) | u64::from(second as u32) << 32
}

//! `B` rows, `H` heads, `K` key-value heads, `d` head size, `C` capacity of a cache.

use tch::{Device, Kind, Tensor, no_grad};

use crate::driver::{Argument, Size};
use crate::kernels::{Kernel, in_packs, kind_name, pack};
use crate::trial::{Pair, trusted, varied};
use crate::{Result, described, unfit};

const FUNCTION: &str = "rotate_into_cache";

/// Queries, keys and values of one product: the queries rotated, the keys rotated and stored beside the values.
///
/// A head `x` becomes `x cos + [−x₂, x₁] sin` with its halves `x₁` and `x₂` (RoFormer,
/// [arXiv:2104.09864](https://arxiv.org/abs/2104.09864)), computed in the wider kind of `qkv` and `rotation`, each operation
/// rounded. Row `b`'s key and value are written to `places[b]` of its part of `cache`; a place outside of it takes nothing.
/// There is no gradient.
///
/// # Shapes
/// `qkv` `[B, (H + 2K)·d]`: the heads of the queries, of the keys, of the values; `heads` is `(H, K, d)`; `rotation` is cosines and
/// sines, `[B, d]` each; `cache` is keys and values, `[B, C, K, d]` each, of `qkv`'s kind, with a head's numbers side by side;
/// `places` `[B]`, i32. The result is the queries, `[B, H, d]`.
///
/// # Errors
/// If shapes, kinds or devices do not fit together, or the device fails.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
/// use vr1_torch::rotate_into_cache;
///
/// let qkv = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([1, 6]); // a query, a key and a value
/// let (cos, sin) = (Tensor::zeros([1, 2], (Kind::Float, Device::Cpu)), Tensor::ones([1, 2], (Kind::Float, Device::Cpu)));
/// let [keys, values] = [0, 1].map(|_| Tensor::zeros([1, 2, 1, 2], (Kind::Float, Device::Cpu)));
/// let places = Tensor::from_slice(&[1i32]);
/// let query = rotate_into_cache(&qkv, (1, 1, 2), (&cos, &sin), (&keys, &values), &places)?;
/// assert_eq!(Vec::<f32>::try_from(query.view([-1]))?, [-2.0, 1.0]);
/// assert_eq!(Vec::<f32>::try_from(keys.view([-1]))?, [0.0, 0.0, -4.0, 3.0]);
/// assert_eq!(Vec::<f32>::try_from(values.view([-1]))?, [0.0, 0.0, 5.0, 6.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn rotate_into_cache(
    qkv: &Tensor,
    heads: (i64, i64, i64),
    rotation: (&Tensor, &Tensor),
    cache: (&Tensor, &Tensor),
    places: &Tensor,
) -> Result<Tensor> {
    check(qkv, heads, rotation, cache, places)?;
    let (turned, (count, shared, d)) = (rotation.0.kind(), heads);
    let sizes = [count, shared, d, turned as i64];
    let made = trusted(Kernel::RotateIntoCache, qkv, &sizes, |device, kind| trial(heads, turned, device, kind))?;
    let by_kernel = || if made { by_kernel(qkv, heads, rotation, cache, places) } else { Ok(None) };
    no_grad(|| match by_kernel()? {
        Some(query) => Ok(query),
        None => plain(qkv, heads, rotation, cache, places),
    })
}

fn trial(heads: (i64, i64, i64), turned: Kind, device: Device, kind: Kind) -> Result<Vec<Pair>> {
    const ROWS: i64 = 3;
    let (count, shared, d) = heads;
    let qkv = varied(&[ROWS, (count + 2 * shared) * d], 0.0, device, kind)?;
    let (cos, sin) = (varied(&[ROWS, d], 0.1, device, turned)?, varied(&[ROWS, d], 0.2, device, turned)?);
    let places = Tensor::from_slice(&[4i32, 0, 2]).f_to_device(device)?;
    let empty = || Tensor::f_zeros([ROWS, 5, shared, d], (kind, device));
    let (of_kernel, of_operators) = ((empty()?, empty()?), (empty()?, empty()?));
    let Some(kernel) = by_kernel(&qkv, heads, (&cos, &sin), (&of_kernel.0, &of_kernel.1), &places)? else {
        return Ok(Vec::new());
    };
    let operators = plain(&qkv, heads, (&cos, &sin), (&of_operators.0, &of_operators.1), &places)?;
    Ok(vec![
        Pair::rounded(kernel, operators),
        Pair::rounded(of_kernel.0, of_operators.0),
        Pair::rounded(of_kernel.1, of_operators.1),
    ])
}

/// Nothing where the kernel does not take these.
fn by_kernel(
    qkv: &Tensor,
    (heads, shared, d): (i64, i64, i64),
    (cos, sin): (&Tensor, &Tensor),
    cache: (&Tensor, &Tensor),
    places: &Tensor,
) -> Result<Option<Tensor>> {
    let pack = pack(qkv.kind());
    let strides = [cache.0, cache.1].map(|x| x.stride());
    let in_cache =
        |x: &Tensor| x.data_ptr().addr().is_multiple_of(16) && x.stride()[..3].iter().all(|stride| stride % pack == 0);
    let whole = d % (2 * pack) == 0 && in_packs(qkv) && in_cache(cache.0) && in_cache(cache.1);
    let (Some(kind), Some(turned), Some(gpu)) =
        (kind_name(qkv.kind()).filter(|_| whole), kind_name(cos.kind()), Kernel::RotateIntoCache.gpu(qkv)?)
    else {
        return Ok(None);
    };
    let (cos, sin, places) = (cos.f_contiguous()?, sin.f_contiguous()?, places.f_contiguous()?);
    let (rows, capacity) = (qkv.size()[0], cache.0.size()[1]);
    let query = Tensor::f_empty([rows, heads, d], (qkv.kind(), qkv.device()))?;
    let wider = if kind == turned { kind } else { "f32" };
    let defines = [format!("T={kind}"), format!("C={turned}"), format!("W={wider}")];
    let functions = Kernel::RotateIntoCache.functions(gpu, &defines)?;
    if rows > 0 {
        let packs = (heads + 2 * shared) * d / 2 / pack;
        let size = Size { blocks: [rows, 1], threads: packs.min(256), shared: 0 };
        let numbers = [heads, shared, d, capacity].map(|n| Argument::from(n as i32));
        let mut arguments: Vec<Argument> = vec![qkv.into(), (&cos).into(), (&sin).into(), (&query).into()];
        arguments.extend([cache.0, cache.1, &places].map(Argument::from));
        arguments.extend(numbers);
        arguments.extend(strides.iter().flat_map(|stride| stride[..3].iter().map(|&stride| Argument::from(stride))));
        // SAFETY: these are the kernel's arguments; shapes were checked, and it writes to no place outside of the cache.
        unsafe { gpu.launch(functions[0], size, &arguments)? };
    }
    Ok(Some(query))
}

fn check(
    qkv: &Tensor,
    (heads, shared, d): (i64, i64, i64),
    rotation: (&Tensor, &Tensor),
    cache: (&Tensor, &Tensor),
    places: &Tensor,
) -> Result<()> {
    let rows = qkv.size().first().copied().unwrap_or(0);
    if heads < 1 || shared < 1 || d < 2 || d % 2 != 0 || qkv.size() != [rows, (heads + 2 * shared) * d] {
        let found = described(qkv);
        return Err(unfit(
            FUNCTION,
            format!("{found} is not [B, (H + 2K)·d] of {heads} and {shared} heads of size {d}"),
        ));
    }
    for (what, x) in [("cosines", rotation.0), ("sines", rotation.1)] {
        if x.size() != [rows, d]
            || x.kind() != rotation.0.kind()
            || x.device() != qkv.device()
            || !x.is_floating_point()
        {
            return Err(unfit(FUNCTION, format!("{what} {} for {}", described(x), described(qkv))));
        }
    }
    for (what, x) in [("keys", cache.0), ("values", cache.1)] {
        let fits = matches!(x.size()[..], [b, capacity, k, size] if (b, k, size) == (rows, shared, d) && capacity > 0);
        let alike = x.kind() == qkv.kind() && x.device() == qkv.device() && x.size() == cache.0.size();
        if !fits || !alike || x.stride()[3] != 1 {
            return Err(unfit(FUNCTION, format!("a cache of {what} {} for {}", described(x), described(qkv))));
        }
    }
    if places.size() != [rows] || places.kind() != Kind::Int || places.device() != qkv.device() {
        return Err(unfit(FUNCTION, format!("places {} for {}", described(places), described(qkv))));
    }
    Ok(())
}

fn plain(
    qkv: &Tensor,
    (heads, shared, d): (i64, i64, i64),
    (cos, sin): (&Tensor, &Tensor),
    cache: (&Tensor, &Tensor),
    places: &Tensor,
) -> Result<Tensor> {
    let (cos, sin) = (cos.f_unsqueeze(1)?, sin.f_unsqueeze(1)?);
    let rotated = |x: &Tensor| -> Result<Tensor> {
        let halves = x.f_chunk(2, -1)?;
        let turned = Tensor::f_cat(&[halves[1].f_neg()?, halves[0].shallow_clone()], -1)?;
        Ok(x.f_mul(&cos)?.f_add(&turned.f_mul(&sin)?)?.f_to_kind(x.kind())?)
    };
    let all = qkv.f_reshape([-1, heads + 2 * shared, d])?;
    let part = |from: i64, count: i64| all.f_narrow(1, from, count);
    let capacity = cache.0.size()[1];
    let inside = places.f_ge(0)?.f_logical_and(&places.f_lt(capacity)?)?.f_view([-1, 1, 1])?;
    let rows = Tensor::f_arange(qkv.size()[0], (Kind::Int64, qkv.device()))?;
    let at = [Some(rows), Some(places.f_to_kind(Kind::Int64)?.f_clamp(0, capacity - 1)?)];
    for (cache, new) in [(cache.0, rotated(&part(heads, shared)?)?), (cache.1, part(heads + shared, shared)?)] {
        let kept = new.f_where_self(&inside, &cache.f_index(&at)?)?;
        let _ = cache.shallow_clone().f_index_put_(&at, &kept, false)?;
    }
    rotated(&part(0, heads)?)
}

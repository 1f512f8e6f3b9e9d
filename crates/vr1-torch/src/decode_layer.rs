//! `P` groups, `B` rows, `D` hidden, `F` inside the feed-forward layer, `H` heads, `K` key-value heads, `d` head size.

use std::ffi::{c_char, c_void};
use std::ptr;

use tch::{Device, Kind, Tensor};

use crate::message::check;
use crate::{OwnKeys, Result, SharedKeys, described, group_attention, unfit};

const FUNCTION: &str = "decode_layer";

/// A matrix `[outputs, inputs]`, and a vector `[outputs]` that is added to what it gives.
pub type Product<'a> = (&'a Tensor, Option<&'a Tensor>);

/// What a layer of a decoder is made of: attention and a feed-forward layer gated by `silu`, each behind a root-mean-square norm and
/// beside the residual stream.
#[derive(Debug, Clone, Copy)]
pub struct DecoderLayer<'a> {
    /// Query heads, key-value heads and the size of one, `(H, K, d)`.
    pub heads: (i64, i64, i64),
    /// Weight `[D]` and ε of the norm before attention.
    pub norm: (&'a Tensor, f64),
    /// Queries, keys and values, `[(H + 2K)·d, D]`.
    pub qkv: Product<'a>,
    /// `[D, H·d]`.
    pub output: Product<'a>,
    /// Weight `[D]` and ε of the norm before the feed-forward layer.
    pub mlp_norm: (&'a Tensor, f64),
    /// Gate and what it is multiplied with, `[2F, D]`.
    pub gate_up: Product<'a>,
    /// `[D, F]`.
    pub down: Product<'a>,
}

/// What the next token of each row sees, and where its own key and value go.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Cosines and sines of the tokens' positions, `[B, d]` each.
    pub rotation: (&'a Tensor, &'a Tensor),
    /// Keys and values of prompts.
    pub prefix: SharedKeys<'a>,
    /// Those of each row, the token's among them.
    pub own: OwnKeys<'a>,
    /// Where in `own` the token's go, `[B]`, i32; a place outside of it takes nothing.
    pub places: &'a Tensor,
}

#[repr(C)]
struct CLayer {
    tensors: [*const c_void; 20],
    numbers: [i64; 4],
    epsilons: [f64; 2],
}

unsafe extern "C" {
    fn vr1_decode_layer(x: *const c_void, layer: *const CLayer, out: *mut *mut c_void) -> *mut c_char;
}

/// A whole layer of a decoder for a token a row, on the CPU in f32: what the stream `x` is behind it. Keys, rotated, and values are put
/// into their places. Nothing where it is not f32 on the CPU.
///
/// Products of up to 16 rows read each matrix once at the memory's speed; what lies between two of them is one pass. There is no
/// gradient.
///
/// # Shapes
/// `x` `[B, D]`, and the result.
///
/// # Errors
/// If shapes, kinds or devices do not fit together.
pub fn decode_layer(x: &Tensor, layer: &DecoderLayer<'_>, seen: &Seen<'_>) -> Result<Option<Tensor>> {
    if x.device() != Device::Cpu || x.kind() != Kind::Float {
        return Ok(None);
    }
    check_shapes(x, layer, seen)?;
    let raw = |x: &Tensor| x.as_ptr().cast::<c_void>();
    let or_none = |x: Option<&Tensor>| x.map_or(ptr::null(), raw);
    let x = x.f_contiguous()?;
    let lists =
        [seen.rotation.0, seen.rotation.1, seen.prefix.starts, seen.prefix.lengths, seen.own.lengths, seen.places];
    let lists = lists.into_iter().map(Tensor::f_contiguous).collect::<Result<Vec<_>, _>>()?;
    let c = CLayer {
        tensors: [
            raw(layer.norm.0),
            raw(layer.qkv.0),
            or_none(layer.qkv.1),
            raw(layer.output.0),
            or_none(layer.output.1),
            raw(layer.mlp_norm.0),
            raw(layer.gate_up.0),
            or_none(layer.gate_up.1),
            raw(layer.down.0),
            or_none(layer.down.1),
            raw(&lists[0]),
            raw(&lists[1]),
            raw(seen.prefix.keys),
            raw(seen.prefix.values),
            raw(&lists[2]),
            raw(&lists[3]),
            raw(seen.own.keys),
            raw(seen.own.values),
            raw(&lists[4]),
            raw(&lists[5]),
        ],
        numbers: [seen.prefix.longest, layer.heads.0, layer.heads.1, layer.heads.2],
        epsilons: [layer.norm.1, layer.mlp_norm.1],
    };
    let mut out = ptr::null_mut();
    // SAFETY: all tensors outlive the call, which goes by the shapes that were checked and catches every exception of C++; where it
    // returns null, it has written a tensor that nobody else owns.
    unsafe {
        check(vr1_decode_layer(raw(&x), &c, &mut out))?;
        Ok(Some(Tensor::from_ptr(out.cast())))
    }
}

fn check_shapes(x: &Tensor, layer: &DecoderLayer<'_>, seen: &Seen<'_>) -> Result<()> {
    let (heads, shared, d) = layer.heads;
    let &[rows, hidden] = x.size().as_slice() else {
        return Err(unfit(FUNCTION, format!("a stream {} must have two dimensions", described(x))));
    };
    if heads < 1 || shared < 1 || d < 2 || d % 2 != 0 {
        return Err(unfit(FUNCTION, format!("{heads} and {shared} heads of size {d}")));
    }
    group_attention::check(&Tensor::f_empty([rows, heads, d], (x.kind(), x.device()))?, &seen.prefix, &seen.own)?;
    let inside = layer.down.0.size().get(1).copied().unwrap_or(0);
    let fits = |what: &str, x: &Tensor, kind, size: &[i64]| {
        let fits = x.kind() == kind && x.device() == Device::Cpu && x.size() == size;
        if fits {
            Ok(())
        } else {
            Err(unfit(FUNCTION, format!("{what} {} where {kind:?} {size:?} fits", described(x))))
        }
    };
    for (what, (weight, bias), [outputs, inputs]) in [
        ("queries, keys and values", layer.qkv, [(heads + 2 * shared) * d, hidden]),
        ("an output", layer.output, [hidden, heads * d]),
        ("gate and up", layer.gate_up, [2 * inside, hidden]),
        ("down", layer.down, [hidden, inside]),
    ] {
        fits(what, weight, Kind::Float, &[outputs, inputs])?;
        if let Some(bias) = bias {
            fits(what, bias, Kind::Float, &[outputs])?;
        }
        if !weight.is_contiguous() || bias.is_some_and(|bias| !bias.is_contiguous()) {
            return Err(unfit(FUNCTION, format!("{what} {} must lie in one row", described(weight))));
        }
    }
    for (norm, _) in [layer.norm, layer.mlp_norm] {
        fits("a norm", norm, Kind::Float, &[hidden])?;
    }
    for table in [seen.rotation.0, seen.rotation.1] {
        fits("a rotation", table, Kind::Float, &[rows, d])?;
    }
    fits("places", seen.places, Kind::Int, &[rows])?;
    if !seen.own.keys.is_contiguous() || !seen.own.values.is_contiguous() {
        return Err(unfit(FUNCTION, format!("a cache {} must lie in one row", described(seen.own.keys))));
    }
    Ok(())
}

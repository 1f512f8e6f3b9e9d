//! `P` groups of `G` rows, `B = P·G` rows, `H` heads, `K` key-value heads, `d` head size, `N` keys of all prefixes, `C` capacity of a row.

use tch::{Device, Kind, Tensor, no_grad};

use crate::attention::Path;
use crate::kernels::Kernel;
use crate::rows::rows;
use crate::trial::{Pair, trusted, varied};
use crate::{Error, Result, described, split, unfit};

const FUNCTION: &str = "group_attention";

/// The keys and values of prefixes that lie side by side without padding, each seen by all rows of its group.
#[derive(Debug, Clone, Copy)]
pub struct SharedKeys<'a> {
    /// `[N, K, d]`.
    pub keys: &'a Tensor,
    /// `[N, K, d]`.
    pub values: &'a Tensor,
    /// Where each group's prefix begins among the `N`: `[P]`, i32, on the device.
    pub starts: &'a Tensor,
    /// How long it is: `[P]`, i32, on the device.
    pub lengths: &'a Tensor,
    /// What no length exceeds while these tensors are used: how much work is laid out for a prefix.
    pub longest: i64,
}

/// The keys and values that each row has for itself.
#[derive(Debug, Clone, Copy)]
pub struct OwnKeys<'a> {
    /// `[B, C, K, d]`.
    pub keys: &'a Tensor,
    /// `[B, C, K, d]`.
    pub values: &'a Tensor,
    /// How many of its `C` keys a row sees, from the first on: `[B]`, i32, on the device.
    pub lengths: &'a Tensor,
}

/// Attention of one token a row over the prefix of its group and over keys of its own: the attention of a decoding step.
///
/// `out = softmax(q · k / √d) v` over the keys of both, with sums in f32 (f64 for f64). A prefix is read once for all rows of
/// its group. Lengths lie on the device and may change there: what was recorded in a [`Graph`](crate::Graph) goes on to see
/// caches that grow, up to `longest` and `C`. A row that sees no key at all gets 0. There is no gradient. On the CPU a row's
/// numbers are computed by the same operations whatever rows stand beside it.
///
/// # Shapes
/// `query` `[B, H, d]`, rows of a group side by side, `B` a multiple of `P`, `H` of `K`; the result is `[B, H, d]`.
/// A key's numbers lie side by side.
///
/// # Errors
/// If shapes, kinds or devices do not fit together, or the device fails. Lengths on a GPU are not looked at.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
/// use vr1_torch::{OwnKeys, SharedKeys, group_attention};
///
/// // Two rows of one group, a prefix of two tokens; equal keys, so that weights are equal.
/// let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
/// let values = Tensor::from_slice(&[2.0f32, 4.0]).view([2, 1, 1]);
/// let (starts, lengths) = (Tensor::from_slice(&[0i32]), Tensor::from_slice(&[2i32]));
/// let prefix = SharedKeys { keys: &zeros(&[2, 1, 1]), values: &values, starts: &starts, lengths: &lengths, longest: 2 };
/// let values = Tensor::from_slice(&[9.0f32, 0.0]).view([2, 1, 1, 1]);
/// let own = OwnKeys { keys: &zeros(&[2, 1, 1, 1]), values: &values, lengths: &Tensor::from_slice(&[1i32, 0]) };
/// let out = group_attention(&zeros(&[2, 1, 1]), &prefix, &own)?;
/// assert_eq!(Vec::<f32>::try_from(out.view([-1]))?, [5.0, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn group_attention(query: &Tensor, prefix: &SharedKeys<'_>, own: &OwnKeys<'_>) -> Result<Tensor> {
    check(query, prefix, own)?;
    let sizes = [query.size()[1], prefix.keys.size()[1], query.size()[2]];
    let made = trusted(Kernel::GroupAttention, query, &sizes, |device, kind| trial(sizes, device, kind))?;
    let by_kernel = || if made { split::by_kernel(query, prefix, own) } else { Ok(None) };
    no_grad(|| match by_kernel()? {
        Some(out) => Ok(out),
        None => rows(query, prefix, own, Path::Fused),
    })
}

/// Two groups of three rows, prefixes and rows of several lengths, one of which is none.
fn trial([heads, shared, d]: [i64; 3], device: Device, kind: Kind) -> Result<Vec<Pair>> {
    let numbers = |size: &[i64], seed| Ok::<_, Error>(varied(size, seed, device, kind)?.f_mul_scalar(4.0)?);
    let query = numbers(&[6, heads, d], 0.0)?;
    let (keys, values) = (numbers(&[210, shared, d], 0.1)?, numbers(&[210, shared, d], 0.2)?);
    let (own_keys, own_values) = (numbers(&[6, 70, shared, d], 0.3)?, numbers(&[6, 70, shared, d], 0.4)?);
    let list = |numbers: &[i32]| Tensor::from_slice(numbers).f_to_device(device);
    let (starts, lengths, own_lengths) = (list(&[3, 140])?, list(&[137, 67])?, list(&[1, 70, 64, 65, 0, 9])?);
    let prefix = SharedKeys { keys: &keys, values: &values, starts: &starts, lengths: &lengths, longest: 137 };
    let own = OwnKeys { keys: &own_keys, values: &own_values, lengths: &own_lengths };
    let Some(kernel) = split::by_kernel(&query, &prefix, &own)? else { return Ok(Vec::new()) };
    Ok(vec![Pair::rounded(kernel, rows(&query, &prefix, &own, Path::Fused)?)])
}

pub(crate) fn check(query: &Tensor, prefix: &SharedKeys<'_>, own: &OwnKeys<'_>) -> Result<()> {
    let ([rows, heads, d], [_, shared, _]) = (sizes(query, "queries")?, sizes(prefix.keys, "keys of prefixes")?);
    let groups = prefix.starts.size().first().copied().unwrap_or(0);
    if groups < 1 || rows % groups != 0 || shared < 1 || heads % shared != 0 || d < 1 || !query.is_floating_point() {
        let keys = described(prefix.keys);
        return Err(unfit(FUNCTION, format!("{} in {groups} groups over {keys}", described(query))));
    }
    for (what, x) in [
        ("keys of prefixes", prefix.keys),
        ("values of prefixes", prefix.values),
        ("own keys", own.keys),
        ("own values", own.values),
    ] {
        let size = x.size();
        let fits = size.ends_with(&[shared, d]) && x.kind() == query.kind() && x.device() == query.device();
        let whole = match size.len() {
            3 => size == prefix.keys.size(),
            4 => size[0] == rows && size == own.keys.size(),
            _ => false,
        };
        if !fits || !whole || x.stride().last() != Some(&1) {
            return Err(unfit(FUNCTION, format!("{what} {} for queries {}", described(x), described(query))));
        }
    }
    if own.keys.dim() != 4 || own.values.dim() != 4 || prefix.values.dim() != 3 || prefix.longest < 0 {
        return Err(unfit(FUNCTION, format!("own keys {} are not [B, C, K, d]", described(own.keys))));
    }
    for (what, x, count) in
        [("starts", prefix.starts, groups), ("lengths", prefix.lengths, groups), ("own lengths", own.lengths, rows)]
    {
        if x.size() != [count] || x.kind() != Kind::Int || x.device() != query.device() {
            return Err(unfit(FUNCTION, format!("{what} {} for queries {}", described(x), described(query))));
        }
    }
    Ok(())
}

fn sizes(x: &Tensor, what: &str) -> Result<[i64; 3]> {
    <[i64; 3]>::try_from(x.size())
        .map_err(|_| unfit(FUNCTION, format!("{what} {} must have three dimensions", described(x))))
}

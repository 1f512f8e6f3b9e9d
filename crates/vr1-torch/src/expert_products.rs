//! `S` rows, `E` experts.

use tch::{Device, Kind, Tensor};

use crate::kernels::gpu;
use crate::{Result, described, unfit};

/// The most rows that go through all experts on a GPU whose libtorch would ask the host where one ends.
const FEW_ROWS: i64 = 1024;

/// Rows that lie expert by expert, each times its expert's matrix: `out[i] = x[i] · matrices[e]` for `ends[e − 1] ≤ i < ends[e]`.
///
/// Of bf16 on a GPU of compute capability 9.0 or more, and of f32, bf16 and f16 on the CPU, it is libtorch's grouped product, which
/// looks at the ends where they lie; rows and columns of matrices must be of whole 16 bytes for that. All else is a product an expert.
/// A few rows on a GPU go through every expert instead, so that the host need not know the ends and a [`Graph`](crate::Graph) can
/// record it.
///
/// # Shapes
/// `x` `[S, inputs]`, `matrices` `[E, inputs, outputs]`, in memory either way round, of one kind; `ends` `[E]`, i32, which do not fall and
/// end with `S`. The result is `[S, outputs]`.
///
/// # Errors
/// If shapes, kinds or devices do not fit together, or libtorch fails.
///
/// # Example
/// ```
/// use tch::Tensor;
///
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0]).view([3, 1]);
/// let matrices = Tensor::from_slice(&[10.0f32, 100.0, 1000.0]).view([3, 1, 1]);
/// let out = vr1_torch::expert_products(&x, &matrices, &Tensor::from_slice(&[1i32, 1, 3]))?;
/// assert_eq!(Vec::<f32>::try_from(out.flatten(0, -1))?, [10.0, 2000.0, 3000.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn expert_products(x: &Tensor, matrices: &Tensor, ends: &Tensor) -> Result<Tensor> {
    let (rows, shape) = (x.size(), matrices.size());
    let alike = x.kind() == matrices.kind() && x.device() == matrices.device() && ends.device() == x.device();
    let fits = rows.len() == 2 && shape.len() == 3 && rows[1] == shape[1] && ends.size() == shape[..1];
    if !alike || !fits || ends.kind() != Kind::Int {
        let (x, matrices, ends) = (described(x), described(matrices), described(ends));
        return Err(unfit("expert_products", format!("matrices {matrices} and ends {ends} do not fit x {x}")));
    }
    if grouped(x, matrices)? {
        return Ok(x.f_internal_grouped_mm(matrices, Some(ends), None::<&Tensor>, x.kind())?);
    }
    if x.device().is_cuda() && rows[0] <= FEW_ROWS {
        let all = x.f_unsqueeze(0)?.f_expand([shape[0], rows[0], rows[1]], false)?.f_bmm(matrices)?;
        let numbers = Tensor::f_arange(rows[0], (Kind::Int64, x.device()))?;
        let experts = numbers.f_searchsorted(ends, false, true, "right", None::<&Tensor>)?;
        return Ok(all.f_flatten(0, 1)?.f_index_select(0, &(experts.f_mul_scalar(rows[0])?.f_add(&numbers)?))?);
    }
    let ends = Vec::<i64>::try_from(&ends.f_to_kind(Kind::Int64)?)?;
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let mut parts = Vec::new();
    // One view of all, whose gradients are put together once.
    for ((start, &end), matrix) in starts.zip(&ends).zip(matrices.f_unbind(0)?) {
        if end > start {
            parts.push(x.f_narrow(0, start, end - start)?.f_mm(&matrix)?);
        }
    }
    if parts.is_empty() {
        return Ok(x.f_new_zeros([rows[0], shape[2]], (x.kind(), x.device()))?);
    }
    Ok(Tensor::f_cat(&parts, 0)?)
}

/// Whether libtorch's grouped product is to do it.
fn grouped(x: &Tensor, matrices: &Tensor) -> Result<bool> {
    let known = match x.device() {
        Device::Cuda(index) => x.kind() == Kind::BFloat16 && gpu(index)?.capability >= 90,
        _ => matches!(x.kind(), Kind::Float | Kind::BFloat16 | Kind::Half),
    };
    let whole = |length: &i64| (*length as usize * x.kind().elt_size_in_bytes()).is_multiple_of(16);
    Ok(known && x.size()[0] > 0 && matrices.size()[1..].iter().all(whole))
}

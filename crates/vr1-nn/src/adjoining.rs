use tch::Tensor;

/// The one tensor that the parts, which must be alike but in their number of rows, are the rows of; none where they do not
/// follow each other in one memory. It is another view of that memory: what changes in a part changes in it.
pub(crate) fn joint(parts: &[Tensor]) -> Option<Tensor> {
    let first = parts.first()?;
    let facts = |x: &Tensor| (x.size().get(1..).map(<[i64]>::to_vec), x.kind(), x.device(), x.is_contiguous());
    if !first.is_contiguous() || parts.iter().any(|part| facts(part) != facts(first)) {
        return None;
    }
    let mut end = first.data_ptr().addr();
    for part in parts {
        if part.data_ptr().addr() != end {
            return None;
        }
        end += part.numel() * part.kind().elt_size_in_bytes();
    }
    let mut size = first.size();
    *size.first_mut()? = parts.iter().map(|part| part.size()[0]).sum();
    // Two memories may lie side by side by chance; libtorch refuses a view that leaves the first.
    tch::no_grad(|| first.f_as_strided(&size, first.stride(), None)).ok().map(|whole| whole.detach())
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::joint;

    #[test]
    fn rows_of_one_tensor_are_seen_as_it_and_no_others() {
        let whole = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([2, 4, 3]).get(1);
        let parts = |lengths: &[i64]| whole.split_with_sizes(lengths, 0);
        let seen = joint(&parts(&[1, 3])).map(|seen| (seen.equal(&whole), seen.data_ptr() == whole.data_ptr()));
        assert_eq!(seen, Some((true, true)));
        let none = |parts: &[Tensor]| assert!(joint(parts).is_none());
        let [first, second, third] = [0, 1, 2].map(|row| whole.narrow(0, row, 1));
        none(&[first.shallow_clone(), third.shallow_clone()]);
        none(&[second.shallow_clone(), first.shallow_clone()]);
        none(&[first.shallow_clone(), second.copy()]);
        none(&[first.shallow_clone(), second.to_kind(Kind::Double)]);
        none(&[whole.narrow(1, 0, 1), whole.narrow(1, 1, 1)]);
        none(&[]);
        // A change of one is a change of the other.
        let both = joint(&[second.shallow_clone(), third]);
        let _ = second.shallow_clone().fill_(-1.0);
        assert_eq!(both.map(|both| both.double_value(&[0, 2])), Some(-1.0));
    }
}

use tch::Tensor;

/// How files hold a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// By its name and in its shape.
    Whole,
    /// By its name with the last two dimensions the other way round. Where the shape is the parameter's own it is as the model has it,
    /// which is what transformers goes by: square matrices are never turned.
    Turned,
    /// Each element of the first dimension for itself, and that in parts, which are its rows, one behind the other: number 3 of
    /// `experts.gate_up_proj` is `experts.3.gate_proj.weight` and `experts.3.up_proj.weight` with the parts `gate_proj` and `up_proj`.
    /// Files that have it whole are read too.
    Apart(&'static [&'static str]),
    /// By another name at the same place.
    Called(&'static str),
}

impl Stored {
    /// What a file is to hold of the parameter `name`: names and tensors, views of the parameter.
    pub(crate) fn entries(self, name: &str, tensor: &Tensor) -> Vec<(String, Tensor)> {
        let place = place_of(name);
        match self {
            Self::Whole => vec![(name.to_owned(), tensor.shallow_clone())],
            Self::Turned => {
                let square = tensor.size()[1] == tensor.size()[2];
                vec![(name.to_owned(), if square { tensor.shallow_clone() } else { tensor.transpose(1, 2) })]
            }
            Self::Called(other) => vec![(format!("{place}{other}"), tensor.shallow_clone())],
            Self::Apart(parts) => {
                let one = |(number, element): (usize, Tensor)| {
                    let rows = element.size()[0] / parts.len() as i64;
                    let part = |(start, part): (i64, &&str)| {
                        (format!("{place}{number}.{part}.weight"), element.narrow(0, start * rows, rows))
                    };
                    (0..).zip(parts).map(part).collect::<Vec<_>>()
                };
                tensor.unbind(0).into_iter().enumerate().flat_map(one).collect()
            }
        }
    }
}

/// Where the parameter `name` is, with the dot behind it.
pub(crate) fn place_of(name: &str) -> &str {
    name.rfind('.').map_or("", |dot| &name[..=dot])
}

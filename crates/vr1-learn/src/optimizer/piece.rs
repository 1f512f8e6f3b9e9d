use tch::Tensor;

/// Numbers of a parameter that are updated at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// Which of the slots is the parameter's.
    pub(super) parameter: usize,
    /// Which of the gradients is its.
    pub(super) gradient: usize,
    /// Where they begin, and how many they are; nothing where they are all.
    run: Option<(i64, i64)>,
}

/// Numbers that are updated at once, at the most: what is brought over, widened or taken out of 8 bits is held for as many.
const AT_ONCE: i64 = 1 << 24;

impl Piece {
    /// All of a parameter.
    pub(super) fn whole(parameter: usize, gradient: usize) -> Self {
        Self { parameter, gradient, run: None }
    }

    /// Whether it is where a parameter begins.
    pub(super) fn is_first(&self) -> bool {
        self.run.is_none_or(|(start, _)| start == 0)
    }

    /// These numbers of a tensor that has the parameter's shape; the tensor's own.
    pub(super) fn of(&self, tensor: &Tensor) -> Tensor {
        match self.run {
            None => tensor.shallow_clone(),
            Some((start, length)) => tensor.view([-1]).narrow(0, start, length),
        }
    }

    /// Where they begin, and how many they are of `all`.
    pub(super) fn run(&self, all: usize) -> (i64, i64) {
        self.run.unwrap_or((0, all as i64))
    }
}

/// Parameters, each with its gradient, cut into pieces and these put together.
pub(super) fn batches<'a>(gradients: impl Iterator<Item = (usize, usize, &'a Tensor)>) -> Vec<Vec<Piece>> {
    let (mut batches, mut batch, mut held) = (Vec::new(), Vec::new(), 0);
    for (parameter, gradient, tensor) in gradients {
        let numbers = tensor.numel() as i64;
        let runs: Vec<Option<(i64, i64)>> = match numbers > AT_ONCE && tensor.is_contiguous() {
            true => (0..numbers).step_by(AT_ONCE as usize).map(|at| Some((at, AT_ONCE.min(numbers - at)))).collect(),
            false => vec![None],
        };
        for run in runs {
            let more = run.map_or(numbers, |(_, length)| length);
            if held > 0 && held + more > AT_ONCE {
                batches.push(std::mem::take(&mut batch));
                held = 0;
            }
            held += more;
            batch.push(Piece { parameter, gradient, run });
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

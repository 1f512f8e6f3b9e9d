use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, UnwindSafe};
use std::sync::Once;

use crate::gradient::{collect_gradients, gradients_collected};
use crate::{Error, Result};

/// Runs `work` and makes an error of libtorch's exceptions in it, which `tch` panics with: an operation that found no memory is
/// [`Error::OutOfMemory`], any other [`Error::Torch`]. They are not told as panics are. A panic of any other kind goes on.
///
/// What `work` had changed stays changed, but whether gradients are collected, which is as before.
///
/// # Errors
/// If libtorch throws.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let sum = |n: i64| Tensor::ones([n], (Kind::Float, Device::Cpu)) + Tensor::ones([2], (Kind::Float, Device::Cpu));
/// assert_eq!(vr1_torch::guarded(|| sum(2))?.size(), [2]);
/// assert!(vr1_torch::guarded(|| sum(3)).unwrap_err().to_string().contains("must match the size of tensor b (2)"));
/// # Ok::<(), vr1_torch::Error>(())
/// ```
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T> {
    caught(AssertUnwindSafe(work)).map_err(|panic| match (thrown(panic.as_ref()), panic.downcast()) {
        (_, Ok(error)) => *error,
        (Some(text), _) => Error::thrown(&text),
        (None, Err(panic)) => panic::resume_unwind(panic),
    })
}

/// What is in a result, or a panic that [`guarded`] makes this error of: for what has no result of its own, as `tch`'s own operations
/// have none.
///
/// # Panics
/// If there is an error in it.
pub fn granted<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| match GUARDS.get() {
        0 => panic!("{error}"),
        _ => panic::panic_any(error),
    })
}

thread_local!(static GUARDS: Cell<usize> = const { Cell::new(0) });

type Panic = Box<dyn Any + Send>;

/// Runs `work` and catches its panics; libtorch's exceptions are told by nobody else then.
pub(crate) fn caught<T>(work: impl FnOnce() -> T + UnwindSafe) -> Result<T, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let expected = thrown(info.payload()).is_some() || info.payload().is::<Error>();
            let told = expected && GUARDS.try_with(Cell::get).is_ok_and(|guards| guards > 0);
            if !told {
                before(info);
            }
        }));
    });
    GUARDS.set(GUARDS.get() + 1);
    let collected = gradients_collected();
    let ran = panic::catch_unwind(work);
    if ran.is_err() {
        collect_gradients(collected);
    }
    GUARDS.set(GUARDS.get() - 1);
    ran
}

/// What a panic says.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = thrown(panic).or_else(|| panic.downcast_ref::<Error>().map(Error::to_string)) {
        return text;
    }
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a panic: {}", text.unwrap_or("it says nothing"))
}

/// What libtorch threw, if that is what a panic came of: `tch` unwraps its results.
fn thrown(panic: &(dyn Any + Send)) -> Option<String> {
    let text = panic.downcast_ref::<String>()?;
    let (_, error) = text.split_once("on an `Err` value: Torch(\"")?;
    let text = error.strip_suffix("\")").unwrap_or(error);
    Some(text.replace("\\n", "\n").replace("\\\"", "\"").replace("\\'", "'"))
}

impl Error {
    /// The error that an exception of libtorch's, by its text, stands for.
    pub(crate) fn thrown(text: &str) -> Self {
        let between = |start: &str, end: &str| {
            let (_, rest) = text.split_once(start)?;
            rest.split_once(end).map(|(found, _)| found.to_owned())
        };
        let one = |wanted, device| Self::OutOfMemory { device, wanted };
        if let Some(wanted) = between("CUDA out of memory. Tried to allocate ", ". ") {
            let device = between("GPU ", " has").map_or_else(|| "a GPU".to_owned(), |index| format!("GPU {index}"));
            let (total, free) = (between("total capacity of ", " of which"), between("of which ", " is free"));
            let device = match (total, free) {
                (Some(total), Some(free)) => format!("{device} (of {total}, {free} are free)"),
                _ => device,
            };
            return one(wanted, device);
        }
        if let Some(wanted) = between("you tried to allocate ", " bytes") {
            let size = wanted.parse::<f64>().map_or(wanted, |bytes| format!("{:.2} GiB", bytes / f64::from(1 << 30)));
            return one(size, "the machine".to_owned());
        }
        // What went through C++ and came back.
        if let Some(wanted) = between(" is out of memory: ", " more were asked for")
            && let Some((device, _)) = text.split_once(" is out of memory: ")
        {
            return one(wanted, device.to_owned());
        }
        // What follows is where in libtorch it was thrown.
        let first = text.split("\nException raised from ").next().unwrap_or(text);
        Self::Torch(first.trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use crate::Error;

    #[test]
    fn what_cuda_says_of_its_memory_is_read() {
        let said = "CUDA out of memory. Tried to allocate 2.32 GiB. GPU 1 has a total capacity of 79.11 GiB of which 512.00 MiB is free. \
                    Including non-PyTorch memory, this process has 78.60 GiB memory in use.";
        let error = Error::thrown(said).to_string();
        assert_eq!(error, "GPU 1 (of 79.11 GiB, 512.00 MiB are free) is out of memory: 2.32 GiB more were asked for");
    }

    #[test]
    fn where_libtorch_threw_is_left_out() {
        let error = Error::thrown("no such thing\nException raised from f at g.cpp:1 (most recent call first):\n#1")
            .to_string();
        assert_eq!(error, "libtorch: no such thing");
    }
}

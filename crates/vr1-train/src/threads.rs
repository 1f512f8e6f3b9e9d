use tch::Device;
use vr1_vlm::Backbone;

/// Parameters below which a model is trained on one thread: waking a second takes as long as its operations do.
const SMALL: usize = 2 << 20;

/// One thread for libtorch's operations, as long as this lives, where a model is small and on the CPU.
#[derive(Debug)]
pub(crate) struct Threads {
    before: i32,
}

impl Threads {
    /// As many as are of use to `model`.
    pub(crate) fn of_use_to(model: &dyn Backbone) -> Self {
        let before = tch::get_num_threads();
        if before > 1 && model.device() == Device::Cpu && model.parameters().count() < SMALL {
            tch::set_num_threads(1);
        }
        Self { before }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if tch::get_num_threads() != self.before {
            tch::set_num_threads(self.before);
        }
    }
}

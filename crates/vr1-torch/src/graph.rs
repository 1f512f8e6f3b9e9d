use std::ffi::{c_char, c_void};
use std::ptr;

use tch::Device;

use crate::message::check;
use crate::{Error, Result};

#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Stream {
    id: i64,
    device: i64,
    kind: i64,
}

unsafe extern "C" {
    fn vr1_graph_enter(device: i64, before: *mut Stream) -> *mut c_char;
    fn vr1_graph_leave(before: *const Stream) -> *mut c_char;
    fn vr1_graph_begin(device: i64, graph: *mut *mut c_void) -> *mut c_char;
    fn vr1_graph_end(graph: *mut c_void) -> *mut c_char;
    fn vr1_graph_replay(graph: *mut c_void) -> *mut c_char;
    fn vr1_graph_free(graph: *mut c_void);
}

/// Operations on a GPU that were recorded once and are launched again as one.
///
/// A replay reads and writes the very tensors that the recorded operations did; what is to differ from replay to replay, a position
/// for one, is a tensor that changes in place. Nothing that is recorded may wait for the device, or bring numbers to or from it.
#[derive(Debug)]
pub struct Graph {
    pointer: *mut c_void,
}

impl Graph {
    /// Does `work` once, so that libraries have made what they need, and records it once more, which does nothing.
    ///
    /// # Errors
    /// If `device` is no GPU, or an operation cannot be recorded.
    pub fn record(device: Device, mut work: impl FnMut()) -> Result<Self> {
        let Device::Cuda(index) = device else {
            return Err(Error::NoCuda { device: format!("{device:?}"), reason: "graphs are CUDA's".to_owned() });
        };
        let side = Side::enter(index as i64)?;
        work();
        let mut graph = Self { pointer: ptr::null_mut() };
        // SAFETY: `graph.pointer` is null or what the shim has made, and is freed when `graph` is dropped.
        unsafe { check(vr1_graph_begin(side.device, &mut graph.pointer))? };
        let open = Open(graph.pointer);
        work();
        open.end()?;
        side.leave()?;
        Ok(graph)
    }

    /// Launches what was recorded, on the current stream.
    ///
    /// # Errors
    /// If CUDA refuses.
    pub fn replay(&self) -> Result<()> {
        // SAFETY: the graph was recorded to its end.
        unsafe { check(vr1_graph_replay(self.pointer)) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if !self.pointer.is_null() {
            // SAFETY: it came from the shim, and nothing uses it after this.
            unsafe { vr1_graph_free(self.pointer) }
        }
    }
}

/// A recording that is to be ended, whatever happens in it.
struct Open(*mut c_void);

impl Open {
    fn end(self) -> Result<()> {
        let graph = self.0;
        std::mem::forget(self);
        // SAFETY: the graph is being recorded.
        unsafe { check(vr1_graph_end(graph)) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: the graph is being recorded. What is wrong is told by what ends here.
        let _ = unsafe { check(vr1_graph_end(self.0)) };
    }
}

/// The side stream in the place of the current one.
struct Side {
    device: i64,
    before: Stream,
}

impl Side {
    fn enter(device: i64) -> Result<Self> {
        let mut before = Stream { id: 0, device: 0, kind: 0 };
        // SAFETY: the shim writes the stream there.
        unsafe { check(vr1_graph_enter(device, &mut before))? };
        Ok(Self { device, before })
    }

    fn leave(self) -> Result<()> {
        let before = self.before;
        std::mem::forget(self);
        // SAFETY: the shim wrote it.
        unsafe { check(vr1_graph_leave(&before)) }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // SAFETY: as in `leave`. What is wrong is told by what ends here.
        let _ = unsafe { check(vr1_graph_leave(&self.before)) };
    }
}

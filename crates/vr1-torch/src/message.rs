use std::ffi::{CStr, c_char, c_void};
use std::path::PathBuf;
use std::ptr;

use crate::{Error, Result};

unsafe extern "C" {
    fn vr1_free(message: *mut c_char);
    fn vr1_current_stream(device: i64, stream: *mut *mut c_void) -> *mut c_char;
    fn vr1_library_path() -> *mut c_char;
}

/// What a function of the shim says: null, or why it failed.
pub(crate) fn check(message: *mut c_char) -> Result<()> {
    match taken(message) {
        None => Ok(()),
        Some(text) => Err(Error::Torch(text)),
    }
}

/// The stream on a GPU that libtorch launches on, a `cudaStream_t`.
pub(crate) fn current_stream(device: usize) -> Result<*mut c_void> {
    let mut stream = ptr::null_mut();
    // SAFETY: the shim writes the stream there.
    check(unsafe { vr1_current_stream(device as i64, &mut stream) })?;
    Ok(stream)
}

/// Where libtorch's own library lies.
pub(crate) fn library_path() -> Option<PathBuf> {
    // SAFETY: the shim gives a string away, or null.
    taken(unsafe { vr1_library_path() }).map(PathBuf::from)
}

fn taken(message: *mut c_char) -> Option<String> {
    if message.is_null() {
        return None;
    }
    // SAFETY: the shim's messages are C strings of malloc that nobody else frees.
    unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        vr1_free(message);
        Some(text)
    }
}

use std::ffi::{CStr, c_char};

use crate::{Error, Result};

unsafe extern "C" {
    fn vr1_free(message: *mut c_char);
}

/// What a function of the shim says: null, or why it failed.
pub(crate) fn check(message: *mut c_char) -> Result<()> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: the shim's messages are C strings of malloc that nobody else frees.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        vr1_free(message);
        text
    };
    Err(Error::thrown(&text))
}

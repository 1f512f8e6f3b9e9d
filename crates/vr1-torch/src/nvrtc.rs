use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;

use crate::library::{Loaded, once};
use crate::message::library_path;
use crate::{Error, Result};

type Program = *mut c_void;

/// CUDA's compiler, as a library that comes with libtorch.
pub(crate) struct Nvrtc {
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    log: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    cubin_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    cubin: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
}

impl Nvrtc {
    /// The compiler of this process, loaded once.
    pub(crate) fn get() -> Result<&'static Self> {
        static LOADED: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
        once(&LOADED, Self::load)
    }

    fn load() -> Result<Self, String> {
        let mut reasons = Vec::new();
        for path in candidates() {
            preload_builtins(path.parent());
            // SAFETY: running the initialisers of CUDA's compiler is what linking against it would have done.
            match unsafe { Loaded::open(&path) } {
                Ok(library) => return Self::of(library).map_err(|reason| format!("{}: {reason}", path.display())),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(format!("CUDA's compiler cannot be loaded: {}", reasons.join("; ")))
    }

    fn of(library: Loaded) -> Result<Self, libloading::Error> {
        // SAFETY: these are the types of nvrtc.h, the same since CUDA 11.1.
        unsafe {
            Ok(Self {
                create: library.get("nvrtcCreateProgram")?,
                destroy: library.get("nvrtcDestroyProgram")?,
                compile: library.get("nvrtcCompileProgram")?,
                log_size: library.get("nvrtcGetProgramLogSize")?,
                log: library.get("nvrtcGetProgramLog")?,
                cubin_size: library.get("nvrtcGetCUBINSize")?,
                cubin: library.get("nvrtcGetCUBIN")?,
            })
        }
    }

    /// Machine code of `source` for `architecture`, 90 for one, with `defines` like `T=bf16`.
    ///
    /// # Errors
    /// If it does not compile; the error holds what the compiler says.
    pub(crate) fn compile(&self, name: &str, source: &str, architecture: i32, defines: &[String]) -> Result<Vec<u8>> {
        let failed = |what: String| Error::Kernels(format!("{name} {defines:?} for sm_{architecture}: {what}"));
        let text = |text: &str| CString::new(text).map_err(|error| failed(error.to_string()));
        let mut options = vec![text(&format!("--gpu-architecture=sm_{architecture}"))?, text("--std=c++17")?];
        for define in defines {
            options.push(text(&format!("-D{define}"))?);
        }
        let options: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();
        let (source, name) = (text(source)?, text(name)?);
        let mut program = Owned { nvrtc: self, program: ptr::null_mut() };
        // SAFETY: the strings and the list of options outlive the calls, and every buffer is of the size that was told.
        unsafe {
            let made = (self.create)(&mut program.program, source.as_ptr(), name.as_ptr(), 0, ptr::null(), ptr::null());
            if made != 0 {
                return Err(failed(format!("nvrtcCreateProgram says {made}")));
            }
            let compiled = (self.compile)(program.program, options.len() as c_int, options.as_ptr());
            if compiled != 0 {
                let log = program.bytes(self.log_size, self.log);
                let log = CStr::from_bytes_until_nul(&log).unwrap_or_default();
                return Err(failed(format!("nvrtcCompileProgram says {compiled}: {}", log.to_string_lossy().trim())));
            }
            Ok(program.bytes(self.cubin_size, self.cubin))
        }
    }
}

/// A program that is to be destroyed.
struct Owned<'a> {
    nvrtc: &'a Nvrtc,
    program: Program,
}

impl Owned<'_> {
    /// What `read` writes, which is as much as `size` says; nothing where it says nothing.
    ///
    /// # Safety
    /// The two are of one part of the program.
    unsafe fn bytes(
        &self,
        size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
        read: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ) -> Vec<u8> {
        let mut count = 0;
        // SAFETY: the program exists, and the buffer is of the size that it says.
        unsafe {
            size(self.program, &mut count);
            let mut bytes = vec![0u8; count];
            read(self.program, bytes.as_mut_ptr().cast());
            bytes
        }
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        if !self.program.is_null() {
            // SAFETY: it was created, and is used no more.
            unsafe { (self.nvrtc.destroy)(&mut self.program) };
        }
    }
}

/// Where the compiler may be: where the loader looks, then where libtorch's packages of CUDA 13 and 12 and its archive have it.
fn candidates() -> Vec<PathBuf> {
    let names = ["libnvrtc.so.13", "libnvrtc.so.12"];
    let mut paths: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
    let library = library_path().and_then(|path| path.canonicalize().ok());
    if let Some(own) = library.as_deref().and_then(Path::parent) {
        let packages = own.join("../../nvidia");
        for folder in [packages.join("cu13/lib"), packages.join("cuda_nvrtc/lib"), own.to_owned()] {
            paths.extend(names.iter().map(|name| folder.join(name)).filter(|path| path.is_file()));
        }
    }
    paths
}

/// Loads what the compiler itself loads by its bare name, which is found in no other way.
fn preload_builtins(folder: Option<&Path>) {
    let Some(entries) = folder.and_then(|folder| folder.read_dir().ok()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("libnvrtc-builtins.so") {
            // SAFETY: as for the compiler. Where it fails, the compiler says so.
            let _ = unsafe { Loaded::open(entry.path()) };
        }
    }
}

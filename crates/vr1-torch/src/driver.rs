use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::OnceLock;

use crate::library::{Loaded, once};
use crate::message::current_stream;
use crate::{Error, Result};

type Context = *mut c_void;
type Module = *mut c_void;

const PROCESSORS: c_int = 16;
const CAPABILITY: [c_int; 2] = [75, 76];
const MEMORY: c_int = 97;
const SHARED_MEMORY: c_int = 8;

/// CUDA's driver.
pub(crate) struct Driver {
    init: unsafe extern "C" fn(c_uint) -> c_int,
    count: unsafe extern "C" fn(*mut c_int) -> c_int,
    get_device: unsafe extern "C" fn(*mut c_int, c_int) -> c_int,
    attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int,
    uuid: unsafe extern "C" fn(*mut u8, c_int) -> c_int,
    retain: unsafe extern "C" fn(*mut Context, c_int) -> c_int,
    push: unsafe extern "C" fn(Context) -> c_int,
    pop: unsafe extern "C" fn(*mut Context) -> c_int,
    load: unsafe extern "C" fn(*mut Module, *const c_void) -> c_int,
    get_function: unsafe extern "C" fn(*mut *mut c_void, Module, *const c_char) -> c_int,
    set_attribute: unsafe extern "C" fn(*mut c_void, c_int, c_int) -> c_int,
    launch: Launch,
    error_text: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int,
}

type Launch = unsafe extern "C" fn(
    *mut c_void,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    *mut c_void,
    *mut *mut c_void,
    *mut *mut c_void,
) -> c_int;

/// A kernel on a GPU, for the life of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function(*mut c_void);

// SAFETY: a function of a module that is never unloaded is a handle that any thread may launch.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

/// How many threads a launch has, and how much memory they share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) blocks: [i64; 2],
    pub(crate) threads: i64,
    /// Bytes a block.
    pub(crate) shared: i64,
}

/// A GPU as kernels see it.
pub(crate) struct Gpu {
    driver: &'static Driver,
    index: usize,
    context: Context,
    /// 90 for 9.0.
    pub(crate) capability: i32,
    pub(crate) processors: i64,
    /// Bytes that the threads of a block may share.
    pub(crate) memory: i64,
}

// SAFETY: a primary context that is never released may be pushed on any thread.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

impl Driver {
    fn get() -> Result<&'static Self> {
        static LOADED: OnceLock<Result<Driver, String>> = OnceLock::new();
        once(&LOADED, || Self::load().map_err(|error| format!("CUDA's driver cannot be loaded: {error}")))
    }

    fn load() -> Result<Self, libloading::Error> {
        // SAFETY: these are the types of cuda.h; its initialisers are what libtorch runs where it finds a GPU.
        unsafe {
            let library = Loaded::open("libcuda.so.1")?;
            Ok(Self {
                init: library.get("cuInit")?,
                count: library.get("cuDeviceGetCount")?,
                get_device: library.get("cuDeviceGet")?,
                attribute: library.get("cuDeviceGetAttribute")?,
                uuid: library.get("cuDeviceGetUuid_v2")?,
                retain: library.get("cuDevicePrimaryCtxRetain")?,
                push: library.get("cuCtxPushCurrent_v2")?,
                pop: library.get("cuCtxPopCurrent_v2")?,
                load: library.get("cuModuleLoadData")?,
                get_function: library.get("cuModuleGetFunction")?,
                set_attribute: library.get("cuFuncSetAttribute")?,
                launch: library.get("cuLaunchKernel")?,
                error_text: library.get("cuGetErrorString")?,
            })
        }
    }

    /// How many GPUs the driver finds, whatever libtorch finds.
    pub(crate) fn devices() -> Result<usize> {
        let (driver, mut count) = (Self::get()?, 0);
        // SAFETY: the driver may be initialised any number of times, and writes where it is told to.
        unsafe {
            driver.check("cuInit", (driver.init)(0))?;
            driver.check("cuDeviceGetCount", (driver.count)(&mut count))?;
        }
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// The UUID of the GPU that libtorch calls `index`, which has initialised the driver.
    pub(crate) fn uuid(index: usize) -> Result<u128> {
        let (driver, mut device, mut uuid) = (Self::get()?, 0, [0; 16]);
        // SAFETY: the driver writes where it is told to, 16 bytes of a UUID.
        unsafe {
            driver.check("cuDeviceGet", (driver.get_device)(&mut device, index as c_int))?;
            driver.check("cuDeviceGetUuid", (driver.uuid)(uuid.as_mut_ptr(), device))?;
        }
        Ok(u128::from_be_bytes(uuid))
    }

    fn check(&self, what: &str, code: c_int) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        let mut text = ptr::null();
        // SAFETY: the driver writes a string of its own there, or leaves null.
        let text = unsafe {
            (self.error_text)(code, &mut text);
            if text.is_null() { "unknown".into() } else { CStr::from_ptr(text).to_string_lossy() }
        };
        Err(Error::Kernels(format!("{what}: CUDA error {code}, {text}")))
    }
}

impl Gpu {
    /// The GPU that libtorch calls `index`; libtorch has initialised the driver.
    pub(crate) fn new(index: usize) -> Result<Self> {
        let driver = Driver::get()?;
        let (mut device, mut context) = (0, ptr::null_mut());
        // SAFETY: the driver writes where it is told to; the context is libtorch's own, and never released.
        unsafe {
            driver.check("cuDeviceGet", (driver.get_device)(&mut device, index as c_int))?;
            driver.check("cuDevicePrimaryCtxRetain", (driver.retain)(&mut context, device))?;
        }
        let attribute = |which| {
            let mut value = 0;
            // SAFETY: as above.
            driver.check("cuDeviceGetAttribute", unsafe { (driver.attribute)(&mut value, which, device) })?;
            Ok::<_, Error>(value)
        };
        let capability = attribute(CAPABILITY[0])? * 10 + attribute(CAPABILITY[1])?;
        let [processors, memory] = [PROCESSORS, MEMORY].map(|which| attribute(which).map(i64::from));
        Ok(Self { driver, index, context, capability, processors: processors?, memory: memory? })
    }

    /// Kernels of machine code by their names.
    pub(crate) fn load(&self, cubin: &[u8], names: &[&str]) -> Result<Vec<Function>> {
        let driver = self.driver;
        self.within(|| {
            let mut module = ptr::null_mut();
            // SAFETY: the compiler made these bytes, which hold their own size; the module is never unloaded.
            driver.check("cuModuleLoadData", unsafe { (driver.load)(&mut module, cubin.as_ptr().cast()) })?;
            let function = |&name: &&str| {
                let text = CString::new(name).map_err(|error| Error::Kernels(error.to_string()))?;
                let mut function = ptr::null_mut();
                // SAFETY: the module was loaded, and the name outlives the call.
                driver.check(name, unsafe { (driver.get_function)(&mut function, module, text.as_ptr()) })?;
                Ok(Function(function))
            };
            names.iter().map(function).collect()
        })
    }

    /// Launches a kernel on libtorch's current stream.
    ///
    /// # Safety
    /// The arguments are those of the kernel, in its order, and what they point to is as large as it takes it to be.
    pub(crate) unsafe fn launch(&self, function: Function, size: Size, arguments: &[Argument]) -> Result<()> {
        let driver = self.driver;
        let stream = current_stream(self.index)?;
        let mut pointers: Vec<_> = arguments.iter().map(|argument| ptr::from_ref(argument).cast_mut().cast()).collect();
        let count = |n: i64| c_uint::try_from(n).map_err(|_| Error::Kernels(format!("a launch of {size:?}")));
        let ([x, y], threads) = (size.blocks, count(size.threads)?);
        let (x, y, shared) = (count(x)?, count(y)?, count(size.shared)?);
        self.within(|| {
            // SAFETY: the caller's promise; CUDA copies the arguments before it returns.
            unsafe {
                if shared > 48 << 10 {
                    let set = (driver.set_attribute)(function.0, SHARED_MEMORY, shared as c_int);
                    driver.check("cuFuncSetAttribute", set)?;
                }
                let pointers = pointers.as_mut_ptr();
                let none = ptr::null_mut();
                let launched = (driver.launch)(function.0, x, y, 1, threads, 1, 1, shared, stream, pointers, none);
                driver.check("cuLaunchKernel", launched)
            }
        })
    }

    /// Does `work` while this GPU's context is the current one.
    fn within<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let driver = self.driver;
        // SAFETY: the context is retained for the life of the process.
        driver.check("cuCtxPushCurrent", unsafe { (driver.push)(self.context) })?;
        let done = work();
        let mut popped = ptr::null_mut();
        // SAFETY: the one that was pushed is popped.
        driver.check("cuCtxPopCurrent", unsafe { (driver.pop)(&mut popped) })?;
        done
    }
}

/// What a kernel is given, in the first bytes of these.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Argument([u64; Self::WORDS]);

impl Argument {
    const WORDS: usize = 12;

    /// A struct, which is made of at most twelve words.
    pub(crate) fn of_words(words: impl IntoIterator<Item = u64>) -> Self {
        let mut all = [0; Self::WORDS];
        all.iter_mut().zip(words).for_each(|(to, word)| *to = word);
        Self(all)
    }

    /// Its first word.
    pub(crate) fn word(self) -> u64 {
        self.0[0]
    }
}

impl From<&tch::Tensor> for Argument {
    fn from(x: &tch::Tensor) -> Self {
        Self::of_words([x.data_ptr().expose_provenance() as u64])
    }
}

impl From<Option<&tch::Tensor>> for Argument {
    fn from(x: Option<&tch::Tensor>) -> Self {
        x.map_or(Self::of_words([]), Self::from)
    }
}

impl From<i64> for Argument {
    fn from(x: i64) -> Self {
        Self::of_words([x as u64])
    }
}

impl From<i32> for Argument {
    fn from(x: i32) -> Self {
        Self::of_words([u64::from(x as u32)])
    }
}

impl From<f32> for Argument {
    fn from(x: f32) -> Self {
        Self::of_words([u64::from(x.to_bits())])
    }
}

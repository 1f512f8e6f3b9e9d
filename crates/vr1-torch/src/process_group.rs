//! Processes that compute together: c10d's store and its collectives over Gloo and NCCL.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use crate::message::check;
use crate::{Error, Result, described, unfit};

pub(crate) type Pointer = *mut c_void;

unsafe extern "C" {
    fn vr1_store_open(
        host: *const c_char,
        port: u16,
        holds: c_int,
        prefix: *const c_char,
        timeout_ms: u64,
        store: *mut Pointer,
    ) -> *mut c_char;
    fn vr1_store_close(store: Pointer);
    fn vr1_store_port(store: Pointer) -> u16;
    fn vr1_store_set(store: Pointer, key: *const c_char, data: *const u8, count: usize) -> *mut c_char;
    fn vr1_store_has(store: Pointer, key: *const c_char, found: *mut c_int) -> *mut c_char;
    fn vr1_store_get(store: Pointer, key: *const c_char, data: *mut *mut u8, count: *mut usize) -> *mut c_char;
    fn vr1_bytes_free(data: *mut u8);
    fn vr1_group_open(
        store: Pointer,
        rank: c_int,
        size: c_int,
        meeting_ms: u64,
        timeout_ms: u64,
        group: *mut Pointer,
    ) -> *mut c_char;
    fn vr1_group_add_cards(group: Pointer, store: Pointer, timeout_ms: u64) -> *mut c_char;
    fn vr1_group_set_timeout(group: Pointer, timeout_ms: u64) -> *mut c_char;
    fn vr1_group_close(group: Pointer);
    fn vr1_group_all_to_all(
        group: Pointer,
        input: Pointer,
        output: Pointer,
        given: *const i64,
        taken: *const i64,
        ranks: usize,
    ) -> *mut c_char;
    fn vr1_group_give_all(
        group: Pointer,
        input: Pointer,
        output: Pointer,
        counts: *const i64,
        ranks: usize,
    ) -> *mut c_char;
    fn vr1_group_all_gather(group: Pointer, input: Pointer, output: Pointer) -> *mut c_char;
    fn vr1_group_barrier(group: Pointer) -> *mut c_char;
}

unsafe extern "C" {
    /// The least level that libtorch logs: 0 is information, 3 what ends the process.
    static mut FLAGS_caffe2_log_level: c_int;
}

/// Keeps libtorch from logging, with its stack, what comes back as an error here, for as long as this lives.
struct Quiet(c_int);

impl Quiet {
    fn begin() -> Self {
        Self(Self::level().swap(3, Ordering::SeqCst))
    }

    fn level() -> &'static AtomicI32 {
        // SAFETY: it is an `int` of libtorch's that is there for the life of the process, and is written nowhere else after the start.
        unsafe { AtomicI32::from_ptr(&raw mut FLAGS_caffe2_log_level) }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        Self::level().store(self.0, Ordering::SeqCst);
    }
}

/// Who holds a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// This process, at the port that it opens; any that is free for port 0.
    Here,
    /// Another, which is connected to.
    Elsewhere,
}

/// Values by key that several processes share: a connection to c10d's `TCPStore`.
#[derive(Debug)]
pub struct Store(NonNull<c_void>);

impl Store {
    pub(crate) fn pointer(&self) -> Pointer {
        self.0.as_ptr()
    }
}

// SAFETY: c10d's stores lock around every operation, and nothing of them is bound to a thread.
unsafe impl Send for Store {}

impl Store {
    /// The store at `host` and `port`, whose keys stand behind `prefix`, or as they are where that is empty; an operation is waited for as long as `timeout`, and
    /// the connection half as long again.
    ///
    /// # Errors
    /// If the port is taken where this process is to hold it, or nobody answers in time; the address is named.
    pub fn open(host: &str, port: u16, holder: Holder, prefix: &str, timeout: Duration) -> Result<Self> {
        let (host_name, prefix) = (text(host)?, text(prefix)?);
        let (holds, mut store) = (c_int::from(holder == Holder::Here), ptr::null_mut());
        let (_quiet, begun) = (Quiet::begin(), Instant::now());
        // SAFETY: the strings outlive the call; where the shim returns null it has written a store, which we close once.
        let said = check(unsafe {
            vr1_store_open(host_name.as_ptr(), port, holds, prefix.as_ptr(), millis(timeout), &mut store)
        });
        let failed = |reason: String| Error::Store { host: host.to_owned(), port, reason };
        said.map_err(|error| match holder {
            Holder::Here => failed(format!("its port cannot be opened here: {error}")),
            Holder::Elsewhere => failed(format!("no answer within {:.0} s: {error}", begun.elapsed().as_secs_f64())),
        })?;
        NonNull::new(store).map(Self).ok_or_else(|| failed("there is none".to_owned()))
    }

    /// The port at which it is reached.
    pub fn port(&self) -> u16 {
        // SAFETY: the store lives.
        unsafe { vr1_store_port(self.0.as_ptr()) }
    }

    /// Gives `key` a value.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        let key = text(key)?;
        // SAFETY: the store lives; the bytes are copied.
        check(unsafe { vr1_store_set(self.0.as_ptr(), key.as_ptr(), value.as_ptr(), value.len()) })
    }

    /// The value of `key`, where it has one.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let (key, mut found) = (text(key)?, 0);
        // SAFETY: the store lives; what is written is given back once, after its bytes were copied.
        unsafe {
            check(vr1_store_has(self.0.as_ptr(), key.as_ptr(), &mut found))?;
            if found == 0 {
                return Ok(None);
            }
            let (mut data, mut count) = (ptr::null_mut(), 0);
            check(vr1_store_get(self.0.as_ptr(), key.as_ptr(), &mut data, &mut count))?;
            let value = std::slice::from_raw_parts(data, count).to_vec();
            vr1_bytes_free(data);
            Ok(Some(value))
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: it came from `vr1_store_open`, and nothing uses it after this.
        unsafe { vr1_store_close(self.0.as_ptr()) }
    }
}

/// Processes of one size that call the same collectives in the same order: c10d's `ProcessGroupGloo`. What lies on a GPU goes by the
/// host, or from card to card by `ProcessGroupNCCL` once [`add_cards`](Self::add_cards) was called.
#[derive(Debug)]
pub struct ProcessGroup {
    group: NonNull<c_void>,
    rank: usize,
    size: usize,
    has_cards: bool,
}

// SAFETY: c10d runs collectives on threads of its own, and nothing of the group is bound to the one that made it; without `Sync`, they
// are begun by one thread at a time.
unsafe impl Send for ProcessGroup {}

impl ProcessGroup {
    /// This process as `rank` of `size`, which find each other through `store` within `meeting`; a collective may take as long as
    /// `timeout`.
    ///
    /// # Errors
    /// If a rank does not come in time.
    pub fn open(store: &Store, rank: usize, size: usize, meeting: Duration, timeout: Duration) -> Result<Self> {
        let mut group = ptr::null_mut();
        let (own, of) = (rank as c_int, size as c_int);
        let _quiet = Quiet::begin();
        // SAFETY: the store lives, and c10d holds it on; where the shim returns null it has written a group, which we close once.
        check(unsafe { vr1_group_open(store.0.as_ptr(), own, of, millis(meeting), millis(timeout), &mut group) })?;
        let group = NonNull::new(group).ok_or_else(|| Error::Torch("no process group".to_owned()))?;
        Ok(Self { group, rank, size, has_cards: false })
    }

    /// Has what lies on GPUs go from card to card by NCCL from now on. Each rank has a card of its own, and all call this; what they do
    /// together first may take as long as `meeting`, and all else as long as `timeout`. Who comes too late then ends the process, as c10d
    /// has it.
    ///
    /// # Errors
    /// If this libtorch has no NCCL, or finds no GPU; or if the cards do not come together.
    pub fn add_cards(&mut self, store: &Store, device: Device, meeting: Duration, timeout: Duration) -> Result<()> {
        let (group, store) = (self.group.as_ptr(), store.0.as_ptr());
        // SAFETY: the group and the store live, and c10d holds the store on.
        check(unsafe { vr1_group_add_cards(group, store, millis(meeting)) })?;
        self.has_cards = true;
        // What connects the cards, and comes back when they are.
        let sum = self.sum(&Tensor::f_ones([self.size as i64], (Kind::Float, device))?)?;
        let counted = sum.f_sum(Kind::Float)?.f_double_value(&[])?;
        if counted != (self.size * self.size) as f64 {
            return Err(Error::Torch(format!("NCCL sums ones of {} ranks to {counted}", self.size)));
        }
        // SAFETY: the group lives, and has cards.
        check(unsafe { vr1_group_set_timeout(group, millis(timeout)) })
    }

    /// Which of the processes this is, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The sum of every rank's `tensor`, of one kind and size everywhere, added in the order of ranks: the same bits on all, whatever the
    /// network did. Each rank sends and receives about twice the tensor, however many there are.
    ///
    /// # Errors
    /// If another rank is gone, or did not come in time.
    ///
    /// # Shapes
    /// `tensor` is of one dimension; the sum is, too, and lies where it does.
    pub fn sum(&self, tensor: &Tensor) -> Result<Tensor> {
        let (count, ranks) = (tensor.numel() as i64, self.size as i64);
        let share = (count + ranks - 1) / ranks;
        let counts: Vec<i64> = (0..ranks).map(|rank| (count - rank * share).clamp(0, share)).collect();
        let sum = self.reduce_scatter(tensor, &counts)?;
        self.all_gather(&sum, &counts)
    }

    /// This rank's share of the [sum](Self::sum) over ranks of `tensor`, whose first `counts[0]` numbers are the share of rank 0, the next
    /// `counts[1]` that of rank 1, and so on: the same bits as there. A rank sends what is not its own, and receives its share of each other.
    ///
    /// # Errors
    /// If `counts` are not those of all ranks, or `tensor` has another number of numbers; or as [`sum`](Self::sum).
    ///
    /// # Shapes
    /// `tensor` is of one dimension, as is the share, which lies where it does.
    pub fn reduce_scatter(&self, tensor: &Tensor, counts: &[i64]) -> Result<Tensor> {
        self.fits("reduce-scatter", tensor, counts, counts.iter().sum())?;
        let own = counts[self.rank];
        tch::no_grad(|| {
            let place = self.place(tensor);
            let given = tensor.f_detach()?.f_to_device(place)?.f_contiguous()?;
            let parts = Tensor::f_empty([own * self.size as i64], (tensor.kind(), place))?;
            self.all_to_all((&given, counts), (&parts, &vec![own; self.size]))?;
            // One after the other: a sum over a dimension may be cut up otherwise.
            let mut sum = parts.f_narrow(0, 0, own)?.copy();
            for rank in 1..self.size as i64 {
                let _ = sum.f_add_(&parts.f_narrow(0, rank * own, own)?)?;
            }
            Ok(sum.f_to_device(tensor.device())?)
        })
    }

    /// The shares of all ranks in the order of ranks, of `counts` numbers each, of which `tensor` is this one's: what
    /// [`reduce_scatter`](Self::reduce_scatter) took apart. A rank sends its share to each other, and receives what is not its own.
    ///
    /// # Errors
    /// As [`reduce_scatter`](Self::reduce_scatter).
    ///
    /// # Shapes
    /// `tensor` is of one dimension, as are all shares together, which lie where it does.
    pub fn all_gather(&self, tensor: &Tensor, counts: &[i64]) -> Result<Tensor> {
        self.fits("all-gather", tensor, counts, counts.get(self.rank).copied().unwrap_or_default())?;
        let own = counts[self.rank];
        tch::no_grad(|| {
            let place = self.place(tensor);
            let own_part = tensor.f_detach()?.f_to_device(place)?.f_contiguous()?;
            let all = Tensor::f_empty([counts.iter().sum::<i64>()], (tensor.kind(), place))?;
            match place {
                Device::Cpu => {
                    self.all_to_all((&own_part.f_repeat([self.size as i64])?, &vec![own; self.size]), (&all, counts))?
                }
                _ => self.give_all(&own_part, &all, counts)?,
            }
            Ok(all.f_to_device(tensor.device())?)
        })
    }

    /// Where what is sent of this lies: on its card, if cards speak to each other.
    fn place(&self, tensor: &Tensor) -> Device {
        if self.has_cards { tensor.device() } else { Device::Cpu }
    }

    /// Checks that `tensor` has one dimension of `count` numbers, and `counts` are those of all ranks.
    fn fits(&self, what: &'static str, tensor: &Tensor, counts: &[i64], count: i64) -> Result<()> {
        if counts.len() != self.size || counts.iter().any(|count| *count < 0) {
            return Err(unfit(what, format!("the shares of {} ranks are wanted, not {counts:?}", self.size)));
        }
        if tensor.size() != [count] {
            return Err(unfit(what, format!("one dimension of {count} is wanted, not {}", described(tensor))));
        }
        Ok(())
    }

    /// What every rank gives, in the order of ranks; they may differ in length.
    ///
    /// # Errors
    /// As [`sum`](Self::sum).
    pub fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let ranks = self.size as i64;
        let lengths = Tensor::zeros([ranks], (Kind::Int64, Device::Cpu));
        self.gathered(&Tensor::from_slice(&[bytes.len() as i64]), &lengths)?;
        let lengths: Vec<i64> = Vec::try_from(&lengths)?;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if longest == 0 {
            return Ok(vec![Vec::new(); self.size]);
        }
        let own = Tensor::from_slice(bytes).f_constant_pad_nd([0, longest - bytes.len() as i64])?;
        let all = Tensor::zeros([ranks * longest], (Kind::Uint8, Device::Cpu));
        self.gathered(&own, &all)?;
        let all: Vec<u8> = Vec::try_from(&all)?;
        let one = |(list, &length): (&[u8], &i64)| list[..length as usize].to_vec();
        Ok(all.chunks(longest as usize).zip(&lengths).map(one).collect())
    }

    /// Waits until every rank is here.
    ///
    /// # Errors
    /// As [`sum`](Self::sum).
    pub fn barrier(&self) -> Result<()> {
        // SAFETY: the group lives.
        check(unsafe { vr1_group_barrier(self.group.as_ptr()) })
    }

    /// What every rank gives, in the order of ranks, all of one size: from one tensor on the host to another.
    fn gathered(&self, input: &Tensor, output: &Tensor) -> Result<()> {
        let [from, to] = [input, output].map(|tensor| tensor.as_ptr().cast_mut().cast());
        // SAFETY: the group and the tensors live, and the call comes back when it no longer reads or writes them.
        check(unsafe { vr1_group_all_gather(self.group.as_ptr(), from, to) })
    }

    /// Gives all ranks this tensor, and has from each its part of the other, both on cards and with these counts.
    fn give_all(&self, input: &Tensor, output: &Tensor, counts: &[i64]) -> Result<()> {
        let [from, to] = [input, output].map(|tensor| tensor.as_ptr().cast_mut().cast());
        // SAFETY: the group and the tensors live, and the list has a number for each rank; what is done to them later is done in the stream
        // that waits for this.
        check(unsafe { vr1_group_give_all(self.group.as_ptr(), from, to, counts.as_ptr(), self.size) })
    }

    /// Gives each rank its part of the first tensor, and has from each its part of the second, both in one place and with these counts.
    fn all_to_all(&self, (input, given): (&Tensor, &[i64]), (output, taken): (&Tensor, &[i64])) -> Result<()> {
        let [from, to] = [input, output].map(|tensor| tensor.as_ptr().cast_mut().cast());
        let (group, ranks) = (self.group.as_ptr(), self.size);
        // SAFETY: the group and the tensors live, the lists have a number for each rank, and the call comes back when it no longer reads or
        // writes any of them, but on cards; what is done to those later is done in the stream that waits for this.
        check(unsafe { vr1_group_all_to_all(group, from, to, given.as_ptr(), taken.as_ptr(), ranks) })
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // SAFETY: it came from `vr1_group_open`, and nothing uses it after this.
        unsafe { vr1_group_close(self.group.as_ptr()) }
    }
}

pub(crate) fn text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| unfit("a store", format!("{text:?} has a NUL in it")))
}

pub(crate) fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

//! Numbers that one process gives to all others, in a group that PyTorch's programs can join.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::time::Duration;

use tch::Tensor;

use crate::message::check;
use crate::process_group::{Pointer, millis, text};
use crate::{Error, Result, Store, described, unfit};

unsafe extern "C" {
    fn vr1_stop_new() -> Pointer;
    fn vr1_stop_set(stop: Pointer);
    fn vr1_stop_is_set(stop: Pointer) -> c_int;
    fn vr1_stop_free(stop: Pointer);
    fn vr1_broadcast_open(
        store: Pointer,
        stop: Pointer,
        name: *const c_char,
        cards: c_int,
        own: *const c_char,
        rank: c_int,
        size: c_int,
        timeout_ms: u64,
        broadcast: *mut Pointer,
    ) -> *mut c_char;
    fn vr1_broadcast_from_first(broadcast: Pointer, tensor: Pointer) -> *mut c_char;
    fn vr1_broadcast_close(broadcast: Pointer);
}

/// What carries a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Gloo, from host to host.
    Gloo,
    /// NCCL, from card to card: each rank has a card of its own.
    Nccl,
}

/// What ends, from another thread, whatever a [`Broadcast`] that it was given to waits for.
#[derive(Debug)]
pub struct Stop(NonNull<c_void>);

// SAFETY: it is an atomic flag, which any thread may set and read.
unsafe impl Send for Stop {}
// SAFETY: as above.
unsafe impl Sync for Stop {}

impl Stop {
    /// One that is not set.
    ///
    /// # Panics
    /// If there is no memory for it.
    #[must_use]
    pub fn new() -> Self {
        // SAFETY: the shim makes one of its own.
        let made = unsafe { vr1_stop_new() };
        Self(NonNull::new(made).expect("C++ throws where there is no memory")) // never null
    }

    /// Ends what waits, now and from here on.
    pub fn set(&self) {
        // SAFETY: it lives.
        unsafe { vr1_stop_set(self.0.as_ptr()) }
    }

    /// Whether it was set.
    pub fn is_set(&self) -> bool {
        // SAFETY: it lives.
        unsafe { vr1_stop_is_set(self.0.as_ptr()) != 0 }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        // SAFETY: it came from `vr1_stop_new`, nothing uses it after this, and broadcasts share its flag.
        unsafe { vr1_stop_free(self.0.as_ptr()) }
    }
}

/// Processes of which rank 0 gives all others its numbers. The others may be PyTorch's programs: its keys in the store are those of a group
/// that Python makes by `_new_process_group_helper` over `PrefixStore(name, store)`, as OpenRLHF, TRL and SGLang do.
#[derive(Debug)]
pub struct Broadcast {
    broadcast: NonNull<c_void>,
    carrier: Carrier,
}

// SAFETY: c10d runs collectives on threads of its own, and nothing of the group is bound to the one that made it; without `Sync`, they
// are begun by one thread at a time.
unsafe impl Send for Broadcast {}

/// Which process this is of a [`Broadcast`], and how long it waits.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// The group's name, which none before had in this store.
    pub name: &'a str,
    /// What carries it.
    pub carrier: Carrier,
    /// The address at which others reach this process, where that is not for Gloo to find; nothing otherwise.
    pub own: &'a str,
    /// Which of the processes this is, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// How long others are waited for, each time. Over NCCL it is for another thread to [stop](Stop) the wait then; a minute later c10d ends the
    /// process.
    pub timeout: Duration,
}

impl Broadcast {
    /// Joins a group whose members find each other through `store`, which has no prefix of its own. Over Gloo it comes back when all are
    /// there; over NCCL they come together for the first tensor.
    ///
    /// # Errors
    /// If a rank does not come in time, or `stop` is set; or if this libtorch has no NCCL, or finds no GPU.
    pub fn join(store: &Store, member: &Member<'_>, stop: &Stop) -> Result<Self> {
        let (name, own, mut broadcast) = (text(member.name)?, text(member.own)?, ptr::null_mut());
        let (rank, size) = (member.rank as c_int, member.size as c_int);
        let cards = c_int::from(member.carrier == Carrier::Nccl);
        // c10d ends the process where NCCL takes longer: whoever waits for this gives up before.
        let timeout = member.timeout + if cards != 0 { Duration::from_secs(60) } else { Duration::ZERO };
        // SAFETY: the store, the flag and the strings outlive the call, and c10d holds the first two on; where the shim returns null it has
        // written a group, which we close once.
        check(unsafe {
            vr1_broadcast_open(
                store.pointer(),
                stop.0.as_ptr(),
                name.as_ptr(),
                cards,
                own.as_ptr(),
                rank,
                size,
                millis(timeout),
                &mut broadcast,
            )
        })?;
        let broadcast = NonNull::new(broadcast).ok_or_else(|| Error::Torch("no process group".to_owned()))?;
        Ok(Self { broadcast, carrier: member.carrier })
    }

    /// Gives all ranks rank 0's `tensor`, into theirs of the same kind and shape.
    ///
    /// # Errors
    /// If another rank is gone or did not come in time, or [`Stop`] was set: the group is of no more use then. If `tensor` is not contiguous,
    /// or lies where its carrier does not reach: Gloo carries from host to host, and NCCL from card to card.
    pub fn from_first(&self, tensor: &Tensor) -> Result<()> {
        let reached = (self.carrier == Carrier::Nccl) == tensor.device().is_cuda();
        if !reached || !tensor.is_contiguous() {
            let said =
                format!("a contiguous one where {:?} reaches it is wanted, not {}", self.carrier, described(tensor));
            return Err(unfit("broadcast", said));
        }
        let tensor = tensor.f_detach()?;
        // SAFETY: the group and the tensor live, and the call comes back when it no longer reads or writes it, or the group is closed and holds
        // the tensor on; what is done to it on a card later is done in the stream that waits for this.
        check(unsafe { vr1_broadcast_from_first(self.broadcast.as_ptr(), tensor.as_ptr().cast_mut().cast()) })
    }
}

impl Drop for Broadcast {
    fn drop(&mut self) {
        // SAFETY: it came from `vr1_broadcast_open`, and nothing uses it after this.
        unsafe { vr1_broadcast_close(self.broadcast.as_ptr()) }
    }
}

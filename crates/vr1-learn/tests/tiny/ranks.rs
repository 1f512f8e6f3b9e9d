//! Ranks that are threads of this process, and what they leave.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;

use tch::Tensor;
use vr1_learn::{Launch, World};
use vr1_torch::Holder;

use super::bits;

/// What each of `size` ranks comes to, threads of this process.
pub(crate) fn ranks<T: Send>(size: usize, work: impl Fn(World) -> T + Sync) -> Vec<T> {
    if size == 1 {
        return vec![work(World::default())];
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let one = &|rank: usize| {
        let (holder, host) = (if rank == 0 { Holder::Here } else { Holder::Elsewhere }, "127.0.0.1".to_owned());
        let launch = Launch { rank, size, local_rank: rank, host, port, holder, attempt: String::new() };
        let world = World::join(launch).unwrap();
        let made = work(world.clone());
        world.leave().unwrap();
        made
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..size).map(|rank| scope.spawn(move || one(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The bytes of all tensors in a folder's files, by name.
pub(crate) fn saved(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|end| end == "safetensors")).collect();
    let tensors = files.iter().flat_map(|file| Tensor::read_safetensors(file).unwrap());
    let mut all = BTreeMap::new();
    for (name, tensor) in tensors {
        assert!(all.insert(name.clone(), bits(&tensor)).is_none(), "{name} is there twice");
    }
    all
}

//! Ranks as threads of one process, the first of which gives the others its numbers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};
use vr1_torch::{Broadcast, Carrier, Holder, Member, Stop, Store};

const SOON: Duration = Duration::from_secs(30);

fn member(rank: usize, size: usize) -> Member<'static> {
    Member { name: "weights", carrier: Carrier::Gloo, own: "", rank, size, timeout: SOON }
}

fn held() -> Store {
    Store::open("127.0.0.1", 0, Holder::Here, "", SOON).unwrap()
}

fn reached(port: u16) -> Store {
    Store::open("127.0.0.1", port, Holder::Elsewhere, "", SOON).unwrap()
}

/// Numbers of rank 0, and room for them on the others.
fn tensors(rank: usize) -> Vec<Tensor> {
    let numbers = |shape: &[i64], kind| {
        let count = shape.iter().product::<i64>();
        let mine = (Tensor::arange(count, (Kind::Float, Device::Cpu)) + 0.1).sin().to_kind(kind).view(shape);
        if rank == 0 { mine } else { mine.zeros_like() }
    };
    vec![
        numbers(&[3, 5], Kind::Float),
        numbers(&[7], Kind::BFloat16),
        numbers(&[1, 2, 2], Kind::Half),
        numbers(&[0], Kind::Float),
    ]
}

#[test]
fn every_rank_has_the_firsts_numbers() {
    let store = held();
    let port = store.port();
    assert_ne!(port, 0);
    let others: Vec<_> = (1..4)
        .map(|rank| {
            thread::spawn(move || {
                let group = Broadcast::join(&reached(port), &member(rank, 4), &Stop::new()).unwrap();
                let mine = tensors(rank);
                mine.iter().for_each(|tensor| group.from_first(tensor).unwrap());
                assert!(mine.iter().zip(tensors(0)).all(|(mine, first)| mine.equal(&first)));
            })
        })
        .collect();
    let group = Broadcast::join(&store, &member(0, 4), &Stop::new()).unwrap();
    tensors(0).iter().for_each(|tensor| group.from_first(tensor).unwrap());
    others.into_iter().for_each(|other| other.join().unwrap());
    let strided = Tensor::zeros([4, 4], (Kind::Float, Device::Cpu)).transpose(0, 1).narrow(1, 0, 2);
    let told = group.from_first(&strided).unwrap_err().to_string();
    assert!(told.contains("a contiguous one"), "{told}");
}

#[test]
fn who_never_joins_is_waited_for_no_longer_than_was_said() {
    let (store, begun) = (held(), Instant::now());
    let soon = Member { timeout: Duration::from_millis(300), ..member(0, 2) };
    let told = Broadcast::join(&store, &soon, &Stop::new()).unwrap_err().to_string();
    assert!(told.contains("not all ranks came within 0.3 s"), "{told}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_is_given_up_ends_the_wait_to_join() {
    let (store, stop, begun) = (held(), Arc::new(Stop::new()), Instant::now());
    let setting = {
        let stop = stop.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            stop.set();
        })
    };
    let told = Broadcast::join(&store, &member(0, 2), &stop).unwrap_err().to_string();
    assert!(told.contains("given up") && stop.is_set(), "{told}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    setting.join().unwrap();
}

/// The one who gives waits for a rank that receives nothing; a third, who waits for its numbers, is freed with it.
#[test]
fn what_is_given_up_ends_the_wait_of_all_others() {
    let (store, stop, begun) = (held(), Arc::new(Stop::new()), Instant::now());
    let port = store.port();
    let (asleep, waking) = std::sync::mpsc::channel::<()>();
    let idle = thread::spawn(move || {
        let group = Broadcast::join(&reached(port), &member(1, 3), &Stop::new()).unwrap();
        let _ = waking.recv(); // until the sender is gone
        drop(group);
    });
    let waiting = thread::spawn(move || {
        let group = Broadcast::join(&reached(port), &member(2, 3), &Stop::new()).unwrap();
        let room = Tensor::zeros([1 << 24], (Kind::Float, Device::Cpu));
        // The second time it hears of the first from nobody.
        group.from_first(&room).and_then(|()| group.from_first(&room)).unwrap_err().to_string()
    });
    let soon = Member { timeout: Duration::from_secs(4), ..member(0, 3) };
    let group = Broadcast::join(&store, &soon, &stop).unwrap();
    let setting = {
        let stop = stop.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(500));
            stop.set();
        })
    };
    let large = Tensor::ones([1 << 24], (Kind::Float, Device::Cpu));
    let told = loop {
        if let Err(error) = group.from_first(&large) {
            break error.to_string();
        }
    };
    assert!(told.contains("given up"), "{told}");
    let told = waiting.join().unwrap();
    assert!(told.contains("closed") || told.contains("reset"), "{told}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    drop(asleep);
    [setting, idle].into_iter().for_each(|thread| thread.join().unwrap());
}

/// Where there is no GPU it is made as far as the constructor's own check.
#[test]
fn cards_are_reached_by_nccl_alone() {
    let (store, device) = (held(), vr1_torch::device("cuda"));
    let joined = Broadcast::join(&store, &Member { carrier: Carrier::Nccl, ..member(0, 1) }, &Stop::new());
    match device {
        Err(no_gpu) => {
            let told = joined.unwrap_err().to_string();
            let expected = if no_gpu.to_string().contains("no CUDA part") { "has no NCCL" } else { "no GPUs found" };
            assert!(told.contains(expected), "{told}");
        }
        Ok(device) => {
            let (group, own) = (joined.unwrap(), Tensor::ones([5], (Kind::BFloat16, device)));
            group.from_first(&own).unwrap();
            assert!(group.from_first(&own.to_device(Device::Cpu)).is_err());
        }
    }
}

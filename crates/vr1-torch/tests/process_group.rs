//! Ranks as threads of one process, over the loopback.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use tch::{Device, Kind, Tensor};
use vr1_torch::{Holder, ProcessGroup, Store};

const SOON: Duration = Duration::from_secs(30);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What each of `size` ranks comes to.
fn ranks<T: Send + 'static>(size: usize, work: impl Fn(ProcessGroup) -> T + Send + Clone + 'static) -> Vec<T> {
    let port = free_port();
    let one = |rank: usize| {
        let work = work.clone();
        thread::spawn(move || {
            let holder = if rank == 0 { Holder::Here } else { Holder::Elsewhere };
            let store = Store::open("127.0.0.1", port, holder, "test", SOON).unwrap();
            let group = ProcessGroup::open(&store, rank, size, SOON, SOON).unwrap();
            let made = work(group);
            // The store goes with rank 0.
            store.set(&format!("done/{rank}"), b"").unwrap();
            while rank == 0 && (0..size).any(|rank| store.get(&format!("done/{rank}")).unwrap().is_none()) {
                thread::sleep(Duration::from_millis(10));
            }
            made
        })
    };
    let threads: Vec<_> = (0..size).map(one).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn a_sum_is_added_in_the_order_of_ranks_and_is_the_same_bits_on_all() {
    for (size, count) in [(2, 5), (3, 1), (4, 1000)] {
        let given = move |rank: usize| -> Vec<f32> {
            (0..count).map(|i| 0.1 * 3f32.powi(rank as i32 * 5) * (i as f32 + 1.0).sin()).collect()
        };
        let sums = ranks(size, move |group| {
            let own = Tensor::from_slice(&given(group.rank()));
            Vec::<f32>::try_from(group.sum(&own).unwrap()).unwrap()
        });
        let mut expected = given(0);
        for rank in 1..size {
            expected.iter_mut().zip(given(rank)).for_each(|(sum, more)| *sum += more);
        }
        for sum in sums {
            assert_eq!(sum, expected, "{size} ranks");
        }
    }
}

#[test]
fn shares_of_a_sum_are_the_bits_of_the_sum_and_come_together_again() {
    for counts in [vec![3, 5], vec![0, 7, 2], vec![1, 0, 0, 6]] {
        let (size, count) = (counts.len(), counts.iter().sum::<i64>());
        let done = ranks(size, move |group| {
            let numbers = |i: i64| 0.1 * 3f32.powi(group.rank() as i32 * 5) * (i as f32 + 1.0).sin();
            let own = Tensor::from_slice(&(0..count).map(numbers).collect::<Vec<_>>());
            let before: i64 = counts[..group.rank()].iter().sum();
            let whole = group.sum(&own).unwrap();
            let share = group.reduce_scatter(&own, &counts).unwrap();
            assert!(share.equal(&whole.narrow(0, before, counts[group.rank()])));
            assert!(group.all_gather(&share, &counts).unwrap().equal(&whole));
            // Whatever kind it is of.
            let bytes =
                group.all_gather(&share.view_dtype(Kind::Uint8), &counts.iter().map(|n| 4 * n).collect::<Vec<_>>());
            assert!(bytes.unwrap().view_dtype(Kind::Float).equal(&whole));
            let wrong = [counts[1..].to_vec(), vec![1; counts.len()], vec![-1; counts.len()]];
            wrong.map(|counts| group.reduce_scatter(&own, &counts).unwrap_err().to_string())
        });
        for [few, more, none] in done {
            assert!(few.contains(&format!("{size} ranks")) && none.contains("-1"), "{few} {none}");
            assert!(more.contains(&format!("one dimension of {size} is wanted")), "{more}");
        }
    }
}

#[test]
fn bytes_of_any_lengths_are_gathered_in_the_order_of_ranks() {
    let gathered = ranks(3, |group| {
        let nothing = group.gather(b"").unwrap();
        group.barrier().unwrap();
        let whole: Vec<i64> =
            Vec::try_from(group.sum(&Tensor::ones([3], (Kind::Int64, Device::Cpu))).unwrap()).unwrap();
        (nothing, group.gather(&vec![group.rank() as u8; 2 * group.rank()]).unwrap(), whole)
    });
    for (nothing, bytes, whole) in gathered {
        assert_eq!(nothing, vec![Vec::<u8>::new(); 3]);
        assert_eq!(bytes, [vec![], vec![1; 2], vec![2; 4]]);
        assert_eq!(whole, [3, 3, 3]);
    }
}

#[test]
fn a_rank_that_is_gone_is_an_error_and_not_a_wait() {
    let ended = ranks(2, |group| match group.rank() {
        0 => group.gather(b"here").map(drop).map_err(|error| error.to_string()),
        _ => Ok(()),
    });
    let told = ended[0].as_ref().unwrap_err();
    assert!(told.contains("closed") || told.contains("reset"), "{told}");
}

#[test]
fn a_port_in_use_and_an_address_that_does_not_answer_are_named() {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Store::open("127.0.0.1", port, Holder::Here, "test", SOON).unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("cannot be opened"), "{error}");
    let port = free_port();
    let error =
        Store::open("127.0.0.1", port, Holder::Elsewhere, "test", Duration::from_secs(2)).unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("no answer within "), "{error}");
}

/// Where there is no GPU it is made as far as the constructor's own check; where there is one, a rank speaks to itself.
#[test]
fn cards_speak_by_nccl_where_there_are_any() {
    let device = vr1_torch::device("cuda");
    let store = Store::open("127.0.0.1", free_port(), Holder::Here, "test", SOON).unwrap();
    let mut group = ProcessGroup::open(&store, 0, 1, SOON, SOON).unwrap();
    let on = *device.as_ref().unwrap_or(&Device::Cuda(0));
    let added = group.add_cards(&store, on, SOON, SOON);
    if let Err(no_gpu) = device {
        let told = added.unwrap_err().to_string();
        let expected = if no_gpu.to_string().contains("no CUDA part") { "has no NCCL" } else { "no GPUs found" };
        assert!(told.contains(expected), "{told}");
        return;
    }
    added.unwrap();
    for kind in [Kind::Float, Kind::BFloat16] {
        let own = (Tensor::arange(1000, (Kind::Float, on)).sin() * 3.0).to_kind(kind);
        let alike = |tensor: Tensor| tensor.device() == on && tensor.kind() == kind && tensor.equal(&own);
        assert!(alike(group.sum(&own).unwrap()) && alike(group.reduce_scatter(&own, &[1000]).unwrap()));
        assert!(alike(group.all_gather(&own, &[1000]).unwrap()));
    }
    assert_eq!(group.gather(b"by the host").unwrap(), [b"by the host"]);
}

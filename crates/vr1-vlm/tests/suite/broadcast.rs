//! Weights that go to another process tensor by tensor, here to a thread that joins as such a process does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};
use vr1_nn::Adapter;
use vr1_rollout::{Carrier, Meeting, Part, Version, Weights};
use vr1_torch::{Broadcast, Holder, Member, Stop, Store};
use vr1_vlm::{Model, Snapshot};

const SOON: Duration = Duration::from_secs(30);

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/assets/tiny")
}

fn snapshot(model: Model) -> Snapshot {
    Snapshot { model: Rc::new(model), version: Version(1) }
}

fn meeting(deadline: Duration) -> Meeting {
    let (host, group) = ("127.0.0.1".to_owned(), "push-1".to_owned());
    Meeting { host, group, ranks: 2, carrier: None, deadline, stopped: Arc::new(AtomicBool::new(false)) }
}

fn kind_of(dtype: &str) -> Kind {
    match dtype {
        "bfloat16" => Kind::BFloat16,
        "float16" => Kind::Half,
        _ => Kind::Float,
    }
}

/// What another process receives.
fn receiving(port: u16, parts: Vec<Part>) -> thread::JoinHandle<Vec<(String, Tensor)>> {
    thread::spawn(move || {
        let store = Store::open("127.0.0.1", port, Holder::Elsewhere, "", SOON).unwrap();
        let member =
            Member { name: "push-1", carrier: vr1_torch::Carrier::Gloo, own: "", rank: 1, size: 2, timeout: SOON };
        let group = Broadcast::join(&store, &member, &Stop::new()).unwrap();
        let one = |part: Part| {
            let tensor = Tensor::zeros(&part.shape, (kind_of(part.dtype), Device::Cpu));
            assert_eq!(part.bytes as usize, tensor.numel() * tensor.kind().elt_size_in_bytes());
            group.from_first(&tensor).unwrap();
            (part.name, tensor)
        };
        parts.into_iter().map(one).collect()
    })
}

#[test]
fn what_is_given_is_what_is_written() {
    let adapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters/everything");
    let base = crate::checkpoints::checkpoints().into_iter().find(|one| one.name == "qwen2_5_vl_1").unwrap();
    let adapted = base.model(Kind::Float).with_adapter(Adapter::open(&adapter).unwrap()).unwrap();
    for model in [Model::load(&tiny(), Device::Cpu, Kind::BFloat16).unwrap(), adapted] {
        let (weights, dir) = (snapshot(model), tempfile::tempdir().unwrap());
        weights.write(dir.path()).unwrap();
        let file = dir.path().join("model.safetensors");
        let written: HashMap<String, Tensor> = Tensor::read_safetensors(file).unwrap().into_iter().collect();
        let mut giving = weights.broadcast(&meeting(SOON)).unwrap();
        assert_eq!(giving.carrier(), Carrier::Gloo);
        let parts = giving.parts().to_vec();
        let others = receiving(giving.port(), parts.clone());
        giving.meet().unwrap();
        giving.give(0..5).unwrap();
        giving.give(5..5).unwrap();
        giving.give(5..parts.len()).unwrap();
        let taken = others.join().unwrap();
        assert_eq!(taken.len(), written.len());
        for (name, tensor) in taken {
            let same = &written[&name];
            assert!(tensor.kind() == same.kind() && tensor.equal(same), "{name}");
        }
    }
}

#[test]
fn nobody_is_waited_for_longer_than_was_said_or_once_it_is_given_up() {
    let weights = snapshot(Model::load(&tiny(), Device::Cpu, Kind::Float).unwrap());
    let mut giving = weights.broadcast(&meeting(Duration::from_millis(300))).unwrap();
    let told = giving.meet().unwrap_err().to_string();
    assert!(told.contains("the others were to join") && told.contains("within 0.3 s"), "{told}");
    let (meeting, begun) = (meeting(SOON), Instant::now());
    let mut giving = weights.broadcast(&meeting).unwrap();
    let setting = {
        let stopped = meeting.stopped.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            stopped.store(true, Ordering::SeqCst);
        })
    };
    assert!(giving.meet().unwrap_err().to_string().contains("given up"));
    setting.join().unwrap();
    drop(giving);
    // One that joins, and is gone before all was given.
    let mut giving = weights.broadcast(&self::meeting(SOON)).unwrap();
    let (port, some) = (giving.port(), giving.parts()[..3].to_vec());
    let others = receiving(port, some);
    giving.meet().unwrap();
    let told = giving.give(0..giving.parts().len()).unwrap_err().to_string();
    assert!(["closed", "reset", "Broken pipe"].iter().any(|ended| told.contains(ended)), "{told}");
    others.join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_model_on_no_card_is_not_given_from_card_to_card() {
    let weights = snapshot(Model::load(&tiny(), Device::Cpu, Kind::Float).unwrap());
    let meeting = Meeting { carrier: Some(Carrier::Nccl), ..meeting(SOON) };
    let told = weights.broadcast(&meeting).unwrap_err().to_string();
    assert!(told.contains("lies on no card"), "{told}");
}

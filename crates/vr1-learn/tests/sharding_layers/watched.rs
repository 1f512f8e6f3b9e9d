//! What a rank holds while layers run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use vr1_nn::{LayerHook, Run};

use super::*;

/// A layer's hook, and how many bytes of parameters were here at most when the layer was.
#[derive(Debug)]
struct Watched {
    own: Arc<dyn LayerHook>,
    all: Arc<Mutex<Vec<Storage>>>,
    most: Arc<AtomicUsize>,
}

impl LayerHook for Watched {
    fn enter(&self, run: Run) -> vr1_torch::Result<()> {
        self.own.enter(run)?;
        self.most.fetch_max(here(&self.all.lock().unwrap()), Ordering::SeqCst);
        Ok(())
    }

    fn leave(&self) {
        self.own.leave();
    }

    fn learnt(&self) -> vr1_torch::Result<()> {
        self.own.learnt()
    }
}

fn here(all: &[Storage]) -> usize {
    all.iter().filter(|one| one.is_there()).map(|one| one.bytes().unwrap().numel()).sum()
}

#[test]
fn while_it_learns_a_rank_holds_its_share_and_one_layer() {
    for (size, way) in [(2, way(Kind::Float, steady(1e-2))), (4, way(Kind::BFloat16, steady(1e-2)))] {
        let told = ranks(size, |world| {
            let mut learner = learner(&way, Sharding::Zero3, world);
            let model = learner.model().clone();
            let mut seen = BTreeSet::new();
            let of = |(_, tensor): (&str, &Tensor)| Storage::of(tensor).unwrap();
            let all: Vec<Storage> = model.parameters().iter().map(of).filter(|one| seen.insert(one.number())).collect();
            let (share, all, most) = (here(&all), Arc::new(Mutex::new(all)), Arc::new(AtomicUsize::new(0)));
            for (_, hooked) in model.parameters().layers() {
                let own = hooked.get().unwrap();
                hooked.set(Some(Arc::new(Watched { own, all: all.clone(), most: most.clone() })));
            }
            let groups = mixed();
            learner.update(&groups, &signals(&groups), &Compares::default(), step(0)).unwrap();
            let layer = *sizes(model.as_ref()).0.iter().max().unwrap();
            (share, most.load(Ordering::SeqCst), layer, here(&all.lock().unwrap()))
        });
        for (share, most, layer, after) in told {
            assert!(most > share && most <= share + layer, "{share} and a layer of {layer}, not {most}");
            assert_eq!(after, share);
        }
    }
}

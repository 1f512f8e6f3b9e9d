use std::path::PathBuf;
use std::sync::Arc;

use tch::{Device, Kind};
use vr1_eval::Ask;
use vr1_learn::World;
use vr1_reward::Registry;
use vr1_run::Show;

/// What a run is told beside its recipe.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The run's folder.
    pub out: PathBuf,
    /// The step whose checkpoint a run is taken up again from; the latest that is whole where none is named.
    pub from: Option<u64>,
    /// Whether it goes on though its data, its model or this program are no longer what it was begun with.
    pub accept_changes: bool,
    /// Whether weights that are not finite are looked for before the first step, those that are not trained among them.
    pub check_weights: bool,
    /// Where tensors live.
    pub device: Device,
    /// The parameters' kind of number; optimizer states are f32 whatever it is.
    pub kind: Kind,
    /// Whether progress is shown on stderr.
    pub show: Show,
    /// The processes that make the run together; this one alone where nothing else is said.
    pub world: World,
    /// Verifiers that the recipe's reward may call.
    pub registry: Registry,
    /// The language model that benchmarks ask, where the recipe says that they do.
    pub judge: Option<Arc<dyn Ask>>,
}

impl RunOptions {
    /// A run in `out` on the CPU in f32, with the built-in verifiers.
    pub fn new(out: impl Into<PathBuf>) -> Self {
        let (device, kind, show) = (Device::Cpu, Kind::Float, Show::Auto);
        let (from, accept_changes, check_weights) = (None, false, false);
        let (out, registry, world) = (out.into(), Registry::default(), World::default());
        Self { out, from, accept_changes, check_weights, device, kind, show, world, registry, judge: None }
    }
}

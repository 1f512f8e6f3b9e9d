use std::any::Any;
use std::path::Path;
use std::rc::Rc;

use vr1_rollout::{Broadcast, Error, Meeting, Result, Version, Weights};

use crate::Backbone;
use crate::broadcast::Giving;

/// The weights of a model in this process, on their way into an engine.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The model; its tensors are those that training changes.
    pub model: Rc<dyn Backbone>,
    /// Which weights they are.
    pub version: Version,
}

impl Weights for Snapshot {
    fn version(&self) -> Version {
        self.version
    }

    fn write(&self, dir: &Path) -> Result<()> {
        self.model.save(dir, self.model.kind()).map_err(Error::engine)
    }

    fn write_adapter(&self, dir: &Path) -> Result<bool> {
        let adapted = self.model.parameters().adapter().is_some();
        if adapted {
            self.model.save_adapter(dir, None).map_err(Error::engine)?;
        }
        Ok(adapted)
    }

    fn broadcast<'a>(&'a self, meeting: &Meeting) -> Result<Box<dyn Broadcast + 'a>> {
        Ok(Box::new(Giving::begin(self.model.as_ref(), meeting)?))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

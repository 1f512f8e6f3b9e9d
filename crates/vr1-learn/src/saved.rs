//! What a learner leaves for the run that goes on.

use std::path::Path;

use vr1_rollout::Version;

use super::learner::Learner;
use super::optimizer::FILE;
use crate::Result;

impl Learner {
    /// Writes what a resumed run needs beside the weights into `dir`: the optimizer's state, what the reference said of
    /// answers that come up again, and what a moving one was rounded from. Of a [sharded](Self::is_sharded) learner the first rank calls
    /// this and the others, at the same time, [`save_share`](Self::save_share).
    ///
    /// # Errors
    /// If a file cannot be written, or a step broke off half way.
    pub fn save(&self, dir: &Path) -> Result<()> {
        match self.is_sharded() {
            true => self.save_share(Ok(Some(dir)))?,
            false => {
                self.whole()?;
                self.optimizer.save(&dir.join(FILE))?;
            }
        }
        self.compared.save(dir)
    }

    /// Whether a rank holds but a share of the optimizer's state.
    pub fn is_sharded(&self) -> bool {
        !self.optimizer.shards().is_whole()
    }

    /// Writes this rank's share of the optimizer's state beside those of the others, into the folder that the first rank has. The others
    /// give none; the first also calls this where it has none, with the reason, so that nobody waits for one.
    ///
    /// # Errors
    /// If any rank cannot write its share, or the first has no folder: all have an error then.
    pub fn save_share(&self, folder: Result<Option<&Path>>) -> Result<()> {
        self.optimizer.save_shards(self.whole().and(folder))
    }

    /// Takes up what [`save`](Self::save) wrote, of any number of ranks, sharded or not; `version` updates had been made. A reference is set
    /// before.
    ///
    /// # Errors
    /// If a file cannot be read, or is of other parameters; nothing is changed then.
    pub fn restore(&mut self, dir: &Path, version: Version) -> Result<()> {
        let compared = self.compared.read(dir)?;
        self.optimizer.restore_from(dir)?;
        self.compared.take_up(compared);
        self.version = version;
        Ok(())
    }
}

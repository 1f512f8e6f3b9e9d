//! The checkout that a command works on, and what its `.cargo/config.toml` makes of LIBTORCH.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The folder that holds the workspace.
pub(crate) struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The nearest folder, from the current one upwards, that holds `xtask/Cargo.toml`.
    pub(crate) fn find() -> Result<Self> {
        let here = env::current_dir().context("cannot tell the current folder")?;
        let root = here.ancestors().find(|folder| folder.join("xtask/Cargo.toml").is_file());
        let root = root.with_context(|| format!("{} is not inside a checkout of vr1", here.display()))?;
        Ok(Self { root: root.to_path_buf() })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `.libtorch`, where `.cargo/config.toml` and the programs' rpath look.
    pub(crate) fn link(&self) -> PathBuf {
        self.root.join(".libtorch")
    }

    /// LIBTORCH where the user set it: cargo itself sets it to `.libtorch` for everything it runs, this program included.
    pub(crate) fn own_libtorch(&self) -> Result<Option<PathBuf>> {
        let Some(value) = env::var_os("LIBTORCH").filter(|value| !value.is_empty()) else { return Ok(None) };
        let own = PathBuf::from(value);
        ensure!(
            own.is_absolute(),
            "LIBTORCH={} is relative, and build scripts run elsewhere: give the whole path, or unset LIBTORCH",
            own.display()
        );
        let is_link = own.file_name() == self.link().file_name()
            && own.parent().and_then(|parent| parent.canonicalize().ok()) == self.root.canonicalize().ok();
        Ok((!is_link).then_some(own))
    }
}

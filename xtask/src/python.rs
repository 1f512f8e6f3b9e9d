//! What `python3` can be asked for: where its torch lies, and a pip.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::process;

/// Where `import torch` would look, without importing it; an empty line where there is none.
const TORCH_FOLDER: &str = "import importlib.util as u; s = u.find_spec('torch'); \
                            print(list(s.submodule_search_locations or [''])[0] if s else '')";

/// A Python that starts.
pub(crate) struct Python {
    program: PathBuf,
    root: PathBuf,
}

impl Python {
    /// The `python3` of the PATH, if it starts.
    pub(crate) fn find(checkout: &Checkout) -> Option<Self> {
        let python = Self { program: "python3".into(), root: checkout.root().into() };
        process::output(&mut python.command(["-c", ""])).ok().map(|_| python)
    }

    /// The Python at `program`.
    pub(crate) fn at(program: PathBuf, checkout: &Checkout) -> Self {
        Self { program, root: checkout.root().into() }
    }

    /// Makes a virtual environment with pip at `place`.
    pub(crate) fn venv(&self, place: &Path) -> Result<()> {
        process::output(self.command(["-m", "venv"]).arg(place)).map(drop).context(
            "python3 cannot make a virtual environment: install venv (Debian, Ubuntu: sudo apt install python3-venv)",
        )
    }

    /// The folder that it lies in, where it was made here.
    pub(crate) fn folder(&self) -> PathBuf {
        self.program.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// The folder that its packages are installed into.
    pub(crate) fn site(&self) -> Result<PathBuf> {
        let ask = "import sysconfig; print(sysconfig.get_path('purelib'))";
        Ok(PathBuf::from(process::output(&mut self.command(["-c", ask]))?.trim()))
    }

    /// The folder of its torch package.
    pub(crate) fn torch(&self) -> Option<PathBuf> {
        let folder = process::output(&mut self.command(["-c", TORCH_FOLDER])).ok()?;
        Some(folder.trim()).filter(|folder| !folder.is_empty()).map(PathBuf::from)
    }

    /// This Python if it has pip; else one with pip in a new virtual environment at `aside`.
    pub(crate) fn with_pip(self, aside: &Path) -> Result<Self> {
        if process::output(&mut self.command(["-m", "pip", "--version"])).is_ok() {
            return Ok(self);
        }
        let mut venv = self.command(["-m", "venv"]);
        process::output(venv.arg(aside)).ok().context(
            "python3 has no pip, and no venv to get one from: install pip (Debian, Ubuntu: sudo apt install python3-pip)",
        )?;
        Ok(Self { program: aside.join("bin/python"), root: self.root })
    }

    pub(crate) fn command<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.root).args(args);
        command
    }
}

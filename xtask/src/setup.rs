//! libtorch for plain cargo: found or installed, then linked to as `.libtorch`.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::install;
use crate::libtorch::{self, VERSION};
use crate::process;
use crate::python::Python;

/// Makes `.libtorch` a link to libtorch: the user's LIBTORCH, else the link that is there, else the torch of
/// `python3`, else a private one that pip installs.
pub(crate) fn setup(checkout: &Checkout) -> Result<()> {
    compiler()?;
    let link = checkout.link();
    if let Some(own) = checkout.own_libtorch()? {
        libtorch::inspect(&own).map_err(|why| {
            anyhow::anyhow!("LIBTORCH={} {why}: point it at libtorch {VERSION}, or unset it", own.display())
        })?;
        return point(checkout, &own, "LIBTORCH");
    }
    match libtorch::inspect(&link) {
        Ok(()) => return say(&link, "already linked"),
        Err(why) if link.symlink_metadata().is_ok() => eprintln!("the old .libtorch {why}; looking for another"),
        Err(_) => {}
    }
    let python = Python::find(checkout);
    if let Some(torch) = python.as_ref().and_then(Python::torch) {
        match libtorch::inspect(&torch) {
            Ok(()) => return point(checkout, &torch, "python3's own"),
            Err(why) => eprintln!("python3's torch will not do: {} {why}", torch.display()),
        }
    }
    point(checkout, &install::torch(python)?, "installed by pip")
}

/// torch-sys compiles C++ with `CXX`, or `c++`.
fn compiler() -> Result<()> {
    let own = env::var("CXX").ok().filter(|own| !own.trim().is_empty());
    let name = own.as_deref().and_then(|own| own.split_whitespace().next()).unwrap_or("c++");
    process::output(Command::new(name).arg("--version")).map(drop).map_err(|_| {
        anyhow::anyhow!(
            "no C++ compiler: `{name}` does not start; install one (Debian, Ubuntu: sudo apt install g++), or set CXX"
        )
    })
}

/// Makes `.libtorch` point at `torch`; what was compiled against another one is forgotten.
fn point(checkout: &Checkout, torch: &Path, origin: &str) -> Result<()> {
    let link = checkout.link();
    let torch = torch.canonicalize().with_context(|| format!("cannot follow {}", torch.display()))?;
    match link.symlink_metadata() {
        Ok(old) if !old.is_symlink() => {
            bail!("{} is in the way: move it aside, then run the command again", link.display())
        }
        Ok(_) if link.canonicalize().is_ok_and(|old| old == torch) => {}
        Ok(_) => {
            relink(&link, &torch)?;
            for profile in ["dev", "release"] {
                let stale = ["clean", "--quiet", "--profile", profile, "-p", "torch-sys", "-p", "vr1-torch"];
                process::output(&mut process::cargo(checkout, stale))?;
            }
        }
        Err(_) => relink(&link, &torch)?,
    }
    say(&link, origin)
}

#[cfg(unix)]
fn relink(link: &Path, torch: &Path) -> Result<()> {
    let aside = link.with_extension(format!("{}", std::process::id()));
    std::os::unix::fs::symlink(torch, &aside)
        .and_then(|()| fs::rename(&aside, link))
        .with_context(|| format!("cannot write {}", link.display()))
}

#[cfg(not(unix))]
fn relink(_: &Path, torch: &Path) -> Result<()> {
    bail!("set-up knows Linux and macOS: set LIBTORCH to {} yourself", torch.display())
}

fn say(link: &Path, origin: &str) -> Result<()> {
    let target = link.canonicalize().with_context(|| format!("cannot follow {}", link.display()))?;
    eprintln!("libtorch {VERSION} ({origin}): .libtorch -> {}", target.display());
    Ok(())
}

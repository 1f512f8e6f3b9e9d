//! Which crate may depend on which: the arrows of `docs/src/architecture.md`, checked from `cargo metadata`.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::checkout::Checkout;
use crate::process;

/// The arrows as they are drawn, each crate with those below it. A crate may use what it reaches along them, and they
/// point down this list alone; an arrow that is drawn is one that a manifest has.
#[rustfmt::skip]
const DRAWN: [(&str, &[&str]); 23] = [
    ("xtask", &[]),
    ("vr1", &["vr1-train"]),
    ("vr1-train", &["vr1-learn", "vr1-decode", "vr1-eval", "vr1-agent", "vr1-run", "vr1-curriculum"]),
    ("vr1-learn", &["vr1-vlm", "vr1-grpo", "vr1-dpo", "vr1-sft"]),
    ("vr1-decode", &["vr1-vlm"]),
    ("vr1-vlm", &["vr1-vision", "vr1-llm", "vr1-rollout"]),
    ("vr1-vision", &["vr1-nn", "vr1-processor"]),
    ("vr1-llm", &["vr1-nn"]),
    ("vr1-nn", &["vr1-torch"]),
    ("vr1-torch", &[]),
    ("vr1-grpo", &["vr1-ops"]),
    ("vr1-dpo", &["vr1-ops"]),
    ("vr1-sft", &["vr1-ops"]),
    ("vr1-ops", &[]),
    ("vr1-eval", &["vr1-remote", "vr1-reward", "vr1-rollout"]),
    ("vr1-agent", &["vr1-remote", "vr1-reward", "vr1-rollout"]),
    ("vr1-remote", &["vr1-rollout"]),
    ("vr1-rollout", &["vr1-processor"]),
    ("vr1-processor", &["vr1-data"]),
    ("vr1-curriculum", &[]),
    ("vr1-run", &[]),
    ("vr1-reward", &[]),
    ("vr1-data", &[]),
];

/// Crates that never see a tensor library, however indirectly.
const WITHOUT_TENSORS: [&str; 10] = [
    "vr1-eval",
    "vr1-agent",
    "vr1-remote",
    "vr1-rollout",
    "vr1-processor",
    "vr1-run",
    "vr1-reward",
    "vr1-curriculum",
    "vr1-data",
    "xtask",
];

/// The crate that does not see one either once its default features are off.
const LIGHT_WITHOUT_DEFAULTS: &str = "vr1-grpo";

const TENSOR_LIBRARY: &str = "tch";

/// The crates that may hold `unsafe`: the bridge to libtorch, and the one shim that the objectives need, so that they build
/// without that bridge.
const MAY_BE_UNSAFE: [&str; 2] = ["vr1-torch", "vr1-ops"];

/// Checks every arrow between our crates, who sees libtorch, and who may hold `unsafe`; tells all faults at once.
pub(crate) fn arrows(checkout: &Checkout) -> Result<()> {
    let metadata = ["metadata", "--format-version", "1", "--all-features", "--locked"];
    let metadata = process::output(&mut process::cargo(checkout, metadata))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata wrote no JSON")?;
    let house = House::read(&metadata)?;
    let mut faults = house.forbidden_arrows();
    faults.extend(house.absent_arrows());
    faults.extend(WITHOUT_TENSORS.iter().filter_map(|name| house.way_to_tensors(name)));
    faults.extend(house.members.keys().filter(|name| **name == LIGHT_WITHOUT_DEFAULTS).filter_map(|name| {
        let tree = ["tree", "--locked", "-p", name, "--no-default-features", "-e", "normal,build", "--prefix", "none"];
        let tree = process::output(&mut process::cargo(checkout, tree)).unwrap_or_else(|error| error.to_string());
        let heavy = tree.lines().any(|line| line.split(' ').next() == Some(TENSOR_LIBRARY));
        heavy.then(|| format!("{name} sees {TENSOR_LIBRARY} even with its default features off"))
    }));
    faults.extend(house.unlinted(checkout)?);
    ensure!(faults.is_empty(), "{}", faults.join("\n       "));
    eprintln!("arrows: {} crates, {} arrows, all as drawn", house.members.len(), house.arrows());
    Ok(())
}

/// What `cargo metadata` says of the workspace.
struct House<'a> {
    /// Our crates by name.
    members: BTreeMap<&'a str, Member<'a>>,
    /// Every package's name by its id, ours and others'.
    names: BTreeMap<&'a str, &'a str>,
    /// What each package resolved to, and whether for its tests alone.
    resolved: BTreeMap<&'a str, Vec<(&'a str, Use)>>,
}

struct Member<'a> {
    id: &'a str,
    manifest: PathBuf,
    /// Declared dependencies, whether resolved or not.
    declared: Vec<(&'a str, Use)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Use {
    Product,
    TestsOnly,
}

impl<'a> House<'a> {
    fn read(metadata: &'a Value) -> Result<Self> {
        let ours: Vec<&str> = list(metadata, "workspace_members")?.iter().filter_map(Value::as_str).collect();
        let (mut members, mut names, mut resolved) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for package in list(metadata, "packages")? {
            let (id, name) = (text(package, "id")?, text(package, "name")?);
            names.insert(id, name);
            if ours.contains(&id) {
                let declared = list(package, "dependencies")?.iter();
                let declared = declared.map(|entry| Ok((text(entry, "name")?, usage(entry)))).collect::<Result<_>>()?;
                members.insert(name, Member { id, manifest: text(package, "manifest_path")?.into(), declared });
            }
        }
        for node in list(metadata.get("resolve").context("cargo metadata resolved nothing")?, "nodes")? {
            let uses = list(node, "deps")?.iter().map(|entry| {
                let kinds = list(entry, "dep_kinds")?;
                let product = kinds.iter().any(|kind| usage(kind) == Use::Product);
                Ok((text(entry, "pkg")?, if product { Use::Product } else { Use::TestsOnly }))
            });
            resolved.insert(text(node, "id")?, uses.collect::<Result<_>>()?);
        }
        Ok(Self { members, names, resolved })
    }

    fn arrows(&self) -> usize {
        let ends = self.members.values().flat_map(|member| &member.declared);
        ends.filter(|(end, usage)| *usage == Use::Product && self.members.contains_key(end)).count()
    }

    /// Arrows that the drawing has no way for; a test may use any crate further down the list, but none further up.
    fn forbidden_arrows(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, member) in &self.members {
            let Some(at) = row(name) else {
                faults.push(format!("{name} is not in the table of xtask/src/arrows.rs"));
                continue;
            };
            for (end, usage) in member.declared.iter().filter(|(end, _)| self.members.contains_key(end)) {
                let fine = match usage {
                    Use::Product => drawn(name, end),
                    Use::TestsOnly => row(end).is_some_and(|end| end >= at),
                };
                let what = if *usage == Use::Product { "depends on" } else { "is tested with" };
                if !fine {
                    faults.push(format!("{name} {what} {end}, an arrow that the architecture does not have"));
                }
            }
        }
        faults
    }

    /// Arrows that are drawn between crates that are there, and that no manifest has.
    fn absent_arrows(&self) -> Vec<String> {
        let drawn = DRAWN.iter().flat_map(|(from, ends)| ends.iter().map(move |to| (*from, *to)));
        let absent = drawn.filter(|(from, to)| {
            let Some(member) = self.members.get(from).filter(|_| self.members.contains_key(to)) else { return false };
            !member.declared.iter().any(|(end, usage)| end == to && *usage == Use::Product)
        });
        absent
            .map(|(from, to)| format!("{from} does not depend on {to}, an arrow that the architecture draws"))
            .collect()
    }

    /// The shortest way from `name`, tests included, to the tensor library, told as a fault.
    fn way_to_tensors(&self, name: &str) -> Option<String> {
        let start = self.members.get(name)?.id;
        let mut before = BTreeMap::from([(start, start)]);
        let mut queue = VecDeque::from([start]);
        while let Some(id) = queue.pop_front() {
            if self.names.get(id) == Some(&TENSOR_LIBRARY) {
                let mut way = vec![id];
                while way[way.len() - 1] != start {
                    way.push(before[way[way.len() - 1]]);
                }
                let way: Vec<&str> = way.iter().rev().map(|id| self.names[id]).collect();
                return Some(format!("{name} must not see {TENSOR_LIBRARY}, and does: {}", way.join(" -> ")));
            }
            for &(next, usage) in self.resolved.get(id).into_iter().flatten() {
                if (usage == Use::Product || id == start) && !before.contains_key(next) {
                    before.insert(next, id);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    /// Crates that do not take the workspace's lints, which forbid `unsafe`.
    fn unlinted(&self, checkout: &Checkout) -> Result<Vec<String>> {
        let read = |path: &PathBuf| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let mut faults = Vec::new();
        if !has_pair(&read(&checkout.root().join("Cargo.toml"))?, "[workspace.lints.rust]", "unsafe_code = \"forbid\"")
        {
            faults.push("Cargo.toml: [workspace.lints.rust] must hold unsafe_code = \"forbid\"".into());
        }
        for (name, member) in self.members.iter().filter(|(name, _)| !MAY_BE_UNSAFE.contains(name)) {
            if !has_pair(&read(&member.manifest)?, "[lints]", "workspace = true") {
                faults.push(format!(
                    "{name} must take the workspace's lints, which forbid unsafe: [lints] workspace = true"
                ));
            }
        }
        Ok(faults)
    }
}

/// Where a crate stands in the list.
fn row(name: &str) -> Option<usize> {
    DRAWN.iter().position(|(known, _)| *known == name)
}

/// Whether the drawn arrows lead from one crate to another.
fn drawn(from: &str, to: &str) -> bool {
    let ends = row(from).map_or(&[][..], |row| DRAWN[row].1);
    ends.iter().any(|end| *end == to || drawn(end, to))
}

/// Whether `line` stands in the table `header` of a manifest.
fn has_pair(manifest: &str, header: &str, line: &str) -> bool {
    let lines = manifest.lines().map(str::trim).skip_while(|other| *other != header).skip(1);
    lines.take_while(|other| !other.starts_with('[')).any(|other| other == line)
}

/// The kind of a dependency: null for a normal one, else "build" or "dev".
fn usage(entry: &Value) -> Use {
    if entry["kind"] == "dev" { Use::TestsOnly } else { Use::Product }
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value.get(key).and_then(Value::as_array).with_context(|| format!("cargo metadata has no list `{key}`"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("cargo metadata has no text `{key}`"))
}

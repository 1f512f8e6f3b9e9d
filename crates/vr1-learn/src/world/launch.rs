//! What a launcher says to the processes that it starts.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use vr1_torch::Holder;

use crate::{Error, Result};

/// One of several processes that train together, as its launcher names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Which it is, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// Which it is on its machine, from 0: the number of its GPU.
    pub local_rank: usize,
    /// The machine and the port where they find each other.
    pub host: String,
    /// See [`host`](Self::host).
    pub port: u16,
    /// Whether this process holds the store there, or torchrun's agent or another rank does.
    pub holder: Holder,
    /// What tells these processes' keys in the store from those of an earlier attempt.
    pub attempt: String,
}

impl Launch {
    /// What is said by the variables that `get` gives: those of torchrun (`RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR`,
    /// `MASTER_PORT`), which can be set by hand, else srun's (`SLURM_PROCID`, `SLURM_NTASKS`, `SLURM_LOCALID`, `SLURM_STEP_NODELIST`;
    /// the first node at a port that follows from the job, unless `MASTER_ADDR` and `MASTER_PORT` say otherwise). Nothing where this
    /// process is alone.
    ///
    /// # Errors
    /// If some are missing, which are named, or one is no number, or out of range.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        if get("RANK").is_some() || get("WORLD_SIZE").is_some() {
            return Self::of_torchrun(&get);
        }
        // A batch script has a task's variables too, and is no step of several tasks.
        let step = ["SLURM_STEP_NODELIST", "SLURM_STEP_ID", "MASTER_ADDR"].iter().any(|name| get(name).is_some());
        if step && get("SLURM_PROCID").is_some() && get("SLURM_NTASKS").is_some() {
            return Self::of_srun(&get);
        }
        Ok(None)
    }

    fn of_torchrun(get: &impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let alone = get("WORLD_SIZE").as_deref() == Some("1") && get("RANK").is_none_or(|rank| rank == "0");
        if alone {
            return Ok(None);
        }
        let wanted = ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"];
        let (there, missing): (Vec<&str>, Vec<&str>) = wanted.into_iter().partition(|name| get(name).is_some());
        if !missing.is_empty() {
            let (there, missing) = (there.join(", "), missing.join(", "));
            return Err(wrong(format!("{there} are set and {missing} are not; torchrun sets them all")));
        }
        let rank = number(get, "RANK")?;
        // A store of torchrun's agent outlives the attempt.
        let agent = get("TORCHELASTIC_USE_AGENT_STORE").as_deref() == Some("True");
        let attempt = format!("vr1/{}", get("TORCHELASTIC_RESTART_COUNT").unwrap_or_else(|| "0".to_owned()));
        Self {
            rank,
            size: number(get, "WORLD_SIZE")?,
            local_rank: if get("LOCAL_RANK").is_some() { number(get, "LOCAL_RANK")? } else { rank },
            host: get("MASTER_ADDR").unwrap_or_default(),
            port: number(get, "MASTER_PORT")?,
            holder: if rank == 0 && !agent { Holder::Here } else { Holder::Elsewhere },
            attempt,
        }
        .checked()
    }

    fn of_srun(get: &impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let size = number(get, "SLURM_NTASKS")?;
        if size == 1 {
            return Ok(None);
        }
        let nodes = get("SLURM_STEP_NODELIST").or_else(|| get("SLURM_JOB_NODELIST"));
        let Some(host) = get("MASTER_ADDR").or_else(|| nodes.as_deref().map(first_node)) else {
            return Err(wrong(
                "SLURM_PROCID is set, and SLURM_STEP_NODELIST, SLURM_JOB_NODELIST and MASTER_ADDR are not".to_owned(),
            ));
        };
        let rank = number(get, "SLURM_PROCID")?;
        let mut job = DefaultHasher::new();
        (get("SLURM_JOB_ID"), get("SLURM_STEP_ID")).hash(&mut job);
        let port =
            if get("MASTER_PORT").is_some() { number(get, "MASTER_PORT")? } else { 15_000 + job.finish() % 15_000 };
        Self {
            rank,
            size,
            local_rank: if get("SLURM_LOCALID").is_some() { number(get, "SLURM_LOCALID")? } else { rank },
            host,
            port: port.try_into().map_err(|_| wrong(format!("MASTER_PORT is {port}, and must be under 65536")))?,
            holder: if rank == 0 { Holder::Here } else { Holder::Elsewhere },
            attempt: format!("vr1/{}", get("SLURM_RESTART_COUNT").unwrap_or_else(|| "0".to_owned())),
        }
        .checked()
    }

    fn checked(self) -> Result<Option<Self>> {
        let Self { rank, size, .. } = self;
        match rank < size {
            true if size == 1 => Ok(None),
            true => Ok(Some(self)),
            false => Err(wrong(format!("the rank is {rank} of {size}, and must be below that"))),
        }
    }
}

pub(crate) fn wrong(reason: String) -> Error {
    Error::Launch { reason }
}

fn number<T: std::str::FromStr>(get: &impl Fn(&str) -> Option<String>, name: &str) -> Result<T> {
    let value = get(name).unwrap_or_default();
    value.trim().parse().map_err(|_| wrong(format!("{name} is {value:?}, and must be a number of its range")))
}

/// The first of SLURM's node list: `a01` of `a[01-03,07],b`.
fn first_node(list: &str) -> String {
    let Some((stem, rest)) = list.split_once('[').filter(|(stem, _)| !stem.contains(',')) else {
        return list.split(',').next().unwrap_or(list).to_owned();
    };
    let number: String = rest.chars().take_while(|c| !['-', ',', ']'].contains(c)).collect();
    let tail = rest.split_once(']').map_or("", |(_, tail)| tail.split(',').next().unwrap_or_default());
    format!("{stem}{number}{tail}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Option<Launch>> {
        Launch::read(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    const TORCHRUN: [(&str, &str); 5] =
        [("RANK", "2"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "0"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "29500")];

    #[test]
    fn what_nobody_launched_is_alone() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), None);
        assert_eq!(read(&[("MASTER_ADDR", "a"), ("MASTER_PORT", "1")]).unwrap(), None);
        // The script of a batch job of four tasks.
        assert_eq!(
            read(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4"), ("SLURM_JOB_NODELIST", "n[1-4]")]).unwrap(),
            None
        );
    }

    #[test]
    fn torchrun_is_understood_and_its_agent_holds_the_store_where_it_says_so() {
        let launch = read(&TORCHRUN).unwrap().unwrap();
        assert_eq!((launch.rank, launch.size, launch.local_rank), (2, 4, 0));
        assert_eq!((launch.host.as_str(), launch.port, launch.holder), ("a", 29500, Holder::Elsewhere));
        let first = |more: &[(&str, &str)]| {
            let mut all = vec![("RANK", "0")];
            all.extend(TORCHRUN.into_iter().filter(|(name, _)| *name != "RANK"));
            all.extend(more);
            read(&all).unwrap().unwrap()
        };
        assert_eq!(first(&[]).holder, Holder::Here);
        let agent = first(&[("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RESTART_COUNT", "1")]);
        assert_eq!(agent.holder, Holder::Elsewhere);
        assert_ne!(agent.attempt, first(&[]).attempt);
    }

    #[test]
    fn srun_is_understood() {
        let step = [("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2"), ("SLURM_LOCALID", "1"), ("SLURM_JOB_ID", "77")];
        let with = |more: &[(&str, &str)]| read(&[&step[..], more].concat()).unwrap().unwrap();
        let nodes = with(&[("SLURM_STEP_NODELIST", "gpu[07-09,12],login")]);
        assert_eq!((nodes.rank, nodes.size, nodes.host.as_str()), (1, 2, "gpu07"));
        assert_eq!(with(&[("SLURM_STEP_NODELIST", "gpu[07-09,12],login")]), nodes, "the port follows from the job");
        let named = with(&[("SLURM_STEP_NODELIST", "a,b"), ("MASTER_ADDR", "b"), ("MASTER_PORT", "1234")]);
        assert_eq!((named.host.as_str(), named.port), ("b", 1234));
        assert_eq!(first_node("solo"), "solo");
        assert_eq!(first_node("a,b[1-2]"), "a");
        assert_eq!(first_node("rack[2-3]-x,y"), "rack2-x");
    }

    #[test]
    fn what_is_half_given_or_out_of_range_is_named() {
        let error = |set: &[(&str, &str)]| read(set).unwrap_err().to_string();
        let half = error(&[("WORLD_SIZE", "2"), ("MASTER_PORT", "1")]);
        assert!(half.contains("RANK, MASTER_ADDR are not"), "{half}");
        let replaced = |name: &'static str, value: &'static str| -> Vec<(&str, &str)> {
            TORCHRUN.iter().map(|&(known, old)| (known, if known == name { value } else { old })).collect()
        };
        assert!(error(&replaced("RANK", "4")).contains("the rank is 4 of 4"));
        assert!(error(&replaced("MASTER_PORT", "70000")).contains("MASTER_PORT is \"70000\""));
        assert!(error(&replaced("WORLD_SIZE", "two")).contains("WORLD_SIZE is \"two\""));
    }
}

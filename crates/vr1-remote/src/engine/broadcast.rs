//! New weights to servers tensor by tensor, in a process group of which this process is the first and their workers are the others. A group is
//! made for each push, so that servers may come and go between two.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vr1_rollout::{Broadcast, Carrier, Meeting, Part, Weights};

use super::ServerKind;
use super::fleet::Fleet;
use super::push::{Post, Written, advice, has, renewed, succeeded};
use super::server::Server;
use crate::wire::Failed;
use crate::{Error, Result};

/// Bytes of tensors that an SGLang holds beside its model until they are in it, but for one that is larger.
const BUCKET: u64 = 512 << 20;

/// How much longer a server may take to answer than this process waits for it, and how long its reason is waited for.
const LONGER: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_secs(1);

/// What every server is told.
struct Told<'a> {
    fleet: &'a Fleet,
    written: &'a Written,
    group: &'a str,
    address: &'a str,
    port: u16,
    carrier: Carrier,
    ranks: usize,
    parts: &'a [Part],
}

/// Why a server did not take weights.
struct NotTaken {
    /// What it was asked.
    endpoint: String,
    reason: String,
    /// It was not there, or said nothing in time.
    silent: bool,
}

impl NotTaken {
    fn error(self, written: &Written) -> Error {
        Error::NotTaken { endpoint: self.endpoint, version: written.target.version.0, reason: self.reason }
    }
}

/// Why weights did not get to servers.
enum Failure<'a> {
    /// These failed.
    Of(Vec<(&'a Server, NotTaken)>),
    /// It is not known which.
    Unknown(String),
}

/// Gives all servers the weights at once. One that fails is left, where there are others, and these are given all of them again: what they have
/// of the first time is of no use.
pub(crate) fn broadcast(fleet: &Fleet, weights: &dyn Weights, written: &Written, group: &str) -> Result<()> {
    for again in 0.. {
        let servers: Vec<&Server> = fleet.all().collect();
        match given(fleet, &servers, weights, written, &format!("{group}-{again}")) {
            Ok(()) => break,
            Err(Failure::Of(failed)) => {
                failed.into_iter().try_for_each(|(server, why)| fleet.lose(server, why.error(written)))?;
            }
            Err(Failure::Unknown(reason)) => {
                let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
                let (servers, version) = (names.join(", "), written.target.version.0);
                return Err(Error::NotGiven { servers, version, reason });
            }
        }
    }
    Ok(())
}

fn given<'a>(
    fleet: &Fleet,
    servers: &[&'a Server],
    weights: &dyn Weights,
    written: &Written,
    group: &str,
) -> std::result::Result<(), Failure<'a>> {
    let unknown = |error: vr1_rollout::Error| Failure::Unknown(error.to_string());
    let (mut ranks, mut firsts) = (1, Vec::with_capacity(servers.len()));
    for server in servers {
        firsts.push(ranks);
        ranks += workers(fleet, server).map_err(|why| Failure::Of(vec![(*server, why)]))?;
    }
    let (deadline, stopped) = (fleet.config.deadline(), Arc::new(AtomicBool::new(false)));
    let address = fleet.config.address().unwrap_or("127.0.0.1");
    let (host, carrier) = (address.to_owned(), fleet.config.broadcast_backend);
    let meeting = Meeting { host, group: group.to_owned(), ranks, carrier, deadline, stopped: stopped.clone() };
    let giving = weights.broadcast(&meeting).map_err(unknown)?;
    let (parts, port, carrier) = (giving.parts().to_vec(), giving.port(), giving.carrier());
    let told = Told { fleet, written, group, address, port, carrier, ranks, parts: &parts };
    let Came { gave, first, took } = at_once(&told, servers, &firsts, giving, &stopped);
    // Where all was given, each that failed did so by itself; otherwise the first did, or, where nobody says why, those that say nothing at all.
    let blamed = |place: usize, why: &NotTaken| gave.is_ok() || first.map_or(why.silent, |first| first == place);
    let failed = servers.iter().copied().zip(took).enumerate();
    let failed = failed.filter_map(|(place, (server, took))| Some((server, took.filter(|why| blamed(place, why))?)));
    let failed: Vec<_> = failed.collect();
    match (failed.is_empty(), gave) {
        (false, _) => Err(Failure::Of(failed)),
        (true, Err(error)) => Err(unknown(error)),
        (true, Ok(())) => Ok(()),
    }
}

/// What came of giving weights.
struct Came {
    gave: vr1_rollout::Result<()>,
    /// Who failed first, as long as others were waited for: the rest fail because of it.
    first: Option<usize>,
    /// Why each server failed, where it did.
    took: Vec<Option<NotTaken>>,
}

/// Gives weights, while each server is told by a thread to take them.
fn at_once(
    told: &Told<'_>,
    servers: &[&Server],
    ranks: &[usize],
    giving: Box<dyn Broadcast + '_>,
    stopped: &AtomicBool,
) -> Came {
    let (first, mut giving) = (OnceLock::new(), Some(giving));
    thread::scope(|scope| {
        let one = |place: usize| {
            let (first, server, rank) = (&first, servers[place], ranks[place]);
            scope.spawn(move || {
                take(told, server, rank)
                    .inspect_err(|_| {
                        let _ = first.set(place);
                        stopped.store(true, Ordering::SeqCst);
                    })
                    .err()
            })
        };
        let takes: Vec<_> = (0..servers.len()).map(one).collect();
        let gave = giving.as_mut().map_or(Ok(()), |giving| give(giving.as_mut(), &batches(told.parts, BUCKET)));
        let mut failed = None;
        if gave.is_err() {
            let end = Instant::now() + MOMENT;
            while first.get().is_none() && Instant::now() < end {
                thread::sleep(Duration::from_millis(10));
            }
            failed = first.get().copied();
            stopped.store(true, Ordering::SeqCst);
            giving = None; // which ends the waits of those who joined
        }
        let took = takes.into_iter().map(|take| take.join());
        let took = took.map(|took| took.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect();
        Came { gave, first: failed, took }
    })
}

fn give(open: &mut dyn Broadcast, batches: &[Range<usize>]) -> vr1_rollout::Result<()> {
    open.meet()?;
    batches.iter().try_for_each(|batch| open.give(batch.clone()))
}

/// Runs of tensors of at most so many bytes, or one.
fn batches(parts: &[Part], most: u64) -> Vec<Range<usize>> {
    let (mut all, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (place, part) in parts.iter().enumerate() {
        if place > start && bytes + part.bytes > most {
            all.push(start..place);
            (start, bytes) = (place, 0);
        }
        bytes += part.bytes;
    }
    all.extend((start < parts.len()).then_some(start..parts.len()));
    all
}

/// How many of a server's processes hold the model.
fn workers(fleet: &Fleet, server: &Server) -> std::result::Result<usize, NotTaken> {
    let left = fleet.config.deadline();
    let get = |path: &str| server.get(path, left).map_err(|failed| (path.to_owned(), failed));
    let (path, key) = match fleet.kind() {
        ServerKind::Sglang => ("/server_info", "tp_size"),
        _ => ("/get_world_size", "world_size"),
    };
    let info = match get(path) {
        // An older SGLang has it elsewhere.
        Err((_, Failed::Status(404 | 405, ..))) if fleet.kind() == ServerKind::Sglang => get("/get_server_info"),
        info => info,
    };
    let info = info.map_err(|(path, failed)| not_taken(server, &path, failed))?;
    let wrong = |reason: String| refused(server, path, reason);
    match (info[key].as_u64(), info["pp_size"].as_u64()) {
        (_, Some(2..)) => {
            Err(wrong("its layers lie on several workers (`pp_size`): those take weights from a folder".to_owned()))
        }
        (Some(count @ 1..), _) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
        (other, _) => Err(wrong(format!("its `{key}` should be 1 or more, and is {other:?}"))),
    }
}

fn refused(server: &Server, path: &str, reason: String) -> NotTaken {
    NotTaken { endpoint: format!("{}{path}", server.name), reason, silent: false }
}

fn not_taken(server: &Server, path: &str, failed: Failed) -> NotTaken {
    let told = match (path, &failed) {
        ("/collective_rpc", Failed::Status(500.., ..)) => {
            " (vLLM joins and takes tensors with `--worker-extension-cls vr1_extension.Reload`, of this vr1)"
        }
        ("/init_weights_update_group" | "/update_weights_from_distributed", Failed::Status(404 | 405, ..)) => {
            " (an SGLang without it takes whole models from a folder alone: `push: full`)"
        }
        (_, Failed::Status(status, ..)) => advice(path, *status),
        _ => "",
    };
    let silent = matches!(failed, Failed::Lost(_));
    NotTaken { silent, ..refused(server, path, format!("{failed}{told}")) }
}

/// Has a server's workers join as `rank` and those behind it, and take the tensors while they are given.
fn take(told: &Told<'_>, server: &Server, rank: usize) -> std::result::Result<(), NotTaken> {
    let left = told.fleet.config.deadline() + LONGER;
    let post =
        |path: &str, body: &Value| server.post(path, body, left).map_err(|failed| not_taken(server, path, failed));
    let mark = told.written.mark();
    if told.fleet.kind() == ServerKind::Sglang {
        return of_sglang(told, server, rank, &mark, &post);
    }
    let call = |method: &str, kwargs: Value| post("/collective_rpc", &json!({"method": method, "kwargs": kwargs}));
    let join = json!({
        "address": told.address, "port": told.port, "offset": rank, "ranks": told.ranks, "group": told.group,
        "backend": told.carrier, "seconds": told.fleet.config.deadline().as_secs_f64(),
    });
    let receive = || {
        call("vr1_join", join)?;
        let [names, dtypes, shapes] = lists(told.parts);
        call("vr1_receive", json!({"names": names, "dtypes": dtypes, "shapes": shapes})).map(drop)
    };
    renewed(receive, &mark, &post)?;
    let path = "/weight_info";
    let info = server.get(path, left).map_err(|failed| not_taken(server, path, failed))?;
    has(&info, &mark).map_err(|reason| refused(server, path, reason))
}

fn lists(parts: &[Part]) -> [Value; 3] {
    let list = |of: fn(&Part) -> Value| parts.iter().map(of).collect();
    [list(|part| json!(part.name)), list(|part| json!(part.dtype)), list(|part| json!(part.shape))]
}

fn of_sglang(
    told: &Told<'_>,
    server: &Server,
    rank: usize,
    mark: &str,
    post: &Post<'_, NotTaken>,
) -> std::result::Result<(), NotTaken> {
    // It says in its answer whether it did what it was told.
    let tell = |path: &str, body: Value| {
        let wrong = |reason| refused(server, path, reason);
        post(path, &body).and_then(|said| succeeded(&said).map_err(wrong))
    };
    tell(
        "/init_weights_update_group",
        json!({
            "master_address": told.address, "master_port": told.port, "rank_offset": rank, "world_size": told.ranks,
            "group_name": told.group, "backend": told.carrier,
        }),
    )?;
    // One that knows no beginning and end of an update needs neither.
    let short = Duration::from_secs(60).min(told.fleet.config.deadline());
    let session = match server.post("/begin_weight_update", &json!({}), short) {
        Err(Failed::Status(404 | 405, ..)) => Ok(false),
        Err(failed) => Err(not_taken(server, "/begin_weight_update", failed)),
        Ok(_) => Ok(true),
    };
    let taken = session.and_then(|session| {
        let batches = batches(told.parts, BUCKET);
        let taken = batches.iter().enumerate().try_for_each(|(place, batch)| {
            let ([names, dtypes, shapes], last) = (lists(&told.parts[batch.clone()]), place + 1 == batches.len());
            let mut body = json!({
                "names": names, "dtypes": dtypes, "shapes": shapes, "group_name": told.group, "flush_cache": last,
            });
            if last {
                body["weight_version"] = json!(mark);
            }
            tell("/update_weights_from_distributed", body)
        });
        let ended = if session { post("/end_weight_update", &json!({})).map(drop) } else { Ok(()) };
        taken.and(ended)
    });
    // A group that it keeps does no harm: the next has another name.
    let _ = server.post("/destroy_weights_update_group", &json!({"group_name": told.group}), short);
    taken
}

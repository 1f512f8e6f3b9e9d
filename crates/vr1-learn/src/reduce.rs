//! Gradients of all ranks summed, and parameters brought from the rank that updates them to all.

use tch::{Device, Kind, Tensor};

use crate::sharding::{Run, Shards};
use crate::world::World;
use crate::{Error, Result};

/// Numbers that are sent at once, but for parameters that are larger where they are not cut.
pub(crate) const BUCKET: usize = 1 << 23;

/// The sum over ranks of each parameter's gradient, in f32 and in the order of ranks, so that it is the same bits on all; and the bytes
/// that were summed. `present` says which parameters have a gradient on any rank: where this one has none, it counts as zeros. Of what is
/// sharded a rank gets the sums of its own parameters alone.
pub(crate) fn summed(
    world: &World,
    shards: &Shards,
    parameters: &[Tensor],
    gradients: Vec<Option<Tensor>>,
    present: &[bool],
) -> Result<(Vec<Option<Tensor>>, u64)> {
    if world.is_alone() {
        return Ok((gradients, 0));
    }
    if present.len() != parameters.len() {
        let reason = format!("{} gradients for {} parameters", present.len(), parameters.len());
        return Err(Error::Lost { rank: world.rank(), reason });
    }
    match shards.is_whole() {
        true => everywhere(world, parameters, gradients, present),
        false => at_owners(shards, parameters, gradients, present, BUCKET as i64),
    }
}

fn everywhere(
    world: &World,
    parameters: &[Tensor],
    mut gradients: Vec<Option<Tensor>>,
    present: &[bool],
) -> Result<(Vec<Option<Tensor>>, u64)> {
    let (mut bytes, mut bucket, mut numbers) = (0, Vec::new(), 0);
    let last = present.iter().rposition(|present| *present);
    for (place, parameter) in parameters.iter().enumerate().filter(|(place, _)| present[*place]) {
        bucket.push(place);
        numbers += parameter.numel();
        if numbers >= BUCKET || Some(place) == last {
            let flat = |&place: &usize| match gradients[place].take() {
                Some(gradient) => gradient.to_kind(Kind::Float).flatten(0, -1),
                None => Tensor::zeros([parameters[place].numel() as i64], (Kind::Float, parameters[place].device())),
            };
            let sum = tch::no_grad(|| Tensor::f_cat(&bucket.iter().map(flat).collect::<Vec<_>>(), 0))?;
            bytes += 4 * numbers as u64;
            let (sum, mut at) = (world.sum(sum)?, 0);
            for place in bucket.drain(..) {
                let count = parameters[place].numel() as i64;
                gradients[place] = Some(sum.f_narrow(0, at, count)?.f_view(parameters[place].size().as_slice())?);
                at += count;
            }
            numbers = 0;
        }
    }
    Ok((gradients, bytes))
}

/// The same sums, each at the rank that its parameter belongs to. What was given away is freed as it goes.
pub(crate) fn at_owners(
    shards: &Shards,
    parameters: &[Tensor],
    mut gradients: Vec<Option<Tensor>>,
    present: &[bool],
    at_once: i64,
) -> Result<(Vec<Option<Tensor>>, u64)> {
    let (mut bytes, rank) = (0, shards.world().rank());
    let mut own: Vec<Option<Tensor>> = parameters.iter().map(|_| None).collect();
    gradients.resize_with(parameters.len(), || None);
    let numbers = parameters.iter().map(|parameter| parameter.numel() as i64).enumerate();
    for round in shards.rounds(numbers.filter(|(place, _)| present[*place]), at_once) {
        let given = |run: &Run| match &gradients[run.place] {
            Some(gradient) => gradient.f_flatten(0, -1)?.f_narrow(0, run.start, run.length)?.f_to_kind(Kind::Float),
            None => Tensor::f_zeros([run.length], (Kind::Float, parameters[run.place].device())),
        };
        let (counts, given) = (round.counts(), round.all().map(given).collect::<Result<Vec<_>, _>>()?);
        let flat = tch::no_grad(|| Tensor::f_cat(&given, 0))?;
        drop(given);
        round.all().filter(|run| run.is_last()).for_each(|run| gradients[run.place] = None);
        bytes += 4 * counts.iter().sum::<i64>() as u64;
        let (sum, mut at) = (shards.world().reduce_scatter(flat, &counts)?, 0);
        for run in round.of(rank) {
            let (part, size) = (sum.f_narrow(0, at, run.length)?, parameters[run.place].size());
            at += run.length;
            if run.is_whole() {
                own[run.place] = Some(part.f_view(size.as_slice())?);
                continue;
            }
            let whole = match own[run.place].take() {
                Some(whole) => whole,
                None => Tensor::f_empty(size.as_slice(), (Kind::Float, parameters[run.place].device()))?,
            };
            whole.f_view([-1])?.f_narrow(0, run.start, run.length)?.f_copy_(&part)?;
            own[run.place] = Some(whole);
        }
    }
    Ok((own, bytes))
}

/// Brings the parameters at these places from the ranks that they belong to, to all: the bytes of them.
pub(crate) fn gathered(shards: &Shards, parameters: &[Tensor], places: &[usize]) -> Result<u64> {
    match shards.is_whole() {
        true => Ok(0),
        false => from_owners(shards, parameters, places, 4 * BUCKET as i64),
    }
}

fn from_owners(shards: &Shards, parameters: &[Tensor], places: &[usize], at_once: i64) -> Result<u64> {
    tch::no_grad(|| {
        // Whatever kind they are of. What does not lie in a row is brought into one, and back.
        let mut rows: Vec<Option<Tensor>> = parameters.iter().map(|_| None).collect();
        for &place in places {
            let row = parameters[place].f_detach()?.f_contiguous()?.f_view([-1])?;
            rows[place] = Some(row.f_view_dtype(Kind::Uint8)?);
        }
        let sizes = places.iter().map(|&place| {
            let numbers = parameters[place].numel() * parameters[place].kind().elt_size_in_bytes();
            (place, numbers as i64)
        });
        let device = parameters.first().map_or(Device::Cpu, Tensor::device);
        let bytes = brought(shards, &rows, sizes, at_once, device)?;
        for &place in places.iter().filter(|&&place| !shards.has(place) && !parameters[place].is_contiguous()) {
            let (mut parameter, row) = (parameters[place].detach(), &rows[place]);
            if let Some(row) = row {
                parameter.f_copy_(&row.f_view_dtype(parameter.kind())?.f_view(parameter.size().as_slice())?)?;
            }
        }
        Ok(bytes)
    })
}

/// Brings bytes in rows, of these `sizes` by their places, from the ranks that they belong to, to all that have a row for them: how many they are.
pub(crate) fn brought(
    shards: &Shards,
    rows: &[Option<Tensor>],
    sizes: impl Iterator<Item = (usize, i64)>,
    at_once: i64,
    device: Device,
) -> Result<u64> {
    let (mut bytes, rank) = (0, shards.world().rank());
    let own_of = |run: &Run| -> Result<Tensor> {
        let row = rows[run.place]
            .as_ref()
            .ok_or_else(|| Error::Lost { rank, reason: format!("parameter {} was not to be brought", run.place) })?;
        Ok(row.f_narrow(0, run.start, run.length)?)
    };
    for round in shards.rounds(sizes, at_once) {
        let counts = round.counts();
        let own = match round.of(rank) {
            [] => Tensor::f_empty([0], (Kind::Uint8, device))?,
            runs => Tensor::f_cat(&runs.iter().map(own_of).collect::<Result<Vec<_>>>()?, 0)?,
        };
        bytes += counts.iter().sum::<i64>() as u64;
        let (all, mut at) = (shards.world().all_gather(own, &counts)?, 0);
        for run in round.all() {
            if let Some(row) = rows[run.place].as_ref().filter(|_| !shards.has(run.place)) {
                row.f_narrow(0, run.start, run.length)?.f_copy_(&all.f_narrow(0, at, run.length)?)?;
            }
            at += run.length;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use vr1_torch::Holder;

    use super::*;
    use crate::{Launch, Sharding};

    /// What each of `size` ranks comes to, threads of this process.
    fn ranks<T: Send>(size: usize, work: impl Fn(World) -> T + Sync) -> Vec<T> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let launch = |rank: usize| {
            let (holder, host) = (if rank == 0 { Holder::Here } else { Holder::Elsewhere }, "127.0.0.1".to_owned());
            Launch { rank, size, local_rank: rank, host, port, holder, attempt: String::new() }
        };
        let one = |rank: usize| {
            let world = World::join(launch(rank)).expect("a world");
            let made = work(world.clone());
            world.leave().expect("an end");
            made
        };
        let one = &one;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..size).map(|rank| scope.spawn(move || one(rank))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a rank")).collect()
        })
    }

    /// Parameters of several kinds, of which one does not lie in a row, and a rank's gradients of some of them.
    fn given(rank: usize) -> (Vec<Tensor>, Vec<Option<Tensor>>) {
        let waves = |seed: usize, size: &[i64]| {
            let numbers = Tensor::arange(size.iter().product::<i64>(), (Kind::Float, Device::Cpu));
            ((numbers + seed as i64).sin() * 3f64.powi(seed as i32 % 7)).view(size)
        };
        let kinds = [Kind::Float, Kind::BFloat16, Kind::Float, Kind::Float, Kind::BFloat16];
        let sizes: [&[i64]; 5] = [&[5, 4], &[3, 7], &[1], &[4, 6], &[2]];
        let parameters = kinds.iter().zip(sizes).enumerate().map(|(i, (kind, size))| {
            let parameter = waves(100 * rank + i, size).to_kind(*kind);
            if i == 3 { parameter.tr().contiguous().tr() } else { parameter }
        });
        let parameters: Vec<Tensor> = parameters.collect();
        let gradient = |(i, parameter): (usize, &Tensor)| {
            let has = i != 4 && (i != 2 || rank == 1);
            has.then(|| waves(31 * rank + 7 * i, &parameter.size()).to_kind(parameter.kind()))
        };
        let gradients = parameters.iter().enumerate().map(gradient).collect();
        (parameters, gradients)
    }

    #[test]
    fn what_owners_get_and_give_is_the_same_bits_however_it_is_cut() {
        for (size, at_once) in [(2, 1), (2, 1000), (3, 7), (4, 16)] {
            let present = [true, true, true, true, false];
            let all = ranks(size, |world| {
                let (parameters, gradients) = given(world.rank());
                let sizes: Vec<usize> = parameters.iter().map(Tensor::numel).collect();
                let whole = Shards::new(Sharding::None, &sizes, &world);
                let shards = Shards::new(Sharding::Zero2, &sizes, &world);
                let (_, again) = given(world.rank());
                let (everywhere, bytes) = summed(&world, &whole, &parameters, again, &present).expect("sums");
                let (own, same_bytes) = at_owners(&shards, &parameters, gradients, &present, at_once).expect("sums");
                assert_eq!((bytes, same_bytes), (4 * (20 + 21 + 1 + 24), bytes));
                for (place, (own, sum)) in own.iter().zip(&everywhere).enumerate() {
                    let kept = own.as_ref().zip(sum.as_ref()).is_some_and(|(own, sum)| own.equal(sum));
                    assert_eq!(kept, shards.has(place) && present[place], "{size} {at_once}: {place}");
                    assert!(own.is_none() || shards.has(place), "what is another's is freed");
                }
                let bytes = from_owners(&shards, &parameters, &[0, 1, 2, 3], at_once).expect("parameters");
                assert_eq!(bytes, 4 * 20 + 2 * 21 + 4 + 4 * 24);
                let owner = |place: usize| (0..size).find(|&rank| crate::owners(&sizes, size)[place] == rank);
                for (place, parameter) in parameters.iter().enumerate() {
                    let rank = if present[place] { owner(place).unwrap_or(size) } else { world.rank() };
                    assert!(parameter.equal(&given(rank).0[place]), "{size} {at_once}: {place}");
                }
            });
            assert_eq!(all.len(), size);
        }
    }
}

//! The ranks of a world, each a thread of this process.

use vr1_learn::{Launch, World};

/// What each of so many ranks comes to.
pub(crate) fn ranks<T: Send>(size: usize, one: impl Fn(World) -> T + Sync) -> Vec<T> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let joined = |rank: usize| {
        let said = |name: &str| match name {
            "RANK" | "LOCAL_RANK" => Some(rank.to_string()),
            "WORLD_SIZE" => Some(size.to_string()),
            "MASTER_ADDR" => Some("127.0.0.1".to_owned()),
            "MASTER_PORT" => Some(port.to_string()),
            _ => None,
        };
        one(World::join(Launch::read(said).unwrap().unwrap()).unwrap())
    };
    std::thread::scope(|scope| {
        let ranks: Vec<_> = (0..size).map(|rank| scope.spawn(move || joined(rank))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

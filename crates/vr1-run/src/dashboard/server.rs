//! A few threads that answer, and one that lets clients in. Nobody can hold them up: every client has a deadline, and those
//! who come when all are busy are turned away.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use crate::dashboard::{reply::Reply, request::Gate, views::Views};

/// A page that is being served; dropped, it is so no longer.
#[derive(Debug)]
pub struct Serving {
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    door: Option<JoinHandle<()>>,
}

/// Clients answered at once, and those who wait.
const AT_ONCE: usize = 8;
const WAITING: usize = 32;
/// The time for a request to be said, and for an answer to be taken.
const TO_ASK: Duration = Duration::from_secs(5);
const TO_TAKE: Duration = Duration::from_secs(20);
/// The bytes of a request.
const LONGEST: usize = 8 << 10;

/// Answers at `listener` until what this gives is dropped.
///
/// # Errors
/// The system gives no threads.
pub(crate) fn serve(listener: TcpListener, address: SocketAddr, gate: Gate, views: Arc<Views>) -> io::Result<Serving> {
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = sync_channel(WAITING);
    let (receiver, gate) = (Arc::new(Mutex::new(receiver)), Arc::new(gate));
    for _ in 0..AT_ONCE {
        let (receiver, gate, views) = (receiver.clone(), gate.clone(), views.clone());
        Builder::new().name("dashboard".into()).spawn(move || {
            while let Some(client) = next(&receiver) {
                // One who hangs up is no fault.
                let _ = answer(client, &gate, &views);
            }
        })?;
    }
    let stopped = stop.clone();
    let door = Builder::new().name("dashboard".into()).spawn(move || let_in(&listener, &sender, &stopped))?;
    Ok(Serving { stop, address, door: Some(door) })
}

/// The next client; none when the door is closed.
fn next(receiver: &Mutex<Receiver<TcpStream>>) -> Option<TcpStream> {
    receiver.lock().ok()?.recv().ok()
}

fn let_in(listener: &TcpListener, sender: &SyncSender<TcpStream>, stop: &AtomicBool) {
    for client in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        match client {
            // Where all places are taken it is dropped.
            Ok(client) => drop(sender.try_send(client)),
            // No more files, say: that may pass.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The door looks up when somebody comes.
        let mut own = self.address;
        if own.ip().is_unspecified() {
            own.set_ip(if own.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
        }
        if TcpStream::connect_timeout(&own, Duration::from_secs(1)).is_ok()
            && let Some(door) = self.door.take()
        {
            let _ = door.join();
        }
    }
}

fn answer(mut client: TcpStream, gate: &Gate, views: &Views) -> io::Result<()> {
    let (reply, head_only) = match head(&mut client)? {
        Some(head) => match gate.request(&head) {
            Ok(request) => (views.reply(&request), request.head_only),
            Err(refusal) => (refusal, false),
        },
        None => (Reply::refusal(431, "a request has at most 8 KiB"), false),
    };
    send(&mut client, &reply.bytes(head_only))?;
    client.shutdown(Shutdown::Write)?;
    // What was said and not read would have the answer lost on its way.
    let deadline = Instant::now() + Duration::from_millis(500);
    let mut rest = [0; 1024];
    while client.set_read_timeout(Some(left(deadline)?)).is_ok() && client.read(&mut rest)? > 0 {}
    Ok(())
}

/// The time until `deadline`, an error where it is past.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A request up to its empty line; none where it is too long.
fn head(client: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let deadline = Instant::now() + TO_ASK;
    let mut bytes = Vec::new();
    let mut part = [0; 1024];
    loop {
        client.set_read_timeout(Some(left(deadline)?))?;
        match client.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&part[..read]),
        }
        if bytes.len() > LONGEST {
            return Ok(None);
        }
        if bytes.windows(4).any(|four| four == b"\r\n\r\n") {
            return Ok(Some(bytes));
        }
    }
}

fn send(client: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + TO_TAKE;
    while !bytes.is_empty() {
        client.set_write_timeout(Some(left(deadline)?))?;
        match client.write(bytes)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            sent => bytes = &bytes[sent..],
        }
    }
    Ok(())
}

//! A server that follows a script, one connection a request.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::spawn;
use std::time::Duration;

use serde_json::Value;

/// What becomes of a request.
pub(crate) enum Reply {
    /// It is answered with this JSON.
    Ok(&'static str),
    /// It is refused.
    Status(&'static str, &'static str),
    /// It is answered with these bytes, and the connection is closed.
    Raw(&'static str),
    /// The connection is closed.
    Close,
    /// It is not answered while the test runs.
    Never,
}

pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
    most: Arc<Mutex<usize>>,
}

impl Server {
    /// One that gives these replies, in order.
    pub(crate) fn new(replies: Vec<Reply>) -> Self {
        let (server, listener) = Self::bound();
        let asked = server.asked.clone();
        spawn(move || {
            let mut held = vec![];
            for reply in replies {
                let Ok((mut stream, _)) = listener.accept() else { return };
                asked.lock().unwrap().push(request(&mut stream));
                let said = match reply {
                    Reply::Ok(body) => whole("200 OK", body),
                    Reply::Status(status, body) => whole(status, body),
                    Reply::Raw(bytes) => bytes.to_owned(),
                    Reply::Close => continue,
                    Reply::Never => {
                        held.push(stream);
                        continue;
                    }
                };
                let _ = stream.write_all(said.as_bytes()); // who asked may have gone
            }
        });
        server
    }

    /// One that answers `count` requests, `together` at a time, all of which it waits for; who comes meanwhile is counted too.
    pub(crate) fn counting(count: usize, together: usize, body: &'static str) -> Self {
        let (server, listener) = Self::bound();
        let (most, (arrived, waiting)) = (server.most.clone(), mpsc::channel());
        spawn(move || {
            for _ in 0..count {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let arrived = arrived.clone();
                spawn(move || {
                    request(&mut stream);
                    let _ = arrived.send(stream);
                });
            }
        });
        spawn(move || {
            for _ in 0..count / together {
                let mut open: Vec<TcpStream> = waiting.iter().take(together).collect();
                // Time for one more, where it may not come.
                open.extend(waiting.recv_timeout(Duration::from_millis(50)));
                let mut most = most.lock().unwrap();
                *most = open.len().max(*most);
                drop(most);
                open.iter_mut().for_each(|stream| drop(stream.write_all(whole("200 OK", body).as_bytes())));
            }
        });
        server
    }

    /// One that answers every request by its path and its JSON, as many at a time as come: a status line and a body, or nothing, which closes the
    /// connection.
    pub(crate) fn answering(
        answer: impl Fn(&str, &Value) -> Option<(&'static str, String)> + Send + Sync + 'static,
    ) -> Self {
        let (server, listener) = Self::bound();
        let (asked, answer) = (server.asked.clone(), Arc::new(answer));
        spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let (asked, answer) = (asked.clone(), answer.clone());
                spawn(move || {
                    let text = request(&mut stream);
                    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                    let json = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
                    asked.lock().unwrap().push(text);
                    if let Some((status, said)) = answer(&path, &json.unwrap_or_default()) {
                        let _ = stream.write_all(whole(status, &said).as_bytes()); // who asked may have gone
                    }
                });
            }
        });
        server
    }

    /// The paths of what was asked so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked().iter().map(|asked| asked.split(' ').nth(1).unwrap_or_default().to_owned()).collect()
    }

    fn bound() -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        (Self { url, asked: Arc::default(), most: Arc::default() }, listener)
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// How many waited for an answer at a time, at most.
    pub(crate) fn most_at_once(&self) -> usize {
        *self.most.lock().unwrap()
    }
}

/// The JSON of a request.
pub(crate) fn body(asked: &str) -> Value {
    serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn whole(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// A request: its head, and as many bytes as that says.
fn request(stream: &mut TcpStream) -> String {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut part).unwrap_or(0) {
            0 => return text,
            count => request.extend_from_slice(&part[..count]),
        }
    }
}

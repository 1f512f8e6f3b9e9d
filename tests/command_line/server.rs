//! A server that answers by a function of what it is asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

use serde_json::Value;

/// It serves while the test runs.
pub(crate) struct Serving {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Serving {
    pub(crate) fn new(answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        Self::gated(answer, usize::MAX)
    }

    /// One that answers so many, and lets the others wait.
    pub(crate) fn gated(answer: impl Fn(&Value) -> Value + Send + Sync + 'static, most: usize) -> Self {
        Self::serve(move |asked, number| {
            (number < most).then(|| ("200 OK".to_owned(), answer(&body(asked)).to_string()))
        })
    }

    /// One that refuses.
    pub(crate) fn refusing(status: &'static str, said: &'static str) -> Self {
        Self::serve(move |_, _| Some((status.to_owned(), said.to_owned())))
    }

    fn serve(reply: impl Fn(&str, usize) -> Option<(String, String)> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (asked, reply) = (Arc::new(Mutex::new(vec![])), Arc::new(reply));
        let heard = asked.clone();
        spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let (heard, reply) = (heard.clone(), reply.clone());
                spawn(move || {
                    let request = request(&mut stream);
                    let number = {
                        let mut heard = heard.lock().unwrap();
                        heard.push(request.clone());
                        heard.len() - 1
                    };
                    match reply(&request, number) {
                        Some((status, body)) => {
                            let length = body.len();
                            let head =
                                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
                            let _ = stream.write_all(format!("{head}{body}").as_bytes()); // who asked may have gone
                        }
                        // It holds the line until who asked has gone.
                        None => drop(stream.read(&mut [0; 16])),
                    }
                });
            }
        });
        Self { url, asked }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The JSON of a request.
pub(crate) fn body(asked: &str) -> Value {
    serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// A request: its head, and as many bytes as that says.
fn request(stream: &mut TcpStream) -> String {
    let (mut request, mut part) = (Vec::new(), [0; 65536]);
    loop {
        if let Some(at) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..at]);
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if request.len() - at - 4 >= length.unwrap_or(0) {
                return String::from_utf8(request).unwrap();
            }
        }
        match stream.read(&mut part).unwrap_or(0) {
            0 => return String::from_utf8(request).unwrap(),
            count => request.extend_from_slice(&part[..count]),
        }
    }
}

//! What is asked, and whether it may be: a request's head, and nothing of what follows it.

use crate::dashboard::{address::loopback, reply::Reply};

/// Who is let in.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) token: Option<String>,
    /// Whether it is this machine's own address alone that is listened at.
    pub(crate) loopback: bool,
}

/// A request that may be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// As it was written: nothing is decoded, so that nothing hides in it.
    pub(crate) path: String,
    query: String,
    pub(crate) head_only: bool,
}

impl Request {
    /// A value of the query.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        value(&self.query, name)
    }
}

fn value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// The headers that a request may have.
const HEADERS: usize = 64;

impl Gate {
    /// The request in `head`, which ends with an empty line; or why it is not answered.
    pub(crate) fn request(&self, head: &[u8]) -> Result<Request, Reply> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            _ => return Err(Reply::refusal(400, "this is no request of HTTP/1.1")),
        }
        let head_only = match parsed.method {
            Some("GET") => false,
            Some("HEAD") => true,
            _ => return Err(Reply::refusal(405, "this page can be read and nothing else")),
        };
        let header = |name: &str| {
            let mut found = parsed.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
            let value = found.next().and_then(|header| std::str::from_utf8(header.value).ok());
            // What is said twice is not said.
            value.filter(|_| found.next().is_none())
        };
        // A page from elsewhere, whose name was made to stand for this machine, says that name.
        if self.loopback && !header("host").is_some_and(own) {
            return Err(Reply::refusal(403, "this host is not this machine"));
        }
        let target = parsed.path.filter(|path| path.starts_with('/'));
        let Some(target) = target else { return Err(Reply::refusal(400, "expected a path")) };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if let Some(token) = &self.token {
            let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
            let said = value(query, "token").or(bearer).unwrap_or_default();
            // Hashes are compared in constant time.
            if blake3::hash(said.as_bytes()) != blake3::hash(token.as_bytes()) {
                return Err(Reply::refusal(401, "say the token that was told where the run was started: ?token=…"));
            }
        }
        Ok(Request { path: path.to_owned(), query: query.to_owned(), head_only })
    }
}

/// Whether a Host header names this machine's loopback, with whatever port: a tunnel may have another.
fn own(host: &str) -> bool {
    let port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, digits)) if port(digits) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_this_machine_or_it_is_not() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "[::1]"] {
            assert!(own(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "10.0.0.1",
            "0.0.0.0",
            "localhost:80@x",
            "[::2]",
        ] {
            assert!(!own(host), "{host}");
        }
    }

    #[test]
    fn a_host_said_twice_is_none() {
        let gate = Gate { token: None, loopback: true };
        let ask = |hosts: &str| gate.request(format!("GET / HTTP/1.1\r\n{hosts}\r\n").as_bytes());
        assert!(ask("Host: localhost\r\n").is_ok());
        assert!(ask("Host: localhost\r\nHost: evil.example\r\n").is_err());
        assert!(ask("").is_err());
    }
}

//! An answer, with the headers that keep a page to itself.

use serde::Serialize;

/// What is sent back.
#[derive(Debug)]
pub(crate) struct Reply {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
}

impl Reply {
    pub(crate) fn page(text: String) -> Self {
        Self { status: 200, kind: "text/html; charset=utf-8", body: text.into_bytes() }
    }

    pub(crate) fn jpeg(body: Vec<u8>) -> Self {
        Self { status: 200, kind: JPEG, body }
    }

    pub(crate) fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status: 200, kind: JSON, body },
            Err(error) => Self::refusal(500, &error.to_string()),
        }
    }

    /// No answer, and why.
    pub(crate) fn refusal(status: u16, reason: &str) -> Self {
        Self { status, kind: JSON, body: serde_json::json!({ "error": reason }).to_string().into_bytes() }
    }

    /// The bytes to send: of a HEAD without the body, whose length is told all the same.
    pub(crate) fn bytes(&self, head_only: bool) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            _ => "Internal Server Error",
        };
        // A thumbnail is named by what it holds.
        let keep = if self.kind == JPEG { "private, max-age=86400, immutable" } else { "no-store" };
        let more = match self.status {
            401 => "WWW-Authenticate: Bearer\r\n",
            405 => "Allow: GET, HEAD\r\n",
            _ => "",
        };
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: {keep}\r\n\
             X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n\
             Cross-Origin-Resource-Policy: same-origin\r\n{more}\r\n",
            self.status,
            self.kind,
            self.body.len(),
        );
        let mut bytes = head.into_bytes();
        if !head_only {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

const JSON: &str = "application/json";
const JPEG: &str = "image/jpeg";

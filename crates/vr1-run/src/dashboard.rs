//! A run's page, live while it trains. It reads the run's files and nothing else, on threads of its own: training neither
//! waits for it nor knows of it.
//!
//! The server is written here, upon `httparse`: it answers five addresses to GET and HEAD, holds eight connections at once
//! with a deadline for each, and drops what is beyond. The small servers at hand keep a thread for each connection and let a
//! silent client keep it; the large ones bring a runtime.

mod address;
mod reply;
mod request;
mod server;
mod tail;
mod views;

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
};

pub use self::server::Serving;
use self::{
    address::{checked_token, loopback, places, random_token},
    server::serve,
    views::Views,
};
use crate::run_error::RunError;

/// An address that is taken, and nothing served at it yet: it is taken before a run begins, so that one that cannot be had
/// is an error before any work is done.
///
/// # Example
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let run = vr1_run::RunFolder::create(folder.path())?;
/// # run.write_config(&std::collections::BTreeMap::from([("steps", 2)]))?;
/// let dashboard = vr1_run::Dashboard::bind("127.0.0.1:0", None)?;
/// assert!(dashboard.url().starts_with("http://127.0.0.1:"));
/// let serving = dashboard.serve(folder.path())?; // until this is dropped
/// # drop(serving);
/// # Ok::<(), vr1_run::RunError>(())
/// ```
#[derive(Debug)]
pub struct Dashboard {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<String>,
}

impl Dashboard {
    /// Takes an address: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or a port by itself, which is this machine's own
    /// loopback. Port 0 takes one that is free. Where a `token` is given, whoever asks has to say it, and elsewhere than on
    /// loopback one is drawn where none is given.
    ///
    /// # Errors
    /// The address is none or cannot be had, or the token holds what an address cannot, or is short.
    pub fn bind(address: &str, token: Option<&str>) -> Result<Self, RunError> {
        let refused = |reason: String| RunError::Address { address: address.to_owned(), reason };
        let places = places(address).map_err(refused)?;
        let token = token.map(checked_token).transpose().map_err(refused)?;
        let listener = TcpListener::bind(&places[..]).map_err(|error| refused(error.to_string()))?;
        let address = listener.local_addr().map_err(|error| refused(error.to_string()))?;
        let token = match token {
            None if !loopback(address.ip()) => Some(random_token().map_err(refused)?),
            token => token,
        };
        Ok(Self { listener, address, token })
    }

    /// Where the page is, the token with it.
    #[must_use]
    pub fn url(&self) -> String {
        let token = self.token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
        format!("http://{}/{token}", self.address)
    }

    /// Serves a run's page until what this gives is dropped. A folder in which nothing stands yet is a run that will begin.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn serve(self, run_dir: &Path) -> Result<Serving, RunError> {
        let name = self.address.to_string();
        let gate = request::Gate { token: self.token, loopback: loopback(self.address.ip()) };
        let views = Arc::new(Views::new(run_dir));
        serve(self.listener, self.address, gate, views)
            .map_err(|error| RunError::Address { address: name, reason: error.to_string() })
    }
}

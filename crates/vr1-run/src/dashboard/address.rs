//! Addresses to listen at, and the word that lets somebody in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// The places that `address` means; a port by itself is on loopback.
pub(crate) fn places(address: &str) -> Result<Vec<SocketAddr>, String> {
    let port = address.strip_prefix(':').unwrap_or(address);
    if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = port.parse().map_err(|_| "a port is at most 65535".to_owned())?;
        return Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]);
    }
    let found: Vec<SocketAddr> = address
        .to_socket_addrs()
        .map_err(|error| format!("expected `HOST:PORT`, as in `127.0.0.1:8080`: {error}"))?
        .collect();
    // A name with places of both kinds would be open at whichever is free.
    match found.iter().all(|place| loopback(place.ip())) == found.iter().any(|place| loopback(place.ip())) {
        true if !found.is_empty() => Ok(found),
        _ => Err("the name stands for no place, or for places on this machine and elsewhere".into()),
    }
}

/// Whether an address is seen by this machine alone.
pub(crate) fn loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// A token that can stand in an address as it is, and is not guessed at once.
pub(crate) fn checked_token(token: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if token.len() < 8 || token.len() > 200 || !token.bytes().all(plain) {
        return Err("a token has 8 to 200 letters, digits or `-`, `.`, `_`, `~`".into());
    }
    Ok(token.to_owned())
}

/// 128 bits from the system.
pub(crate) fn random_token() -> Result<String, String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("no token can be drawn: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

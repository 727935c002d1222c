//! Connecting, with Go's words for what goes wrong.

use std::{io, time::Duration};

use tokio::net::TcpStream;

/// `10.244.0.5:80`, or `[fd00::5]:80`.
pub(crate) fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A connection, or the sentence that upstream's probes show.
pub(crate) async fn tcp(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let place = host_port(host, port);
    match tokio::time::timeout(timeout, TcpStream::connect(&place)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("dial tcp {place}: {}", connect_words(&error))),
        Err(_) => Err(format!("dial tcp {place}: i/o timeout")),
    }
}

fn connect_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
        io::ErrorKind::TimedOut => "connect: connection timed out".to_owned(),
        _ => format!("connect: {error}"),
    }
}

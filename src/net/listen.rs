//! Binds the addresses that the configuration names.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;

/// Connections that the system may have established before they are accepted: a burst of clients that reconnect at
/// once must not be turned away. The system cuts it down to its own limit (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// An address that is ours, but refuses connections until [`listen`](Self::listen): a broker takes its ports before it
/// reads its data, and is reachable only once it can serve.
#[derive(Debug)]
pub struct Bound {
    what: &'static str,
    requested: SocketAddr,
    socket: Socket,
}

/// Binds every address; `what` is the protocol's name in log and error lines.
///
/// # Errors
/// [`Error::Listen`] for the first address that cannot be had.
pub fn bind(what: &'static str, addresses: &[SocketAddr]) -> Result<Vec<Bound>, Error> {
    let bind_one = |requested: &SocketAddr| {
        let ipv4_is_listed =
            addresses.contains(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, requested.port())));
        match socket_for(*requested, !ipv4_is_listed) {
            Ok(socket) => Ok(Bound {
                what,
                requested: *requested,
                socket,
            }),
            Err(error) => Err(refusal(what, *requested, &error)),
        }
    };
    addresses.iter().map(bind_one).collect()
}

impl Bound {
    /// Admits connections, and logs where. The listener is non-blocking, as tokio wants it.
    ///
    /// # Errors
    /// [`Error::Listen`] when another process was faster.
    pub fn listen(self) -> Result<TcpListener, Error> {
        let failed = |error: io::Error| refusal(self.what, self.requested, &error);
        self.socket.listen(BACKLOG).map_err(failed)?;
        let listener = TcpListener::from(self.socket);
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!("listening for {} on {address}", self.what);
        Ok(listener)
    }
}

fn refusal(what: &'static str, address: SocketAddr, error: &io::Error) -> Error {
    let problem = match error.kind() {
        io::ErrorKind::AddrInUse => "another process is using this port".into(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have this address".into(),
        _ => error.to_string(),
    };
    Error::Listen {
        what,
        address,
        problem,
    }
}

/// `[::]` takes IPv4 connections too, unless 0.0.0.0 is listed for them (`dual_stack` is false), and becomes 0.0.0.0
/// where the system has no IPv6.
fn socket_for(address: SocketAddr, dual_stack: bool) -> io::Result<Socket> {
    let everywhere = address.is_ipv6() && address.ip().is_unspecified() && dual_stack;
    match bound_socket(address, everywhere) {
        Err(error) if everywhere && has_no_ipv6(&error) => bound_socket(
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())),
            false,
        ),
        result => result,
    }
}

/// EAFNOSUPPORT when the kernel was built or booted without IPv6, EADDRNOTAVAIL when it is switched off by sysctl.
fn has_no_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn bound_socket(address: SocketAddr, dual_stack: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    // Connections of a broker that just ended linger in TIME_WAIT and must not keep the next one from starting.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn listen(addresses: &[&str]) -> Result<Vec<TcpListener>, Error> {
        let addresses: Vec<SocketAddr> =
            addresses.iter().map(|text| text.parse().unwrap()).collect();
        bind("AMQP", &addresses)?
            .into_iter()
            .map(Bound::listen)
            .collect()
    }

    fn address(listener: &TcpListener) -> SocketAddr {
        listener.local_addr().unwrap()
    }

    #[test]
    fn port_0_takes_a_free_port() {
        let listeners = listen(&["127.0.0.1:0", "127.0.0.1:0"]).unwrap();
        assert!(
            listeners
                .iter()
                .all(|listener| address(listener).port() != 0)
        );
        assert_ne!(address(&listeners[0]), address(&listeners[1]));
    }

    #[test]
    fn a_port_in_use_is_one_clear_line() {
        let holder = listen(&["127.0.0.1:0"]).unwrap();
        let taken = address(&holder[0]).to_string();
        let error = listen(&[&taken]).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("cannot listen for AMQP on {taken}: another process is using this port")
        );
    }

    #[test]
    fn connections_are_refused_until_listen() {
        let bound = bind("AMQP", &["127.0.0.1:0".parse().unwrap()])
            .unwrap()
            .pop()
            .unwrap();
        let address = bound.socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(
            TcpStream::connect(address).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        let _listener = bound.listen().unwrap();
        TcpStream::connect(address).unwrap();
    }

    #[test]
    fn the_unspecified_address_takes_ipv4() {
        let listeners = listen(&["[::]:0"]).unwrap();
        TcpStream::connect(("127.0.0.1", address(&listeners[0]).port())).unwrap();
    }

    #[test]
    fn both_unspecified_addresses_may_share_a_port() {
        // Another process may take the free port before we do: then another try.
        let shared = (0..10).any(|_| {
            let free = address(&listen(&["[::]:0"]).unwrap()[0]).port();
            listen(&[&format!("[::]:{free}"), &format!("0.0.0.0:{free}")]).is_ok()
        });
        assert!(shared);
    }

    #[test]
    fn an_address_of_another_machine_is_one_clear_line() {
        let error = listen(&["192.0.2.1:0"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot listen for AMQP on 192.0.2.1:0: this machine does not have this address"
        );
    }
}

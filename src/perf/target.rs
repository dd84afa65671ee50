//! Where the broker is, out of an AMQP URI (<https://www.rabbitmq.com/docs/uri-spec>).

use std::net::{SocketAddr, ToSocketAddrs as _};

use amqp_codec::uri::{AMQPScheme, AMQPUri};

use crate::error::Error;

/// A broker, and who to be there.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The user.
    pub user: String,
    /// Their password.
    pub password: String,
    /// The virtual host.
    pub vhost: String,
}

impl Target {
    /// Reads a URI and looks its host up.
    pub fn parse(uri: &str) -> Result<Self, Error> {
        let refuse = |problem: String| Error::PerfArguments(format!("--uri: {problem}"));
        let parsed: AMQPUri = uri.parse().map_err(refuse)?;
        if parsed.scheme != AMQPScheme::AMQP {
            return Err(refuse("TLS is not supported, only amqp://".into()));
        }
        let host = (parsed.authority.host.as_str(), parsed.authority.port);
        let address = host
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next());
        let unknown = || refuse(format!("cannot resolve {}", parsed.authority.host));
        let address = address.ok_or_else(unknown)?;
        // a path of a bare slash is an empty vhost by the letter, but nobody means that
        let vhost = if parsed.vhost.is_empty() {
            "/".into()
        } else {
            parsed.vhost
        };
        Ok(Self {
            address,
            user: parsed.authority.userinfo.username,
            password: parsed.authority.userinfo.password,
            vhost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uri_gives_address_credentials_and_vhost() {
        let target = Target::parse("amqp://me:p%40ss@127.0.0.1:5673/a%2Fb").unwrap();
        assert_eq!(target.address.to_string(), "127.0.0.1:5673");
        assert_eq!((&*target.user, &*target.password), ("me", "p@ss"));
        assert_eq!(target.vhost, "a/b");
    }

    #[test]
    fn uri_defaults_are_those_of_rabbitmq() {
        for uri in [
            "amqp://127.0.0.1",
            "amqp://127.0.0.1/",
            "amqp://127.0.0.1/%2f",
        ] {
            let target = Target::parse(uri).unwrap();
            assert_eq!(target.address.port(), 5672);
            assert_eq!((&*target.user, &*target.vhost), ("guest", "/"), "{uri}");
        }
    }

    #[test]
    fn what_is_no_amqp_uri_is_refused() {
        for uri in ["http://127.0.0.1", "amqps://127.0.0.1", "127.0.0.1:5672"] {
            assert!(Target::parse(uri).is_err(), "{uri}");
        }
    }
}

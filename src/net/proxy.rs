//! Where a connection comes from, also when a load balancer stands in between and says so in the PROXY protocol
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, versions 1 and 2).

use std::{io, net::SocketAddr, time::Duration};

use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

/// The client's side and ours.
pub type Ends = (SocketAddr, SocketAddr);

/// The most bytes that a header may have; the largest of version 1 has 107, those of version 2 can carry more.
const LONGEST: usize = 4096;

/// The fewest bytes that a header of any version has.
const SHORTEST: usize = 15;

/// Bytes of a header of version 2 up to its length.
const FIXED: usize = 16;

/// How connections begin.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// With a header of the PROXY protocol.
    pub proxied: bool,
    /// In this time.
    pub patience: Duration,
}

impl Arrival {
    /// The ends of a connection. `None` if it is gone, or does not begin as it has to, which is logged.
    pub async fn ends(self, stream: &mut TcpStream, peer: SocketAddr) -> Option<Ends> {
        let ends = (peer, stream.local_addr().ok()?);
        if !self.proxied {
            return Some(ends);
        }
        let proxied = timeout(self.patience, read(stream)).await;
        match proxied.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            // The load balancer itself, to see whether somebody is there.
            Ok(None) => Some(ends),
            Ok(Some(proxied)) => Some(proxied),
            Err(error) => {
                tracing::warn!(target: "audit", peer = %ends.0, "no PROXY protocol header: {error}");
                None
            }
        }
    }
}

/// Reads the header and not a byte more. `None` if it speaks of no other connection.
async fn read(stream: &mut TcpStream) -> io::Result<Option<Ends>> {
    let mut header = Vec::with_capacity(SHORTEST);
    loop {
        match ProxyHeader::parse(&header, ParseConfig::default()) {
            Ok((parsed, _)) => {
                let address = parsed.proxied_address();
                return Ok(address.map(|address| (address.source, address.destination)));
            }
            Err(Error::BufferTooShort) if header.len() < LONGEST => {}
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        let have = header.len();
        header.resize((have + missing(&header)).min(LONGEST), 0);
        let rest = header.get_mut(have..).unwrap_or_default();
        stream.read_exact(rest).await?;
    }
}

/// How many bytes there are more at least.
fn missing(header: &[u8]) -> usize {
    let have = header.len();
    if have < SHORTEST {
        return SHORTEST - have;
    }
    let binary = header.first() == Some(&b'\r');
    match header.get(FIXED - 2..FIXED) {
        _ if !binary => 1,
        Some(&[high, low]) => {
            let whole = FIXED + usize::from(u16::from_be_bytes([high, low]));
            whole.saturating_sub(have).max(1)
        }
        _ => FIXED - have,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    /// What comes out when a client sends these bytes, and what is left of them.
    async fn outcome(bytes: &[u8]) -> (Option<Ends>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let (mut stream, peer) = listener.accept().await.unwrap();
        let arrival = Arrival {
            proxied: true,
            patience: Duration::from_secs(20),
        };
        let ends = arrival.ends(&mut stream, peer).await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
        (ends, rest)
    }

    fn ends(peer: &str, local: &str) -> Option<Ends> {
        Some((peer.parse().unwrap(), local.parse().unwrap()))
    }

    fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([0x20 | command, family]);
        header.extend((addresses.len() as u16).to_be_bytes());
        header.extend(addresses);
        header
    }

    #[tokio::test]
    async fn both_versions_tell_the_ends_and_leave_what_follows() {
        let text = b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 5672\r\nAMQP".to_vec();
        let four = ends("192.0.2.7:1234", "192.0.2.1:5672");
        assert_eq!(outcome(&text).await, (four, b"AMQP".to_vec()));
        let text = b"PROXY TCP6 2001:db8::7 2001:db8::1 1234 5672\r\nAMQP".to_vec();
        let six = ends("[2001:db8::7]:1234", "[2001:db8::1]:5672");
        assert_eq!(outcome(&text).await, (six, b"AMQP".to_vec()));
        let mut bytes = binary(1, 0x11, &[192, 0, 2, 7, 192, 0, 2, 1, 4, 210, 22, 40]);
        bytes.extend(b"AMQP");
        assert_eq!(outcome(&bytes).await, (four, b"AMQP".to_vec()));
    }

    #[tokio::test]
    async fn a_look_of_the_load_balancer_itself_has_the_ends_of_its_socket() {
        for bytes in [binary(0, 0, &[]), b"PROXY UNKNOWN\r\n".to_vec()] {
            let (ends, rest) = outcome(&[&bytes, &b"AMQP"[..]].concat()).await;
            assert!(ends.unwrap().0.ip().is_loopback());
            assert_eq!(rest, b"AMQP");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_or_too_long_is_refused() {
        let endless = [b"PROXY TCP4 ", &[b'1'; 5000][..]].concat();
        let large = binary(1, 0x11, &[0; 10_000]);
        let cut = binary(1, 0x11, &[192, 0, 2]);
        for bytes in [
            &b"AMQP\x00\x00\x09\x01 and more than that"[..],
            b"PROXY",
            b"",
            b"PROXY TCP4 nonsense here 1 2\r\n",
            &endless,
            &large,
            &cut[..18],
        ] {
            assert_eq!(outcome(bytes).await.0, None, "{bytes:?}");
        }
    }
}

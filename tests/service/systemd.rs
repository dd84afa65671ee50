//! `Type=notify`: systemd hears when the broker serves clients, and when it stops.

use std::{net::TcpStream, os::unix::net::UnixDatagram};

use crate::support::{Broker, PATIENCE};

fn next(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).expect("a notification");
    String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
}

#[test]
fn systemd_hears_of_readiness_and_of_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut broker = Broker::start_with_options(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert_eq!(next(&socket), "READY=1");
    TcpStream::connect(broker.amqp_address()).expect("a broker that is ready");
    assert!(broker.stop().success());
    assert_eq!(next(&socket), "STOPPING=1");
}

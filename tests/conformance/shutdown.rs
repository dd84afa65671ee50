//! What connected clients see when the broker ends.

use crate::leveret_only;
use crate::support::{Broker, Peer, connection};

const FORCED: &str = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";

#[test]
fn open_connections_are_closed_with_320() {
    leveret_only!("it is not ours to end");
    let mut broker = Broker::start();
    let mut peers = [Peer::connect_to(&broker), Peer::connect_to(&broker)];
    broker.terminate();
    for peer in &mut peers {
        let close = peer.expect_close_with_code(320);
        assert_eq!(close.reply_text.as_str(), FORCED);
        assert_eq!((close.class_id, close.method_id), (0, 0));
        peer.time_to_end();
    }
    assert!(broker.wait().success());
}

#[test]
fn a_client_that_does_not_answer_does_not_hold_up_the_end() {
    leveret_only!("it is not ours to end");
    let mut broker = Broker::start();
    let mut deaf = Peer::connect_to(&broker);
    let mut halfway = Peer::tcp_to(broker.amqp_address());
    halfway.greet();
    assert!(broker.stop().success());
    deaf.expect::<connection::Close>(0);
    halfway.time_to_end();
}

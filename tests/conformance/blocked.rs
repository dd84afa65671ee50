//! connection.blocked: announced as a capability, and only said to those who publish while an alarm is on.

use crate::support::table::field;
use crate::support::{AMQPValue, FieldTable, Login, Peer};

fn capabilities(server_properties: &FieldTable) -> &FieldTable {
    match field(server_properties, "capabilities") {
        AMQPValue::FieldTable(capabilities) => capabilities,
        other => panic!("capabilities are no table but {other:?}"),
    }
}

#[test]
fn the_server_announces_that_it_tells_blocked_publishers() {
    let mut peer = Peer::tcp();
    let start = peer.greet();
    let announced = field(capabilities(&start.server_properties), "connection.blocked");
    assert_eq!(announced, &AMQPValue::Boolean(true));
    peer.cut();
}

#[test]
fn without_an_alarm_nobody_is_blocked() {
    for capabilities in [&["connection.blocked"][..], &[]] {
        let mut peer = Peer::login(&Login {
            capabilities,
            ..Login::default()
        });
        peer.open_channel(1);
        let queue = peer.fresh_queue(1, "unblocked");
        peer.fill(&queue, &["a"]);
        assert_eq!(peer.drain(1, &queue), ["a"]);
        peer.expect_nothing(0);
        peer.close();
    }
}

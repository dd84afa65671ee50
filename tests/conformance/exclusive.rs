//! Exclusive queues: locked for other connections, and gone with their own.

use crate::alarms::NO_DISK_IS_ENOUGH;
use crate::leveret_only;
use crate::support::operations::{consume_from, exclusive_queue};
use crate::support::{Broker, Method, Peer, basic, connection, durable_queue, queue, unique};

fn locked(name: &str) -> String {
    format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}' in vhost '/'. \
         It could be originally declared on another connection or the exclusive property value \
         does not match that of the original declaration."
    )
}

#[track_caller]
fn refused<M: Method>(peer: &mut Peer, method: M, name: &str) {
    peer.send(1, method);
    peer.expect_channel_close::<M>(1, 405, &locked(name));
    peer.open_channel(1);
}

#[test]
fn everything_another_connection_does_with_it_is_405() {
    let mut owner = Peer::connect();
    let name = owner.fresh_queue(1, "mine");
    let mut other = Peer::connect();
    refused(&mut other, exclusive_queue(&name), &name);
    let shared = queue::Declare {
        exclusive: false,
        ..exclusive_queue(&name)
    };
    refused(&mut other, shared, &name);
    let passive = queue::Declare {
        queue: name.as_str().into(),
        passive: true,
        ..queue::Declare::default()
    };
    refused(&mut other, passive, &name);
    refused(&mut other, consume_from(&name, "c"), &name);
    let get = basic::Get {
        queue: name.as_str().into(),
        no_ack: true,
    };
    refused(&mut other, get, &name);
    let purge = queue::Purge {
        queue: name.as_str().into(),
        nowait: false,
    };
    refused(&mut other, purge, &name);
    let delete = queue::Delete {
        queue: name.as_str().into(),
        ..queue::Delete::default()
    };
    refused(&mut other, delete, &name);
    let bind = queue::Bind {
        queue: name.as_str().into(),
        exchange: "amq.direct".into(),
        ..queue::Bind::default()
    };
    refused(&mut other, bind, &name);
    owner.bind(1, &name, "amq.direct", &name);
    let unbind = queue::Unbind {
        queue: name.as_str().into(),
        exchange: "amq.direct".into(),
        routing_key: name.as_str().into(),
        ..queue::Unbind::default()
    };
    refused(&mut other, unbind, &name);
    assert_eq!(owner.counts(1, &name), (0, 0));
    owner.close();
}

#[test]
fn other_connections_may_publish_to_it() {
    let mut owner = Peer::connect();
    let name = owner.fresh_queue(1, "mine");
    owner.consume_no_ack(1, &name, "c");
    let mut other = Peer::connect();
    other.publish(1, "", &name, "from another");
    assert_eq!(owner.expect_delivery(1).text(), "from another");
    owner.close();
}

#[test]
fn the_owner_may_use_it_on_every_channel() {
    let mut owner = Peer::connect();
    let name = owner.fresh_queue(1, "mine");
    owner.open_channel(2);
    owner.declare(2, exclusive_queue(&name));
    owner.consume(2, &name, "c");
    assert_eq!(owner.counts(1, &name), (0, 1));
    owner.close();
}

#[test]
fn a_redeclaration_that_differs_in_the_flag_is_405() {
    let mut peer = Peer::connect();
    let exclusive = peer.fresh_queue(1, "exclusive");
    let shared_again = queue::Declare {
        exclusive: false,
        ..exclusive_queue(&exclusive)
    };
    refused(&mut peer, shared_again, &exclusive);
    let shared = peer.fresh_shared_queue(1, "shared");
    let exclusive_again = queue::Declare {
        exclusive: true,
        ..durable_queue(&shared)
    };
    refused(&mut peer, exclusive_again, &shared);
    peer.delete_queue(1, &shared);
    peer.close();
}

#[test]
fn it_is_gone_before_the_clients_next_connection_can_declare_it() {
    let name = unique("reconnecting");
    for _ in 0..20 {
        let mut peer = Peer::connect();
        let ok = peer.declare(1, exclusive_queue(&name));
        assert_eq!(ok.message_count, 0);
        peer.publish(1, "", &name, "gone with it");
        peer.close();
    }
}

#[test]
fn it_is_gone_after_a_connection_exception_too() {
    let name = unique("reconnecting");
    for _ in 0..5 {
        let mut peer = Peer::connect();
        peer.declare(1, exclusive_queue(&name));
        peer.send(1, crate::support::channel::Flow { active: false });
        peer.expect_close_with_code(540);
    }
}

#[test]
fn it_is_gone_soon_after_the_tcp_connection_is_cut() {
    let mut owner = Peer::connect();
    let name = owner.fresh_queue(1, "cut");
    owner.bind(1, &name, "amq.topic", &name);
    owner.cut();
    let mut other = Peer::connect();
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    let publish = || basic::Publish {
        mandatory: true,
        ..crate::support::content::publish_to("amq.topic", &name)
    };
    other.confirm_select(1);
    // A mandatory message comes back as soon as the binding is gone.
    loop {
        other.send_publish(1, publish(), Default::default(), b"still there?");
        let first = other.next_method(1, "basic.return or basic.ack");
        if basic::Return::from_class(first).is_ok() {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{name} is still bound"
        );
    }
}

#[test]
fn it_can_be_declared_again_right_after_the_tcp_connection_is_cut() {
    leveret_only!("RabbitMQ may need a moment to notice");
    let name = unique("reconnecting");
    let mut cut = None;
    for round in 0..200 {
        let mut peer = Peer::connect();
        if let Some(cut) = cut.take() {
            Peer::cut(cut);
        }
        let ok = peer.declare(1, exclusive_queue(&name));
        assert_eq!(ok.message_count, 0, "round {round}");
        peer.publish(1, "", &name, "gone with it");
        cut = Some(peer);
    }
}

#[test]
fn two_who_want_each_others_are_both_refused() {
    let mut peers = [Peer::connect(), Peer::connect()];
    let names = [
        peers[0].fresh_queue(1, "first"),
        peers[1].fresh_queue(1, "second"),
    ];
    for _ in 0..50 {
        peers[0].send(1, exclusive_queue(&names[1]));
        peers[1].send(1, exclusive_queue(&names[0]));
        peers[0].expect_channel_close::<queue::Declare>(1, 405, &locked(&names[1]));
        peers[1].expect_channel_close::<queue::Declare>(1, 405, &locked(&names[0]));
        peers[0].open_channel(1);
        peers[1].open_channel(1);
    }
}

#[test]
fn it_is_locked_also_while_its_owner_does_not_read() {
    let mut owner = Peer::connect();
    let name = owner.fresh_queue(1, "mine");
    owner.consume_no_ack(1, &name, "c");
    let mut other = Peer::connect();
    let body = "x".repeat(100_000);
    // More than the sockets' buffers hold.
    for _ in 0..300 {
        other.publish(1, "", &name, &body);
    }
    refused(&mut other, exclusive_queue(&name), &name);
    assert_eq!(owner.expect_delivery(1).text(), body);
}

#[test]
fn it_is_gone_with_an_owner_whom_an_alarm_has_blocked() {
    leveret_only!("its alarms are not ours to raise");
    let broker = Broker::start_with_options(&[NO_DISK_IS_ENOUGH]);
    let mut owner = Peer::connect_to(&broker);
    owner.declare(1, exclusive_queue("mine"));
    owner.publish(1, "", "mine", "a message");
    owner.expect::<connection::Blocked>(0);
    owner.publish(1, "", "mine", "never read");
    let mut again = Peer::connect_to(&broker);
    owner.cut();
    again.declare(1, exclusive_queue("mine"));
}

#[test]
fn durable_means_nothing_for_it() {
    leveret_only!("new in RabbitMQ 4");
    let mut peer = Peer::connect();
    let name = peer.fresh_queue(1, "mine");
    peer.declare(
        1,
        queue::Declare {
            durable: true,
            ..exclusive_queue(&name)
        },
    );
    peer.close();
}

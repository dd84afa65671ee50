//! A definitions file that RabbitMQ 3.10.8 of Debian has exported (`rabbitmqctl export_definitions`): its users log in
//! with their old passwords, and may do what they might do there.

use crate::{
    leveret_only,
    support::{Broker, Login, Peer, basic, connection, handshake::plain, queue},
};

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/access/rabbitmq-3.10.8.json"
);

fn login(user: &str, password: &str, vhost: &'static str) -> Login {
    Login {
        response: plain(user, password),
        vhost,
        ..Login::default()
    }
}

fn connect(broker: &Broker, user: &str, password: &str, vhost: &'static str) -> Peer {
    let peer = Peer::tcp_to(broker.amqp_address());
    let mut peer = peer.opened(&login(user, password, vhost));
    peer.open_channel(1);
    peer
}

#[test]
fn the_users_of_a_file_that_rabbitmq_has_exported_log_in_with_their_old_passwords() {
    leveret_only!("it is imported");
    let broker = Broker::start_with_options(&[("LEVERET_DEFINITIONS_IMPORT_FILE", FILE)]);
    for (user, password, vhost) in [
        ("sha256", "old password", "orders"),
        ("sha512", "other password", "/"),
        ("guest", "guest", "orders"),
    ] {
        connect(&broker, user, password, vhost).round_trip();
    }
    for (user, password) in [
        ("sha256", "other password"),
        ("sha512", "old password"),
        ("passwordless", "x"),
        ("passwordless", ""),
    ] {
        let mut peer = Peer::tcp_to(broker.amqp_address());
        peer.greet();
        peer.send(0, login(user, password, "/").start_ok());
        peer.expect_close_with_code(403);
    }
}

#[test]
fn permissions_limits_policies_and_bindings_come_with_the_file() {
    leveret_only!("it is imported");
    let broker = Broker::start_with_options(&[("LEVERET_DEFINITIONS_IMPORT_FILE", FILE)]);
    let mut guest = connect(&broker, "guest", "guest", "orders");
    guest.publish(1, "orders", "order.1", "routed");
    guest.publish(1, "orders", "invoice.1", "unrouted");
    assert_eq!(guest.drain(1, "orders.new"), ["routed"]);
    assert_eq!(guest.drain(1, "orders.dead"), ["unrouted"]);
    // The policy: a thousand messages, and no more.
    for number in 0..1001 {
        guest.publish(1, "orders", "order.1", &number.to_string());
    }
    guest.round_trip();
    assert_eq!(guest.counts(1, "orders.new").0, 1000);

    let mut user = connect(&broker, "sha256", "old password", "orders");
    let declare = |name: &str| queue::Declare {
        queue: name.into(),
        ..queue::Declare::default()
    };
    user.send(1, declare("invoices"));
    let text = "ACCESS_REFUSED - configure access to queue 'invoices' in vhost 'orders' refused for user 'sha256'";
    user.expect_channel_close::<queue::Declare>(1, 403, text);
    user.open_channel(1);
    user.publish(1, "amq.topic", "other.x", "refused");
    let text = "ACCESS_REFUSED - write access to topic 'other.x' in exchange topic 'amq.topic' in vhost 'orders' \
                refused for user 'sha256'";
    user.expect_channel_close::<basic::Publish>(1, 403, text);
    user.open_channel(1);
    // Three connections of the user, five queues of the vhost.
    let _more = [(); 2].map(|()| connect(&broker, "sha256", "old password", "orders"));
    let mut fourth = Peer::tcp_to(broker.amqp_address());
    fourth.greet();
    let login = login("sha256", "old password", "orders");
    fourth.send(0, login.start_ok());
    fourth.tune(&login);
    let vhost = connection::Open {
        virtual_host: "orders".into(),
    };
    fourth.send(0, vhost);
    let text =
        "NOT_ALLOWED - connection refused for user 'sha256': user connection limit (3) is reached";
    fourth.expect_connection_close::<connection::Open>(530, text);
    for number in 3..=5 {
        user.declare(1, declare(&format!("orders.{number}")));
    }
    user.send(1, declare("orders.6"));
    user.expect_channel_close::<queue::Declare>(
        1,
        406,
        "PRECONDITION_FAILED - cannot declare queue 'orders.6': queue limit in vhost 'orders' (5) is reached",
    );
}

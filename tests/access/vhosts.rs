//! Vhosts: created, deleted with all that is in them, limited.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use broker_core::definitions::{
    Kind, TopicPermissionDefinition, UserLimitsDefinition, VhostDefinition, VhostLimitsDefinition,
};

use crate::{
    served::{Served, TEST, settings},
    support::{
        FieldTable, Login, NoMethod, PATIENCE, Peer, channel, connection, durable_queue, exchange,
        handshake::plain, operations::exclusive_queue, queue,
    },
};

fn create(served: &Served, name: &str) {
    let vhost = VhostDefinition {
        name: name.to_owned(),
        ..VhostDefinition::default()
    };
    let (new, _) = served.broker.put_vhost(&vhost, TEST).unwrap();
    assert!(new);
    served.permit("guest", name, [".*"; 3]);
}

/// An attempt to open a vhost that has not been answered yet.
fn opening(served: &Served, user: &str, vhost: &str) -> Peer {
    let login = Login {
        response: plain(user, user),
        ..Login::default()
    };
    let mut peer = served.tcp();
    peer.greet();
    peer.send(0, login.start_ok());
    peer.tune(&login);
    let vhost = connection::Open {
        virtual_host: vhost.into(),
    };
    peer.send(0, vhost);
    peer
}

#[test]
fn a_new_vhost_is_open_to_those_who_have_permissions_there() {
    let served = Served::start();
    create(&served, "new");
    served.user("stranger", [".*"; 3]);
    let mut peer = served.connect_without_channel("guest", "new");
    peer.open_channel(1);
    peer.fresh_queue(1, "in-a-new-vhost");
    let text = "NOT_ALLOWED - access to vhost 'new' refused for user 'stranger'";
    let mut stranger = opening(&served, "stranger", "new");
    stranger.expect_connection_close::<connection::Open>(530, text);
    let described = VhostDefinition {
        name: "new".to_owned(),
        description: "for tests".to_owned(),
        tags: vec!["test".to_owned()],
        default_queue_type: Some("quorum".to_owned()),
        ..VhostDefinition::default()
    };
    let (new, _) = served.broker.put_vhost(&described, TEST).unwrap();
    assert!(!new);
    assert_eq!(served.broker.vhost_definition("new"), Some(described));
    peer.round_trip();
}

#[test]
fn a_durable_queue_gets_the_default_type_of_its_vhost() {
    let served = Served::start();
    let vhost = VhostDefinition {
        name: "replicated".to_owned(),
        default_queue_type: Some("quorum".to_owned()),
        ..VhostDefinition::default()
    };
    served.broker.put_vhost(&vhost, TEST).unwrap();
    served.permit("guest", "replicated", [".*"; 3]);
    let mut peer = served.connect_without_channel("guest", "replicated");
    peer.open_channel(1);
    peer.declare(1, durable_queue("durable"));
    peer.declare(1, exclusive_queue("exclusive"));
    let vhost = served.broker.vhost("replicated").unwrap();
    let kind = |name: &str| {
        let queue = vhost.queue(name).unwrap();
        queue.properties.arguments.queue_type.as_str()
    };
    assert_eq!(kind("durable"), "quorum");
    assert_eq!(kind("exclusive"), "classic");
    for wrong in ["nonsense", "stream"] {
        let vhost = VhostDefinition {
            name: "wrong".to_owned(),
            default_queue_type: Some(wrong.to_owned()),
            ..VhostDefinition::default()
        };
        assert!(served.broker.put_vhost(&vhost, TEST).is_err());
    }
}

#[test]
fn a_deleted_vhost_takes_everything_along_and_closes_its_connections() {
    let served = Served::start();
    create(&served, "doomed");
    let mut peer = served.connect_without_channel("guest", "doomed");
    peer.open_channel(1);
    peer.declare(1, durable_queue("durable"));
    peer.declare(1, exclusive_queue("exclusive"));
    peer.fresh_shared_queue(1, "transient");
    let declare = exchange::Declare {
        exchange: "x".into(),
        kind: "topic".into(),
        durable: true,
        ..exchange::Declare::default()
    };
    peer.call::<_, exchange::DeclareOk>(1, declare);
    peer.bind(1, "durable", "x", "key");
    peer.fill("durable", &["a message"]);
    peer.consume(1, "exclusive", "consumer");
    let topic = TopicPermissionDefinition {
        user: "guest".to_owned(),
        vhost: "doomed".to_owned(),
        exchange: "x".to_owned(),
        write: ".*".to_owned(),
        read: ".*".to_owned(),
    };
    served.broker.set_topic_permissions(&topic, TEST).unwrap();
    let mut other = served.connect("guest");
    let id = served
        .broker
        .vhost("doomed")
        .unwrap()
        .queue("durable")
        .unwrap()
        .id;

    served.broker.delete_vhost("doomed", TEST).unwrap();
    let close = peer.expect_close_with_code(320);
    let text = "CONNECTION_FORCED - vhost 'doomed' is deleted";
    assert_eq!(close.reply_text.as_str(), text);
    assert!(served.broker.vhost("doomed").is_none());
    let definitions = served.broker.definitions();
    for kind in [
        Kind::Permission,
        Kind::TopicPermission,
        Kind::Exchange,
        Kind::Queue,
        Kind::Binding,
    ] {
        let left = definitions.list(kind);
        let left = left.iter().filter(|left| left.key.contains("doomed"));
        assert_eq!(left.count(), 0, "{kind:?}");
    }
    assert!(served.broker.store().backlog(id).unwrap().is_none());
    other.round_trip();
    let text = "NOT_ALLOWED - vhost doomed not found";
    let mut late = opening(&served, "guest", "doomed");
    late.expect_connection_close::<connection::Open>(530, text);
    assert!(served.broker.delete_vhost("doomed", TEST).is_err());

    create(&served, "doomed");
    let mut peer = served.connect_without_channel("guest", "doomed");
    peer.open_channel(1);
    peer.declare(1, durable_queue("durable"));
    assert_eq!(peer.counts(1, "durable"), (0, 0));
}

#[test]
fn connections_that_open_and_declare_while_their_vhost_is_deleted_all_end() {
    let served = Arc::new(Served::start());
    for round in 0..10 {
        create(&served, "busy");
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let served = Arc::clone(&served);
                std::thread::spawn(move || {
                    let mut peer = opening(&served, "guest", "busy");
                    let mut bytes = crate::support::peer::method_bytes(1, channel::Open {});
                    for number in 0..50 {
                        let declare = durable_queue(&format!("q-{client}-{number}"));
                        bytes.extend(crate::support::peer::method_bytes(1, declare));
                    }
                    peer.try_send_bytes(&bytes);
                    while peer.answer_closes(Duration::from_secs(10)) {}
                })
            })
            .collect();
        crate::support::pause();
        served.broker.delete_vhost("busy", TEST).unwrap();
        for client in clients {
            client.join().unwrap();
        }
        let left = served.broker.definitions().list(Kind::Queue);
        assert!(left.is_empty(), "round {round}: {left:?}");
    }
}

#[test]
fn a_vhost_has_as_many_connections_and_queues_as_it_may() {
    let served = Served::start();
    create(&served, "small");
    let limits = |max_connections, max_queues| {
        let limits = VhostLimitsDefinition {
            vhost: "small".to_owned(),
            max_connections,
            max_queues,
        };
        served.broker.set_vhost_limits(&limits, TEST).unwrap();
    };
    limits(Some(1), Some(1));
    let mut peer = served.connect_without_channel("guest", "small");
    peer.open_channel(1);
    let text = "NOT_ALLOWED - access to vhost 'small' refused for user 'guest': connection limit (1) is reached";
    let mut second = opening(&served, "guest", "small");
    second.expect_connection_close::<connection::Open>(530, text);
    peer.declare(1, exclusive_queue("first"));
    peer.declare(1, exclusive_queue("first"));
    peer.send(1, exclusive_queue("second"));
    let text = "PRECONDITION_FAILED - cannot declare queue 'second': queue limit in vhost 'small' (1) is reached";
    peer.expect_channel_close::<queue::Declare>(1, 406, text);
    limits(Some(-1), None);
    peer.open_channel(1);
    peer.declare(1, exclusive_queue("second"));
    served.connect_without_channel("guest", "small");
}

#[test]
fn a_user_has_as_many_connections_and_channels_as_it_may() {
    let served = Served::start();
    served.user("small", [".*"; 3]);
    let limits = |max_connections, max_channels| {
        let limits = UserLimitsDefinition {
            user: "small".to_owned(),
            max_connections,
            max_channels,
        };
        served.broker.set_user_limits(&limits, TEST).unwrap();
    };
    limits(Some(2), Some(2));
    let mut first = served.connect("small");
    let mut second = served.connect("small");
    let text =
        "NOT_ALLOWED - connection refused for user 'small': user connection limit (2) is reached";
    let mut third = opening(&served, "small", "/");
    third.expect_connection_close::<connection::Open>(530, text);
    first.send(2, channel::Open {});
    let text = "NOT_ALLOWED - number of channels opened for user 'small' has reached the maximum allowed user limit of 2";
    first.expect_connection_close::<NoMethod>(530, text);
    // What the first one had is free again.
    second.open_channel(2);
    await_place(|| {
        let mut peer = opening(&served, "small", "/");
        peer.next_method(0, "open-ok or close").get_amqp_method_id() == 41
    });
    limits(None, None);
    for number in 3..10 {
        second.open_channel(number);
    }
}

/// The broker notices the end of a connection a moment after its client.
fn await_place(is_free: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_free() {
        assert!(Instant::now() < deadline, "the place is not given back");
    }
}

#[test]
fn the_broker_has_as_many_connections_as_it_may() {
    let mut settings = settings();
    settings.connection_max = 1;
    let served = Served::start_with(settings);
    let mut only = served.connect("guest");
    let mut second = opening(&served, "guest", "/");
    let text = "NOT_ALLOWED - connection refused: node connection limit (1) is reached";
    second.expect_connection_close::<connection::Open>(530, text);
    only.fresh_queue_with(1, "still-served", FieldTable::default());
    only.close();
    await_place(|| {
        let mut peer = opening(&served, "guest", "/");
        peer.next_method(0, "open-ok or close").get_amqp_method_id() == 41
    });
}

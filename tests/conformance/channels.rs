//! Channels: opening, closing, and what an exception does to one channel and not to the others.

use crate::leveret_only;
use crate::support::{
    Login, NoMethod, Peer, access, basic, channel, connection, durable_queue, exchange, queue,
    unique,
};

fn passive(name: &str) -> queue::Declare {
    queue::Declare {
        queue: name.into(),
        passive: true,
        ..queue::Declare::default()
    }
}

fn close() -> channel::Close {
    channel::Close {
        reply_code: 200,
        reply_text: "bye".into(),
        ..channel::Close::default()
    }
}

#[test]
fn a_closed_channel_number_can_be_opened_again() {
    let mut peer = Peer::connect();
    for _ in 0..3 {
        peer.close_channel(1);
        peer.open_channel(1);
    }
    peer.close();
}

#[test]
fn a_second_open_is_504() {
    let mut peer = Peer::connect();
    peer.send(1, channel::Open {});
    peer.expect_connection_close::<channel::Open>(
        504,
        "CHANNEL_ERROR - second 'channel.open' seen",
    );
}

#[test]
fn a_method_on_a_channel_never_opened_is_504() {
    let mut peer = Peer::connect();
    peer.send(2, durable_queue("q"));
    peer.expect_connection_close::<queue::Declare>(504, "CHANNEL_ERROR - expected 'channel.open'");
}

#[test]
fn a_method_on_a_closed_channel_is_504() {
    let mut peer = Peer::connect();
    peer.close_channel(1);
    peer.send(1, close());
    peer.expect_connection_close::<channel::Close>(504, "CHANNEL_ERROR - expected 'channel.open'");
}

#[test]
fn content_on_a_channel_never_opened_is_504() {
    let mut peer = Peer::connect();
    peer.publish(2, "", "q", "lost");
    peer.expect_connection_close::<basic::Publish>(504, "CHANNEL_ERROR - expected 'channel.open'");
}

#[test]
fn one_channel_more_than_negotiated_is_530() {
    let mut peer = Peer::login(&Login {
        channel_max: 3,
        ..Login::default()
    });
    for channel in 1..=3 {
        peer.open_channel(channel);
    }
    peer.close_channel(2);
    peer.open_channel(2);
    peer.send(4, channel::Open {});
    peer.expect_connection_close::<NoMethod>(
        530,
        "NOT_ALLOWED - number of channels opened (3) has reached the negotiated channel_max (3)",
    );
}

#[test]
fn all_2047_channels_can_be_open() {
    let mut peer = Peer::login(&Login::default());
    let open = |channel| crate::support::peer::method_bytes(channel, channel::Open {});
    peer.send_bytes(&(1..=2047).flat_map(open).collect::<Vec<_>>());
    for channel in 1..=2047 {
        peer.expect::<channel::OpenOk>(channel);
    }
    peer.close();
}

#[test]
fn a_connection_method_on_a_channel_is_503() {
    let mut peer = Peer::connect();
    let open = connection::Open {
        virtual_host: "/".into(),
    };
    peer.send(1, open);
    peer.expect_connection_close::<connection::Open>(503, "COMMAND_INVALID - unimplemented method");
}

#[test]
fn a_method_that_only_brokers_send_is_503() {
    let mut peer = Peer::connect();
    peer.send(1, queue::DeleteOk { message_count: 1 });
    peer.expect_connection_close::<queue::DeleteOk>(503, "COMMAND_INVALID - unimplemented method");
}

#[test]
fn flow_is_answered_when_active_and_540_when_not() {
    let mut peer = Peer::connect();
    let ok: channel::FlowOk = peer.call(1, channel::Flow { active: true });
    assert!(ok.active);
    peer.send(1, channel::Flow { active: false });
    peer.expect_connection_close::<channel::Flow>(540, "NOT_IMPLEMENTED - active=false");
}

#[test]
fn access_request_of_amqp_0_9_is_granted() {
    let mut peer = Peer::connect();
    peer.call::<_, access::RequestOk>(1, access::Request::default());
    peer.close();
}

#[test]
fn an_exception_closes_its_channel_and_no_other() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let name = unique("absent");
    peer.send(1, passive(&name));
    peer.expect_channel_close::<queue::Declare>(
        1,
        404,
        &format!("NOT_FOUND - no queue '{name}' in vhost '/'"),
    );
    peer.fresh_queue(2, "survivor");
    peer.open_channel(1);
    peer.fresh_queue(1, "reopened");
    peer.close();
}

#[test]
fn what_was_sent_after_an_exception_is_swallowed_until_close_ok() {
    let mut peer = Peer::connect();
    let target = peer.fresh_queue(1, "target");
    let (absent, swallowed) = (unique("absent"), unique("swallowed"));
    peer.send(1, passive(&absent));
    peer.publish(1, "", &target, "swallowed, with its content");
    peer.send(1, durable_queue(&swallowed));
    peer.publish(
        1,
        "no such exchange",
        "",
        "this would be a second exception",
    );
    peer.send(1, passive(&absent));
    peer.expect_channel_close::<queue::Declare>(
        1,
        404,
        &format!("NOT_FOUND - no queue '{absent}' in vhost '/'"),
    );
    peer.open_channel(1);
    assert_eq!(peer.counts(1, &target), (0, 0));
    peer.send(1, passive(&swallowed));
    peer.expect_channel_close::<queue::Declare>(
        1,
        404,
        &format!("NOT_FOUND - no queue '{swallowed}' in vhost '/'"),
    );
    peer.close();
}

#[test]
fn content_cut_by_the_exception_is_swallowed_too() {
    let mut peer = Peer::connect();
    let absent = unique("absent");
    peer.send(1, passive(&absent));
    peer.send(1, crate::support::content::publish_to("", "q"));
    let header = crate::support::content::header_bytes(1, 10, Default::default());
    peer.send_bytes(&header);
    peer.send_frame(3, 1, b"01234", 0xCE);
    peer.expect::<channel::Close>(1);
    peer.send_frame(3, 1, b"56789", 0xCE);
    peer.send(1, channel::CloseOk {});
    peer.open_channel(1);
    peer.fresh_queue(1, "q");
    peer.close();
}

#[test]
fn closes_of_both_sides_may_cross() {
    let mut peer = Peer::connect();
    peer.send(1, passive(&unique("absent")));
    peer.send(1, close());
    peer.expect::<channel::Close>(1);
    peer.expect::<channel::CloseOk>(1);
    peer.send(1, channel::CloseOk {});
    peer.open_channel(1);
    peer.close();
}

#[test]
fn an_exclusive_queue_outlives_the_channel_that_declared_it() {
    let mut peer = Peer::connect();
    let name = peer.fresh_queue(1, "exclusive");
    peer.close_channel(1);
    peer.open_channel(1);
    assert_eq!(peer.counts(1, &name), (0, 0));
    peer.close();
}

#[test]
fn an_exception_without_answer_from_the_client_does_not_block_the_connection() {
    let mut peer = Peer::connect();
    peer.send(1, passive(&unique("absent")));
    peer.expect::<channel::Close>(1);
    peer.open_channel(2);
    peer.fresh_queue(2, "q");
    peer.close();
}

#[test]
fn a_method_without_answer_can_fail_too() {
    let mut peer = Peer::connect();
    let name = unique("absent");
    let bind = queue::Bind {
        queue: name.as_str().into(),
        exchange: "amq.direct".into(),
        nowait: true,
        ..queue::Bind::default()
    };
    peer.send(1, bind);
    peer.expect_channel_close::<queue::Bind>(
        1,
        404,
        &format!("NOT_FOUND - no queue '{name}' in vhost '/'"),
    );
    peer.close();
}

#[test]
fn a_long_name_leaves_a_text_that_fits_into_a_short_string() {
    let mut peer = Peer::connect();
    let name = "n".repeat(255);
    peer.send(
        1,
        exchange::Declare {
            exchange: name.as_str().into(),
            passive: true,
            ..exchange::Declare::default()
        },
    );
    let close = peer.expect::<channel::Close>(1);
    assert_eq!(close.reply_code, 404);
    let text = close.reply_text.as_str();
    assert!(text.starts_with("NOT_FOUND - no exchange 'nnn"), "{text}");
    leveret_only!("RabbitMQ 3.10 shortens with dots in another place");
    assert!(text.len() <= 255, "{}", text.len());
}

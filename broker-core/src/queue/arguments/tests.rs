use super::*;

const QUEUE: &str = "queue 'x' in vhost '/'";

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in fields {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn string(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn long(value: i64) -> AMQPValue {
    AMQPValue::LongLongInt(value)
}

fn parsed(fields: &[(&str, AMQPValue)]) -> QueueArguments {
    QueueArguments::parse(&table(fields), QUEUE).expect("valid arguments")
}

fn refused(fields: &[(&str, AMQPValue)]) -> String {
    QueueArguments::parse(&table(fields), QUEUE)
        .expect_err("invalid arguments")
        .to_string()
}

/// The reason that one argument is refused for, on a classic queue or on a quorum queue.
fn reason(queue_type: &str, key: &str, value: AMQPValue) -> String {
    let text = refused(&[("x-queue-type", string(queue_type)), (key, value)]);
    let start = format!("invalid arg '{key}' for {QUEUE}: ");
    text.strip_prefix(&start)
        .expect("RabbitMQ's text")
        .to_owned()
}

#[test]
fn every_argument_is_parsed_from_any_integer_type() {
    let arguments = parsed(&[
        ("x-expires", AMQPValue::LongInt(1000)),
        ("x-message-ttl", AMQPValue::ShortShortInt(10)),
        ("x-max-length", AMQPValue::ShortUInt(20)),
        ("x-max-length-bytes", AMQPValue::LongUInt(30)),
        ("x-overflow", string("reject-publish")),
        ("x-dead-letter-exchange", string("dlx")),
        ("x-dead-letter-routing-key", string("key")),
        ("x-max-priority", AMQPValue::ShortInt(255)),
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-queue-mode", string("lazy")),
        ("x-queue-version", long(2)),
        ("x-queue-leader-locator", string("client-local")),
    ]);
    let expected = QueueArguments {
        expires_ms: Some(1000),
        message_ttl_ms: Some(10),
        max_length: Some(20),
        max_length_bytes: Some(30),
        overflow: Overflow::RejectPublish,
        dead_letter_exchange: Some("dlx".into()),
        dead_letter_routing_key: Some("key".into()),
        max_priority: Some(255),
        single_active_consumer: true,
        ..QueueArguments::default()
    };
    assert_eq!(arguments, expected);
}

#[test]
fn quorum_queue_has_arguments_of_its_own() {
    let arguments = parsed(&[
        ("x-queue-type", string("quorum")),
        ("x-delivery-limit", long(-1)),
        ("x-consumer-timeout", long(5000)),
        ("x-dead-letter-strategy", string("at-least-once")),
        ("x-overflow", string("reject-publish-dlx")),
        ("x-max-in-memory-length", long(0)),
        ("x-max-in-memory-bytes", long(0)),
        ("x-quorum-initial-group-size", long(3)),
        ("x-quorum-target-group-size", long(3)),
    ]);
    assert_eq!(arguments.queue_type, QueueType::Quorum);
    assert_eq!(arguments.delivery_limit, Some(-1));
    assert_eq!(arguments.consumer_timeout_ms, Some(5000));
    assert_eq!(
        arguments.dead_letter_strategy,
        DeadLetterStrategy::AtLeastOnce
    );
    // What it would refuse it does not dead-letter: this value means the default to it.
    assert_eq!(arguments.overflow, Overflow::DropHead);
}

#[test]
fn unknown_arguments_are_accepted() {
    let arguments = parsed(&[("x-made-up", string("1")), ("other", AMQPValue::Void)]);
    assert_eq!(arguments, QueueArguments::default());
}

#[test]
fn whole_text_of_an_invalid_argument_is_rabbitmqs() {
    assert_eq!(
        refused(&[("x-message-ttl", long(-1))]),
        "invalid arg 'x-message-ttl' for queue 'x' in vhost '/': {value_negative,-1}"
    );
}

#[test]
fn times_have_to_be_integers_from_zero_to_ten_years() {
    for key in ["x-message-ttl", "x-expires"] {
        assert_eq!(
            reason("classic", key, string("10")),
            r#""expected integer, got longstr""#
        );
        assert_eq!(reason("classic", key, long(-1)), "{value_negative,-1}");
        assert_eq!(
            reason("classic", key, long(315_360_000_001)),
            "{value_too_large,315360000001}"
        );
    }
    assert_eq!(reason("classic", "x-expires", long(0)), "{value_zero,0}");
    assert_eq!(
        parsed(&[("x-message-ttl", long(0))]).message_ttl_ms,
        Some(0)
    );
    assert!(
        parsed(&[("x-message-ttl", long(315_360_000_000))])
            .message_ttl_ms
            .is_some()
    );
}

#[test]
fn lengths_have_to_be_integers_from_zero() {
    for key in ["x-max-length", "x-max-length-bytes"] {
        assert_eq!(reason("classic", key, long(-5)), "{value_negative,-5}");
        assert_eq!(
            reason("classic", key, AMQPValue::Double(1.0)),
            r#""expected integer, got double""#
        );
    }
    for key in [
        "x-max-in-memory-length",
        "x-max-in-memory-bytes",
        "x-consumer-timeout",
    ] {
        assert_eq!(reason("quorum", key, long(-5)), "{value_negative,-5}");
    }
}

#[test]
fn dead_letter_arguments_are_strings_and_the_key_wants_an_exchange() {
    let key = "x-dead-letter-exchange";
    assert_eq!(reason("classic", key, long(1)), "{unacceptable_type,long}");
    let key = "x-dead-letter-routing-key";
    assert_eq!(
        reason("classic", key, AMQPValue::LongInt(1)),
        "{unacceptable_type,signedint}"
    );
    assert_eq!(
        reason("classic", key, string("k")),
        "routing_key_but_no_dlx_defined"
    );
    let key = "x-dead-letter-strategy";
    assert_eq!(
        reason("quorum", key, string("often")),
        "invalid_dlx_strategy"
    );
    assert_eq!(
        reason("quorum", key, AMQPValue::Boolean(true)),
        "{unacceptable_type,bool}"
    );
}

#[test]
fn max_priority_is_at_most_255() {
    assert_eq!(
        reason("classic", "x-max-priority", long(256)),
        "{max_value_exceeded,256}"
    );
    assert_eq!(
        reason("classic", "x-max-priority", long(-1)),
        "{value_negative,-1}"
    );
}

#[test]
fn named_choices_are_checked() {
    assert_eq!(
        reason("classic", "x-overflow", string("explode")),
        "invalid_overflow"
    );
    assert_eq!(
        reason("classic", "x-overflow", long(1)),
        "{unacceptable_type,long}"
    );
    let key = "x-queue-leader-locator";
    assert_eq!(
        reason("classic", key, string("here")),
        "invalid_queue_locator_arg"
    );
    assert_eq!(
        reason("classic", "x-queue-version", long(1)),
        r#""unsupported queue version '1'""#
    );
    let key = "x-single-active-consumer";
    assert_eq!(
        reason("classic", key, string("true")),
        "{unacceptable_type,longstr}"
    );
    assert_eq!(
        reason("quorum", "x-quorum-initial-group-size", long(0)),
        "{value_zero,0}"
    );
    let key = "x-member-placement-tag";
    assert_eq!(
        reason("quorum", key, string("")),
        "invalid_member_placement_tag_arg"
    );
}

#[test]
fn queue_type_is_classic_or_quorum() {
    let start = "invalid arg 'x-queue-type' for queue 'x' in vhost '/': ";
    let with = |value| refused(&[("x-queue-type", value)]);
    assert_eq!(
        with(string("stream")),
        format!(r#"{start}"unsupported queue type 'stream'""#)
    );
    assert_eq!(with(long(1)), format!("{start}{{unacceptable_type,long}}"));
    assert_eq!(
        parsed(&[("x-queue-type", string(""))]).queue_type,
        QueueType::Classic
    );
}

#[test]
fn arguments_of_another_queue_type_are_refused() {
    assert_eq!(
        refused(&[("x-quorum-initial-group-size", long(3))]),
        "invalid arg 'x-quorum-initial-group-size' for queue 'x' in vhost '/' of queue type rabbit_classic_queue"
    );
    assert_eq!(
        refused(&[
            ("x-queue-type", string("quorum")),
            ("x-max-priority", long(3))
        ]),
        "invalid arg 'x-max-priority' for queue 'x' in vhost '/' of queue type rabbit_quorum_queue"
    );
    assert!(
        refused(&[("x-max-age", string("1h"))]).ends_with("of queue type rabbit_classic_queue")
    );
}

#[test]
fn every_queue_has_delivery_limits_and_consumer_timeouts() {
    let limited = [
        ("x-delivery-limit", long(3)),
        ("x-consumer-timeout", long(5)),
    ];
    let classic = parsed(&limited);
    assert_eq!(classic.most_deliveries(), 3);
    assert_eq!(classic.consumer_timeout_ms, Some(5));
    assert_eq!(parsed(&[]).most_deliveries(), u32::MAX);
    let quorum = ("x-queue-type", string("quorum"));
    assert_eq!(parsed(std::slice::from_ref(&quorum)).most_deliveries(), 20);
    let unlimited = ("x-delivery-limit", long(-1));
    assert_eq!(parsed(&[quorum, unlimited]).most_deliveries(), u32::MAX);
}

#[test]
fn quorum_queue_is_named_durable_and_shared() {
    let quorum = parsed(&[("x-queue-type", string("quorum"))]);
    let check = |durable, exclusive, auto_delete| {
        quorum
            .check_properties(QUEUE, durable, exclusive, auto_delete)
            .map_err(|error| error.to_string())
    };
    let refused = |property: &str| Err(format!("invalid property '{property}' for {QUEUE}"));
    assert_eq!(check(true, false, false), Ok(()));
    assert_eq!(check(false, false, false), refused("non-durable"));
    assert_eq!(check(false, true, false), refused("exclusive-owner"));
    assert_eq!(check(true, false, true), refused("auto-delete"));
    assert_eq!(
        quorum
            .check_server_named()
            .expect_err("unnamed")
            .to_string(),
        "Cannot declare a server-named queue for type rabbit_quorum_queue"
    );
    let classic = QueueArguments::default();
    assert_eq!(classic.check_properties(QUEUE, false, true, true), Ok(()));
    assert_eq!(classic.check_server_named(), Ok(()));
}

fn redeclared(current: &[(&str, AMQPValue)], received: &[(&str, AMQPValue)]) -> String {
    match assert_queue_arguments_equivalent(QUEUE, &table(current), &table(received)) {
        Ok(()) => "equivalent".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn redeclaration_compares_known_arguments_by_value() {
    let ttl = |value| [("x-message-ttl", value)];
    assert_eq!(
        redeclared(&ttl(AMQPValue::ShortShortInt(10)), &ttl(long(10))),
        "equivalent"
    );
    assert_eq!(
        redeclared(&ttl(long(10)), &ttl(long(20))),
        "inequivalent arg 'x-message-ttl' for queue 'x' in vhost '/': received '20' but current is '10'"
    );
    assert_eq!(
        redeclared(&ttl(long(10)), &[]),
        "inequivalent arg 'x-message-ttl' for queue 'x' in vhost '/': received none but current is the \
         value '10' of type 'long'"
    );
    assert_eq!(redeclared(&[("x-made-up", long(1))], &[]), "equivalent");
}

#[test]
fn queue_type_that_is_not_given_is_classic() {
    let typed = |name| [("x-queue-type", string(name))];
    assert_eq!(redeclared(&typed("classic"), &[]), "equivalent");
    assert_eq!(redeclared(&[], &typed("classic")), "equivalent");
    assert_eq!(
        redeclared(&typed("quorum"), &[]),
        "inequivalent arg 'x-queue-type' for queue 'x' in vhost '/': received 'classic' but current is \
         'quorum'"
    );
}

fn consumer(
    fields: &[(&str, AMQPValue)],
    queue_type: QueueType,
) -> Result<ConsumerArguments, String> {
    ConsumerArguments::parse(&table(fields), queue_type, QUEUE).map_err(|error| error.to_string())
}

#[test]
fn consumer_priority_is_any_integer() {
    let priority =
        |value| consumer(&[("x-priority", value)], QueueType::Classic).map(|it| it.priority);
    assert_eq!(priority(AMQPValue::ShortShortInt(-3)), Ok(-3));
    assert_eq!(priority(long(i64::MAX)), Ok(i32::MAX));
    assert_eq!(
        priority(string("high")),
        Err(r#"invalid arg 'x-priority' for queue 'x' in vhost '/': "expected integer, got longstr""#.into())
    );
}

#[test]
fn consumer_arguments_of_another_queue_type_are_refused() {
    let timeout = [("x-consumer-timeout", long(5))];
    for queue_type in [QueueType::Quorum, QueueType::Classic] {
        let parsed = consumer(&timeout, queue_type).map(|it| it.consumer_timeout_ms);
        assert_eq!(parsed, Ok(Some(5)));
    }
    let offset = [("x-stream-offset", string("first"))];
    assert!(consumer(&offset, QueueType::Classic).is_err());
    assert!(consumer(&[("x-cancel-on-ha-failover", long(1))], QueueType::Classic).is_ok());
}

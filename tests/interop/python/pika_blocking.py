"""pika's BlockingConnection."""

import threading

import pika
from pika.exceptions import (
    AMQPConnectionError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    NackError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    UnroutableError,
)

from scenarios import URL, equal, main, scenario, unique, until, with_time_enough

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def connect(**parameters):
    settings = pika.URLParameters(URL)
    for name, value in parameters.items():
        setattr(settings, name, value)
    return pika.BlockingConnection(settings)


def publish_all(channel, queue, bodies, exchange=""):
    for body in bodies:
        channel.basic_publish(exchange, queue, body, PERSISTENT)


def collect(connection, channel, queue, count, auto_ack=True):
    """Consumes until `count` messages have come; returns [(method, properties, body)]."""
    got = []
    tag = channel.basic_consume(queue, lambda _c, m, p, b: got.append((m, p, b)), auto_ack=auto_ack)
    until(lambda: len(got) >= count, lambda: connection.process_data_events(0.01))
    return got, tag


def drain(channel, queue):
    """Gets (and acknowledges) everything that is in the queue."""
    bodies = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body)


@scenario
def announces_itself_and_its_capabilities():
    connection = connect()
    properties = connection._impl.server_properties
    assert properties["product"], properties
    assert properties["version"], properties
    for capability in (
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ):
        equal((capability, properties["capabilities"].get(capability)), (capability, True))
    for supported in (
        "publisher_confirms_supported",
        "exchange_exchange_bindings_supported",
        "basic_nack_supported",
        "consumer_cancel_notify_supported",
    ):
        assert getattr(connection, supported), supported
    connection.close()


@scenario
def declares_binds_purges_and_deletes():
    connection = connect()
    channel = connection.channel()
    queue, exchange, target = unique("queue"), unique("exchange"), unique("target")
    for kind in ("direct", "fanout", "topic", "headers"):
        channel.exchange_declare(f"{exchange}-{kind}", kind, auto_delete=True)
        channel.exchange_declare(f"{exchange}-{kind}", passive=True)
    channel.exchange_declare(exchange, "direct", durable=True)
    channel.exchange_declare(target, "fanout", internal=True)
    declared = channel.queue_declare(queue, durable=True, arguments={"x-anything": "goes"})
    equal((declared.method.queue, declared.method.message_count), (queue, 0))

    channel.exchange_bind(target, exchange, "key")
    channel.queue_bind(queue, target)
    channel.basic_publish(exchange, "key", b"through two exchanges")
    channel.queue_bind(queue, exchange, "key", arguments={"a": 1})
    channel.basic_publish(exchange, "key", b"bound twice, delivered once")
    until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 2)
    channel.exchange_unbind(target, exchange, "key")
    channel.queue_unbind(queue, exchange, "key", arguments={"a": 1})
    channel.basic_publish(exchange, "key", b"to nobody")
    equal(channel.queue_purge(queue).method.message_count, 2)

    publish_all(channel, queue, [b"1", b"2", b"3"])
    equal(channel.queue_delete(queue).method.message_count, 3)
    equal(channel.queue_delete(queue).method.message_count, 0)
    channel.exchange_delete(exchange)
    channel.exchange_delete(exchange)
    channel.exchange_delete(target)

    named = channel.queue_declare("", exclusive=True).method.queue
    assert named.startswith("amq.gen-"), named
    connection.close()


@scenario
def confirms_and_returns():
    connection = connect()
    channel = connection.channel()
    queue = unique("confirmed")
    channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    for number in range(100):
        channel.basic_publish("", queue, b"%d" % number, PERSISTENT, mandatory=True)
    equal(channel.queue_declare(queue, passive=True).method.message_count, 100)
    try:
        channel.basic_publish("", unique("nobody"), b"lost?", mandatory=True)
        raise AssertionError("an unroutable message was not returned")
    except UnroutableError as error:
        method = error.messages[0].method
        equal((method.reply_code, method.reply_text), (312, "NO_ROUTE"))
        equal(error.messages[0].body, b"lost?")
    channel.basic_publish("", unique("nobody"), b"not mandatory")
    channel.queue_delete(queue)
    connection.close()


@scenario
def refuses_what_a_full_queue_rejects():
    connection = connect()
    channel = connection.channel()
    queue = unique("full")
    channel.queue_declare(queue, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"fits")
    try:
        channel.basic_publish("", queue, b"does not fit")
        raise AssertionError("a full queue took a message")
    except NackError:
        pass
    channel.queue_delete(queue)
    connection.close()


@scenario
def consumes_with_prefetch_and_requeues():
    connection = connect()
    channel = connection.channel()
    queue = unique("prefetch")
    channel.queue_declare(queue)
    publish_all(channel, queue, [b"1", b"2", b"3", b"4", b"5"])
    channel.basic_qos(prefetch_count=3)
    got, tag = collect(connection, channel, queue, 3, auto_ack=False)
    connection.process_data_events(0.05)
    equal([b for _, _, b in got], [b"1", b"2", b"3"])
    assert not any(m.redelivered for m, _, _ in got)

    channel.basic_ack(got[0][0].delivery_tag)
    until(lambda: len(got) == 4, lambda: connection.process_data_events(0.01))
    equal(got[3][2], b"4")
    channel.basic_cancel(tag)
    # 2 and 3 go back together, 4 by itself; 5 was never taken.
    channel.basic_nack(got[2][0].delivery_tag, multiple=True, requeue=True)
    channel.basic_reject(got[3][0].delivery_tag, requeue=True)
    again, tag = collect(connection, channel, queue, 3, auto_ack=False)
    channel.basic_ack(again[2][0].delivery_tag, multiple=True)
    until(lambda: len(again) == 4, lambda: connection.process_data_events(0.01))
    equal([(b, m.redelivered) for m, _, b in again], [(b"2", True), (b"3", True), (b"4", True), (b"5", False)])
    channel.basic_nack(again[3][0].delivery_tag, requeue=False)
    channel.basic_cancel(tag)
    equal(channel.queue_delete(queue).method.message_count, 0)
    connection.close()


@scenario
def gives_back_what_a_closed_channel_held():
    connection = connect()
    channel = connection.channel()
    queue = unique("held")
    channel.queue_declare(queue)
    publish_all(channel, queue, [b"1", b"2", b"3"])
    holder = connection.channel()
    for _ in range(2):
        holder.basic_get(queue)
    holder.close()
    got = [channel.basic_get(queue, auto_ack=True) for _ in range(3)]
    equal([(b, m.redelivered) for m, _, b in got], [(b"1", True), (b"2", True), (b"3", False)])
    channel.queue_delete(queue)
    connection.close()


@scenario
def recovers_unacknowledged_messages():
    connection = connect()
    channel = connection.channel()
    queue = unique("recover")
    channel.queue_declare(queue)
    publish_all(channel, queue, [b"1", b"2"])
    channel.basic_get(queue)
    channel.basic_recover(requeue=True)
    method, _, body = channel.basic_get(queue)
    equal((body, method.redelivered, method.message_count), (b"1", True, 1))
    channel.queue_delete(queue)
    connection.close()


@scenario
def gets_messages_with_all_their_properties():
    connection = connect()
    channel = connection.channel()
    queue = unique("get")
    channel.queue_declare(queue)
    equal(channel.basic_get(queue), (None, None, None))
    sent = pika.BasicProperties(
        content_type="text/plain",
        content_encoding="utf-8",
        headers={"text": "ü", "number": -5, "big": 2**40, "yes": True, "list": [1, "two"], "table": {"a": None}},
        delivery_mode=1,
        priority=3,
        correlation_id="c",
        reply_to="r",
        expiration="60000",
        message_id="m",
        timestamp=1_700_000_000,
        type="t",
        user_id="guest",
        app_id="a",
    )
    channel.basic_publish("", queue, b"first", sent)
    channel.basic_publish("", queue, b"")
    method, properties, body = channel.basic_get(queue)
    equal((method.message_count, method.routing_key, method.exchange, body), (1, queue, "", b"first"))
    equal(vars(properties), vars(sent))
    channel.basic_ack(method.delivery_tag)
    method, _, body = channel.basic_get(queue, auto_ack=True)
    equal((method.message_count, body), (0, b""))
    channel.queue_delete(queue)
    connection.close()


@scenario
def keeps_exclusive_queues_to_their_connection():
    owner, other = connect(), connect()
    queue = unique("exclusive")
    owner.channel().queue_declare(queue, exclusive=True)
    try:
        other.channel().queue_declare(queue, passive=True)
        raise AssertionError("another connection saw an exclusive queue")
    except ChannelClosedByBroker as error:
        equal(error.reply_code, 405)
        assert error.reply_text.startswith(
            f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'"
        ), error.reply_text
    owner.close()
    other.channel().queue_declare(queue, exclusive=True)
    other.close()


@scenario
def tells_consumers_that_their_queue_is_gone():
    connection = connect()
    channel = connection.channel()
    queue = unique("doomed")
    channel.queue_declare(queue)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    tag = channel.basic_consume(queue, lambda *_: None)
    connection.channel().queue_delete(queue)
    until(lambda: cancelled, lambda: connection.process_data_events(0.01))
    equal(cancelled, [tag])
    connection.close()


@scenario
def routes_by_topic_headers_and_fanout():
    connection = connect()
    channel = connection.channel()

    def bound(kind, *bindings):
        exchange = unique(kind)
        channel.exchange_declare(exchange, kind, auto_delete=True)
        queues = []
        for key, arguments in bindings:
            queues.append(channel.queue_declare("", exclusive=True).method.queue)
            channel.queue_bind(queues[-1], exchange, key, arguments)
        return exchange, queues

    topic, queues = bound("topic", ("*.orange.*", None), ("lazy.#", None), ("#", None))
    for key in ("quick.orange.rabbit", "lazy", "lazy.orange.male.rabbit", ""):
        channel.basic_publish(topic, key, key.encode())
    equal(drain(channel, queues[0]), [b"quick.orange.rabbit"])
    equal(drain(channel, queues[1]), [b"lazy", b"lazy.orange.male.rabbit"])
    equal(len(drain(channel, queues[2])), 4)

    headers, queues = bound(
        "headers",
        ("", {"x-match": "all", "format": "pdf", "pages": 3}),
        ("", {"x-match": "any", "format": "pdf", "pages": 3}),
    )
    for given in ({"format": "pdf", "pages": 3}, {"format": "pdf"}, {"pages": "3"}):
        channel.basic_publish(headers, "", repr(given).encode(), pika.BasicProperties(headers=given))
    equal(drain(channel, queues[0]), [b"{'format': 'pdf', 'pages': 3}"])
    equal(drain(channel, queues[1]), [b"{'format': 'pdf', 'pages': 3}", b"{'format': 'pdf'}"])

    fanout, queues = bound("fanout", ("ignored", None), ("", None))
    channel.basic_publish(fanout, "any", b"all")
    equal([drain(channel, queue) for queue in queues], [[b"all"], [b"all"]])
    connection.close()


@scenario
def commits_and_rolls_back_transactions():
    connection = connect()
    channel, observer = connection.channel(), connection.channel()
    queue = unique("tx")
    channel.queue_declare(queue)
    channel.tx_select()
    publish_all(channel, queue, [b"1", b"2"])
    equal(observer.queue_declare(queue, passive=True).method.message_count, 0)
    channel.tx_rollback()
    publish_all(channel, queue, [b"3"])
    channel.tx_commit()
    method, _, body = channel.basic_get(queue)
    equal(body, b"3")
    channel.basic_ack(method.delivery_tag)
    channel.tx_commit()
    channel.close()
    equal(observer.queue_delete(queue).method.message_count, 0)
    connection.close()


@scenario
def answers_through_direct_reply_to():
    connection = connect()
    client, server = connection.channel(), connection.channel()
    queue = unique("rpc")
    server.queue_declare(queue)

    def answer(channel, method, properties, body):
        assert properties.reply_to.startswith("amq.rabbitmq.reply-to."), properties.reply_to
        reply = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, body.upper(), reply)
        channel.basic_ack(method.delivery_tag)

    server.basic_consume(queue, answer)
    replies = []
    client.basic_consume(
        "amq.rabbitmq.reply-to", lambda _c, _m, p, b: replies.append((p.correlation_id, b)), auto_ack=True
    )
    for number in ("1", "2"):
        request = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id=number)
        client.basic_publish("", queue, f"question {number}".encode(), request)
    until(lambda: len(replies) == 2, lambda: connection.process_data_events(0.01))
    equal(replies, [("1", b"QUESTION 1"), ("2", b"QUESTION 2")])
    server.queue_delete(queue)
    connection.close()


@scenario
def dead_letters_expired_rejected_and_surplus_messages():
    connection = connect()
    channel = connection.channel()
    queue, graveyard = unique("mortal"), unique("graveyard")
    channel.queue_declare(graveyard)
    channel.queue_declare(
        queue,
        arguments={
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": graveyard,
            "x-message-ttl": 60_000,
            "x-max-length": 2,
        },
    )
    channel.basic_publish("", queue, b"surplus")
    channel.basic_publish("", queue, b"rejected")
    channel.basic_publish("", queue, b"expired", pika.BasicProperties(expiration="30"))
    method, _, _ = channel.basic_get(queue)
    channel.basic_reject(method.delivery_tag, requeue=False)
    until(lambda: channel.queue_declare(graveyard, passive=True).method.message_count == 3)
    reasons = {b"surplus": "maxlen", b"rejected": "rejected", b"expired": "expired"}
    for _ in range(3):
        method, properties, body = channel.basic_get(graveyard, auto_ack=True)
        (death,) = properties.headers["x-death"]
        equal((death["reason"], death["queue"], death["count"]), (reasons.pop(body), queue, 1))
        equal((death["exchange"], death["routing-keys"]), ("", [queue]))
        equal(properties.headers["x-first-death-queue"], queue)
        equal((method.routing_key, properties.expiration), (graveyard, None))
    channel.queue_delete(queue)
    channel.queue_delete(graveyard)
    connection.close()


@scenario
def negotiates_heartbeats_and_keeps_idle_connections():
    with_time_enough((1, 4, 12), keep_an_idle_connection)
    # heartbeat=None takes the server's proposal.
    connection = connect(heartbeat=None)
    equal(connection._impl.params.heartbeat, 60)
    connection.close()


def keep_an_idle_connection(interval):
    connection = connect(heartbeat=interval)
    channel = connection.channel()
    # pika gives up when nothing has come for two intervals.
    connection.process_data_events(time_limit=3.2 * interval)
    channel.queue_declare("", exclusive=True)
    equal(connection._impl.params.heartbeat, interval)
    connection.close()


@scenario
def reopens_a_channel_after_an_exception():
    connection = connect()
    absent = unique("absent")
    for attempt, (code, text) in (
        (lambda c: c.queue_declare(absent, passive=True), (404, f"NOT_FOUND - no queue '{absent}' in vhost '/'")),
        (lambda c: c.exchange_declare("amq.mine"), (403, None)),
        (lambda c: c.queue_bind("", absent), (404, None)),
        (lambda c: c.exchange_declare("amq.topic", "direct", durable=True), (406, None)),
        (lambda c: c.basic_consume(absent, lambda *_: None), (404, None)),
    ):
        channel = connection.channel(7)
        try:
            attempt(channel)
            raise AssertionError("no exception")
        except ChannelClosedByBroker as error:
            equal(error.reply_code, code)
            equal(error.reply_text, text or error.reply_text)
    channel = connection.channel(7)
    channel.basic_publish(absent, "key", b"an asynchronous 404")
    try:
        until(lambda: False, lambda: connection.process_data_events(0.01) or channel.basic_qos(prefetch_count=1))
    except ChannelClosedByBroker as error:
        equal((error.reply_code, error.reply_text), (404, f"NOT_FOUND - no exchange '{absent}' in vhost '/'"))
    connection.channel(7).queue_declare("", exclusive=True)
    connection.close()


@scenario
def carries_large_messages():
    connection = connect()
    channel = connection.channel()
    queue = unique("large")
    channel.queue_declare(queue)
    channel.confirm_delivery()
    body = bytes(range(256)) * (5 * 1024 * 4)
    channel.basic_publish("", queue, body, PERSISTENT)
    got, _ = collect(connection, channel, queue, 1)
    assert got[0][2] == body, "the body has changed"
    channel.queue_delete(queue)
    connection.close()


@scenario
def accepts_unicode_names():
    connection = connect()
    channel = connection.channel()
    queue, exchange = unique("Häschen-兔-🐇"), unique("обмен")
    channel.queue_declare(queue)
    channel.exchange_declare(exchange, "topic")
    channel.queue_bind(queue, exchange, "ключ.*")
    headers = {"früh": "spät 🌙"}
    channel.basic_publish(exchange, "ключ.один", "тело".encode(), pika.BasicProperties(headers=headers))
    method, properties, body = channel.basic_get(queue, auto_ack=True)
    equal((method.exchange, method.routing_key, body.decode()), (exchange, "ключ.один", "тело"))
    equal(properties.headers, headers)
    channel.queue_delete(queue)
    channel.exchange_delete(exchange)
    connection.close()


@scenario
def registers_blocked_callbacks_and_closes_cleanly():
    connection = connect(blocked_connection_timeout=10)
    connection.add_on_connection_blocked_callback(lambda *_: None)
    connection.add_on_connection_unblocked_callback(lambda *_: None)
    channel = connection.channel()
    channel.basic_publish("amq.fanout", "", b"not blocked")
    channel.close()
    connection.close()
    assert connection.is_closed


@scenario
def refuses_wrong_credentials_and_vhosts():
    try:
        connect(credentials=pika.PlainCredentials("guest", "wrong"))
        raise AssertionError("a wrong password was accepted")
    except (ProbableAuthenticationError, AMQPConnectionError) as error:
        assert "ACCESS_REFUSED" in repr(error), repr(error)
    try:
        connect(virtual_host="nowhere")
        raise AssertionError("an unknown vhost was accepted")
    except (ProbableAccessDeniedError, ConnectionClosedByBroker) as error:
        assert "530" in repr(error) and "vhost nowhere not found" in repr(error), repr(error)


@scenario
def publishes_from_a_thread_while_another_consumes():
    queue, count = unique("threads"), 2000
    consumer = connect()
    consumer.channel().queue_declare(queue)

    def publish():
        connection = connect()
        channel = connection.channel()
        publish_all(channel, queue, [b"%d" % n for n in range(count)])
        connection.close()

    thread = threading.Thread(target=publish)
    thread.start()
    channel = consumer.channel()
    got, _ = collect(consumer, channel, queue, count)
    thread.join()
    equal([int(b) for _, _, b in got], list(range(count)))
    channel.queue_delete(queue)
    consumer.close()


main()

"""kombu, with py-amqp beneath it."""

import socket

from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.pools import producers

from scenarios import PATIENCE, URL, equal, main, scenario, unique, until, with_time_enough

URL = URL.replace("amqp://", "pyamqp://")


@scenario
def produces_and_consumes_serialised_messages():
    exchange = Exchange(unique("media"), "direct", durable=True)
    queue = Queue(unique("video"), exchange=exchange, routing_key="video", durable=True)
    got = []
    with Connection(URL, transport_options={"confirm_publish": True}) as connection:
        producer = connection.Producer()
        for name in ("a", "b"):
            producer.publish(
                {"name": name},
                exchange=exchange,
                routing_key="video",
                declare=[queue],
                serializer="json",
                compression="gzip",
                mandatory=True,
            )

        def take(body, message):
            got.append(body["name"])
            message.ack()

        with connection.Consumer(queue, callbacks=[take], prefetch_count=1):
            until(lambda: len(got) == 2, lambda: connection.drain_events(timeout=PATIENCE))
        equal(got, ["a", "b"])
        queue(connection.channel()).delete()
        exchange(connection.channel()).delete()


@scenario
def uses_its_simple_queue():
    with Connection(URL) as connection:
        queue = connection.SimpleQueue(unique("simple"))
        queue.put({"hello": "world"})
        message = queue.get(block=True, timeout=PATIENCE)
        equal(message.payload, {"hello": "world"})
        message.reject(requeue=True)
        message = queue.get(block=True, timeout=PATIENCE)
        assert message.delivery_info["redelivered"]
        message.ack()
        equal(queue.qsize(), 0)
        try:
            queue.get(block=True, timeout=0.05)
            raise AssertionError("the queue was not empty")
        except queue.Empty:
            pass
        queue.close()
        queue.queue(connection.channel()).delete()


@scenario
def revives_a_channel_after_an_exception():
    with Connection(URL) as connection:
        absent = unique("absent")
        try:
            connection.default_channel.queue_declare(absent, passive=True)
            raise AssertionError("a missing queue was found")
        except connection.channel_errors as error:
            equal(error.reply_code, 404)
            assert f"NOT_FOUND - no queue '{absent}' in vhost '/'" in str(error), error
        channel = connection.channel()
        channel.queue_declare("", exclusive=True)


@scenario
def keeps_heartbeats_and_pools():
    with_time_enough((2, 8, 24), keep_heartbeats_and_pools)


def keep_heartbeats_and_pools(interval):
    with Connection(URL, heartbeat=interval) as connection:
        connection.connect()
        equal(connection.get_heartbeat_interval(), interval)
        for _ in range(5):
            try:
                connection.drain_events(timeout=interval / 4)
            except socket.timeout:
                pass
            connection.heartbeat_check(rate=2)
        with producers[connection].acquire(block=True) as producer:
            producer.publish("text", exchange="amq.fanout", routing_key="")


@scenario
def binds_headers_and_priorities():
    exchange = Exchange(unique("headers"), "headers", durable=False, auto_delete=True)
    queue = Queue(
        unique("pdf"),
        exchange=exchange,
        binding_arguments={"x-match": "all", "format": "pdf"},
        exclusive=True,
        expires=60.0,
        message_ttl=60.0,
        max_length=10,
        consumer_arguments={"x-priority": 10},
    )
    with Connection(URL) as connection:
        channel = connection.channel()
        bound = queue(channel)
        bound.declare()
        producer = Producer(channel, exchange)
        producer.publish("no", headers={"format": "txt"})
        producer.publish("yes", headers={"format": "pdf"}, priority=5)
        message = until(lambda: bound.get())
        equal((message.payload, message.properties["priority"]), ("yes", 5))
        message.ack()
        equal(bound.get(), None)
        with Consumer(channel, [bound]):
            pass


main()

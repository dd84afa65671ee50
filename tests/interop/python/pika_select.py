"""pika's SelectConnection: one event loop, everything by callback."""

import pika

from scenarios import URL, equal, main, scenario, unique


class Flow:
    """Runs the loop until `finish` is called; a failure anywhere ends it."""

    def __init__(self, start):
        self.failure = "the loop ended early"
        self.start = start
        self.connection = pika.SelectConnection(
            pika.URLParameters(URL),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.opened),
            on_open_error_callback=lambda _connection, error: self.fail(error),
            on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
        )
        self.connection.ioloop.call_later(20, lambda: self.fail("not within 20 s"))
        self.connection.ioloop.start()
        assert not self.failure, self.failure

    def opened(self, channel):
        try:
            self.start(self, channel)
        except Exception as error:
            self.fail(error)

    def finish(self):
        self.failure = None
        self.connection.close()

    def fail(self, why):
        self.failure = repr(why)
        self.connection.ioloop.stop()


@scenario
def publishes_with_confirms_and_consumes():
    count = 500
    queue = unique("select")
    confirmed, received = set(), []

    def start(flow, channel):
        channel.queue_declare(queue, callback=lambda _: select(flow, channel))

    def select(flow, channel):
        channel.confirm_delivery(lambda frame: confirm(frame.method), lambda _: publish(flow, channel))

    def confirm(method):
        assert isinstance(method, pika.spec.Basic.Ack), method
        low = max(confirmed, default=0) + 1 if method.multiple else method.delivery_tag
        confirmed.update(range(low, method.delivery_tag + 1))

    def publish(flow, channel):
        for number in range(count):
            channel.basic_publish("", queue, b"%d" % number, pika.BasicProperties(delivery_mode=2))
        channel.basic_qos(prefetch_count=20, callback=lambda _: consume(flow, channel))

    def consume(flow, channel):
        channel.basic_consume(queue, lambda c, method, _p, body: message(flow, c, method, body))

    def message(flow, channel, method, body):
        received.append(int(body))
        if len(received) % 10 == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if len(received) == count:
            channel.basic_cancel(method.consumer_tag, callback=lambda _: delete(flow, channel))

    def delete(flow, channel):
        channel.queue_delete(queue, callback=lambda _: flow.finish())

    Flow(start)
    equal(received, list(range(count)))
    equal(confirmed, set(range(1, count + 1)))


@scenario
def returns_mandatory_messages_before_their_confirm():
    events = []

    def start(flow, channel):
        channel.add_on_return_callback(lambda _c, method, _p, body: events.append((method.reply_code, body)))
        channel.confirm_delivery(lambda frame: acked(flow, frame), lambda _: publish(channel))

    def publish(channel):
        channel.basic_publish("amq.direct", unique("nobody"), b"lost?", mandatory=True)

    def acked(flow, frame):
        events.append(type(frame.method).__name__)
        flow.finish()

    Flow(start)
    equal(events, [(312, b"lost?"), "Ack"])


@scenario
def survives_a_channel_exception():
    absent = unique("absent")
    closed = []

    def start(flow, channel):
        channel.add_on_close_callback(lambda _c, reason: reopened(flow, reason))
        channel.queue_declare(absent, passive=True)
        channel.basic_publish("", absent, b"swallowed: the channel is closing")

    def reopened(flow, reason):
        closed.append((reason.reply_code, reason.reply_text))
        # Not from within the callback: pika frees the channel number after it.
        flow.connection.ioloop.call_later(0, lambda: again(flow))

    def again(flow):
        flow.connection.channel(channel_number=1, on_open_callback=lambda _: flow.finish())

    Flow(start)
    equal(closed, [(404, f"NOT_FOUND - no queue '{absent}' in vhost '/'")])


@scenario
def hears_that_its_consumer_is_cancelled():
    queue = unique("doomed")
    cancelled = []

    def start(flow, channel):
        channel.add_on_cancel_callback(lambda frame: done(flow, frame))
        channel.queue_declare(queue, callback=lambda _: consume(channel))

    def consume(channel):
        channel.basic_consume(queue, lambda *_: None, consumer_tag="mine", callback=lambda _: channel.queue_delete(queue))

    def done(flow, frame):
        cancelled.append(frame.method.consumer_tag)
        flow.finish()

    Flow(start)
    equal(cancelled, ["mine"])


main()

"""aio-pika: asyncio, with connections that restore themselves."""

import asyncio
import sys

import aio_pika
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.exceptions import ChannelNotFoundEntity, DeliveryError
from aio_pika.patterns import RPC

from scenarios import PATIENCE, URL, equal, main, scenario, unique


def persistent(body):
    return Message(body, delivery_mode=DeliveryMode.PERSISTENT)


@scenario
async def publishes_consumes_and_gets():
    connection = await aio_pika.connect(URL)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=10)
        exchange = await channel.declare_exchange(unique("topic"), ExchangeType.TOPIC, auto_delete=True)
        queue = await channel.declare_queue(unique("queue"), auto_delete=True)
        await queue.bind(exchange, "order.*.created")
        for number in range(50):
            await exchange.publish(persistent(b"%d" % number), "order.eu.created")
        await exchange.publish(persistent(b"other"), "order.eu.deleted", mandatory=False)

        received = []
        async with queue.iterator() as messages:
            async for message in messages:
                async with message.process():
                    received.append(int(message.body))
                if len(received) == 50:
                    break
        equal(received, list(range(50)))
    # The queue went with its last consumer.


@scenario
async def raises_on_returned_messages():
    connection = await aio_pika.connect(URL)
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        try:
            await channel.default_exchange.publish(Message(b"lost?"), unique("nobody"))
            raise AssertionError("an unroutable message was not returned")
        except DeliveryError as error:
            equal(error.message.delivery.reply_code, 312)


@scenario
async def rejects_requeues_and_dead_letters():
    connection = await aio_pika.connect(URL)
    async with connection:
        channel = await connection.channel()
        graveyard = await channel.declare_queue(exclusive=True)
        queue = await channel.declare_queue(
            exclusive=True,
            arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": graveyard.name},
        )
        await channel.default_exchange.publish(Message(b"unlucky"), queue.name)
        first = await queue.get()
        await first.reject(requeue=True)
        second = await queue.get()
        assert second.redelivered
        await second.nack(requeue=False)
        for _ in range(PATIENCE * 100):
            dead = await graveyard.get(fail=False)
            if dead:
                break
            await asyncio.sleep(0.01)
        equal(dead.body, b"unlucky")
        equal(dead.headers["x-death"][0]["reason"], "rejected")
        await dead.ack()
        equal((await queue.purge()).message_count, 0)


@scenario
async def reports_channel_exceptions():
    connection = await aio_pika.connect(URL)
    async with connection:
        channel = await connection.channel()
        absent = unique("absent")
        try:
            await channel.get_queue(absent)
            raise AssertionError("a missing queue was found")
        except ChannelNotFoundEntity as error:
            assert f"NOT_FOUND - no queue '{absent}' in vhost '/'" in str(error), error
        channel = await connection.channel()
        await channel.declare_queue(exclusive=True)


@scenario
async def calls_through_its_rpc_pattern():
    connection = await aio_pika.connect(URL)
    async with connection:
        channel = await connection.channel()
        rpc = await RPC.create(channel)
        name = unique("multiply")

        async def multiply(*, x, y):
            return x * y

        await rpc.register(name, multiply, auto_delete=True)
        equal(await rpc.call(name, {"x": 6, "y": 7}), 42)
        await rpc.close()


@scenario
async def commits_transactions():
    connection = await aio_pika.connect(URL)
    async with connection:
        channel = await connection.channel(publisher_confirms=False)
        queue = await channel.declare_queue(exclusive=True)
        async with channel.transaction():
            await channel.default_exchange.publish(Message(b"kept"), queue.name)
        transaction = channel.transaction()
        await transaction.select()
        await channel.default_exchange.publish(Message(b"dropped"), queue.name)
        await transaction.rollback()
        equal((await queue.get()).body, b"kept")
        equal(await queue.get(fail=False), None)


@scenario
async def survives_a_broker_restart():
    """Speaks with the test: prints `ready`, is told on standard input when the broker is back."""
    connection = await aio_pika.connect_robust(URL, reconnect_interval=0.1)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        queue = await channel.declare_queue(unique("durable"), durable=True)
        exchange = await channel.declare_exchange(unique("durable"), durable=True)
        await queue.bind(exchange, "key")
        received = asyncio.Queue()

        async def take(message):
            await message.ack()
            await received.put(message.body)

        await exchange.publish(persistent(b"before"), "key")
        await queue.consume(take)
        equal(await received.get(), b"before")
        reconnected = asyncio.Event()
        connection.reconnect_callbacks.add(lambda *_: reconnected.set())

        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        await asyncio.wait_for(reconnected.wait(), PATIENCE)
        # The consumer has been restored by the library, the binding by the broker.
        await exchange.publish(persistent(b"after"), "key")
        equal(await asyncio.wait_for(received.get(), PATIENCE), b"after")
        await queue.delete(if_unused=False, if_empty=False)
        await exchange.delete()


@scenario
async def finds_its_messages_after_a_broker_restart():
    connection = await aio_pika.connect_robust(URL, reconnect_interval=0.1)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(unique("kept"), durable=True)
        reconnected = asyncio.Event()
        connection.reconnect_callbacks.add(lambda *_: reconnected.set())
        for number in range(100):
            await channel.default_exchange.publish(persistent(b"%d" % number), queue.name)
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        await asyncio.wait_for(reconnected.wait(), PATIENCE)
        await channel.ready()
        bodies = []
        for _ in range(100):
            message = await queue.get(timeout=PATIENCE)
            await message.ack()
            bodies.append(int(message.body))
        equal(bodies, list(range(100)))
        await queue.delete()


main()

"""Sends a notification for every created order; what fails ends in the dead-letter queue.

    python notification_service.py [--count N] [--declare-only]

Runs until Ctrl-C, or until it has handled N orders.
"""

import argparse
import json
import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")
QUEUE = "notification-service"
DEAD_LETTER_EXCHANGE = "orders.dead-letter"
DEAD_LETTER_QUEUE = "notification-service.dead-letter"


def declare(channel):
    """Declares what the service needs; a declaration that is already there changes nothing."""
    channel.exchange_declare(DEAD_LETTER_EXCHANGE, exchange_type="topic", durable=True)
    channel.queue_declare(DEAD_LETTER_QUEUE, durable=True)
    channel.queue_bind(DEAD_LETTER_QUEUE, DEAD_LETTER_EXCHANGE, routing_key="#")

    channel.exchange_declare("orders", exchange_type="topic", durable=True)
    channel.queue_declare(
        QUEUE,
        durable=True,
        arguments={
            "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE,
            "x-message-ttl": 60_000,  # ms; a notification that is older helps nobody
            "x-max-length": 100_000,  # the oldest make room, and are dead-lettered too
        },
    )
    channel.queue_bind(QUEUE, "orders", routing_key="order.*.created")


def notify(order):
    print(f"order {order['id']}: mail to {order['email']}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, help="end after this many orders")
    parser.add_argument("--declare-only", action="store_true", help="declare the queues and end")
    arguments = parser.parse_args()

    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    declare(channel)
    if arguments.declare_only:
        connection.close()
        return
    # The broker sends at most ten orders ahead of the acknowledgements.
    channel.basic_qos(prefetch_count=10)

    handled = 0
    for method, _properties, body in channel.consume(QUEUE):
        try:
            notify(json.loads(body))
            channel.basic_ack(method.delivery_tag)
        except (KeyError, ValueError) as error:
            # Without requeue: the order goes to the dead-letter exchange, not round in circles.
            print(f"failed on {body.decode()}: {error!r}", flush=True)
            channel.basic_nack(method.delivery_tag, requeue=False)
        handled += 1
        if handled == arguments.count:
            break
    connection.close()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except pika.exceptions.AMQPConnectionError as error:
        sys.exit(f"cannot reach the broker at {URL}: {error!r}")

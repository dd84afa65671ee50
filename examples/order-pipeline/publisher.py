"""Publishes orders to the topic exchange `orders`, each one confirmed by the broker.

    python publisher.py [COUNT]

Every fifth order has no e-mail address, so that the notification service has something to fail on.
"""

import json
import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")
REGIONS = ["eu", "us", "asia"]


def make_order(number):
    order = {"id": number, "amount": 10 * number, "email": f"customer{number}@example.com"}
    if number % 5 == 0:
        del order["email"]
    return order


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.exchange_declare("orders", exchange_type="topic", durable=True)
    # With confirms on, basic_publish waits for the broker's answer and raises
    # UnroutableError when a mandatory message reaches no queue.
    channel.confirm_delivery()

    for number in range(1, count + 1):
        key = f"order.{REGIONS[number % len(REGIONS)]}.created"
        channel.basic_publish(
            exchange="orders",
            routing_key=key,
            body=json.dumps(make_order(number)),
            properties=pika.BasicProperties(
                content_type="application/json",
                delivery_mode=pika.DeliveryMode.Persistent,
                message_id=f"order-{number}",
            ),
            mandatory=True,
        )
        print(f"published {key} {number}")
    connection.close()


if __name__ == "__main__":
    try:
        main()
    except pika.exceptions.UnroutableError:
        sys.exit("no queue takes these orders: start notification_service.py once, to declare its queue")
    except pika.exceptions.AMQPConnectionError as error:
        sys.exit(f"cannot reach the broker at {URL}: {error!r}")

"""Does what clients do wrong, and prints each reply: its code, a space, its text.

The broker's URI is in AMQP_URL, its HTTP API in HTTP_URL; the user is an administrator. What is printed is compared with
docs/troubleshooting.md.
"""

import base64
import json
import os
import re
import urllib.error
import urllib.request

import pika
import pika.exceptions

URL = os.environ["AMQP_URL"]
API = os.environ["HTTP_URL"] + "/api"
PERSISTENT = pika.BasicProperties(delivery_mode=2)


def connect(**changes):
    parameters = pika.URLParameters(URL)
    for name, value in changes.items():
        setattr(parameters, name, value)
    return pika.BlockingConnection(parameters)


def show(error):
    code, text = getattr(error, "reply_code", None), getattr(error, "reply_text", None)
    if code is None:
        # What ends a connection before it is open: "ConnectionClosedByBroker: (530) 'NOT_ALLOWED - ...'".
        found = re.search(r"\((\d+)\) ['\"](.*)['\"]$", str(error.args[0]))
        code, text = found.groups() if found else ("?", repr(error))
    print(code, text)


def wrong(action, **changes):
    """Does something on a new channel of a new connection that the broker must refuse."""
    try:
        connection = connect(**changes)
        channel = connection.channel()
        action(channel)
        # what is not answered is refused a moment later
        channel.queue_declare("", exclusive=True)
    except (pika.exceptions.AMQPError, pika.exceptions.AMQPConnectionError) as error:
        show(error)
    else:
        print("not refused:", action)
    if "connection" in locals() and connection.is_open:
        connection.close()


def api(method, path, body=None, user="guest", password="guest"):
    """One request, and what its error says."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data, method=method)
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    request.add_header("Authorization", f"Basic {login}")
    request.add_header("Content-Type", "application/json")
    try:
        urllib.request.urlopen(request).read()
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    return None


def refused_requests():
    """What the HTTP API says, with the reason alone as the text."""
    for error in [
        api("GET", "/overview", user="guest", password="wrong"),
        api("GET", "/overview", user="app", password="app"),
        api("GET", "/queues/%2F/nothing"),
        api("PUT", "/policies/%2F/p", {"pattern": ".*", "definition": {"max-lenght": 1}}),
        api("POST", "/definitions", {"exchanges": [{"name": "d", "vhost": "/", "type": "x-delayed-message"}]}),
        api("POST", "/definitions", {"parameters": [{"vhost": "/", "component": "shovel", "name": "s", "value": {}}]}),
    ]:
        code, body = error
        print(code, body["reason"].replace("\n", " "))


def nothing(_channel):
    pass


def with_user(action, **changes):
    wrong(action, credentials=pika.PlainCredentials("app", "app"), **changes)


def logins():
    wrong(nothing, credentials=pika.PlainCredentials("guest", "wrong"))
    wrong(nothing, virtual_host="nowhere")
    api("PUT", "/users/app", {"password": "app", "tags": ""})
    with_user(nothing)
    api("PUT", "/permissions/%2F/app", {"configure": "^app", "write": "^app", "read": "^app"})
    with_user(lambda channel: channel.queue_declare("other"))
    with_user(lambda channel: channel.basic_publish("amq.topic", "k", b""))
    with_user(lambda channel: channel.basic_consume("held", print))
    api("PUT", "/permissions/%2F/app", {"configure": ".*", "write": ".*", "read": ".*"})
    api("PUT", "/topic-permissions/%2F/app", {"exchange": "amq.topic", "write": "^app", "read": ""})
    with_user(lambda channel: channel.basic_publish("amq.topic", "k", b""))


def limits():
    api("PUT", "/user-limits/app/max-connections", {"value": 0})
    with_user(nothing)
    api("DELETE", "/user-limits/app/max-connections")
    api("PUT", "/user-limits/app/max-channels", {"value": 0})
    with_user(nothing)
    api("DELETE", "/user-limits/app/max-channels")
    api("PUT", "/vhosts/small")
    api("PUT", "/permissions/small/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    api("PUT", "/vhost-limits/small/max-queues", {"value": 0})
    wrong(lambda channel: channel.queue_declare("one too many"), virtual_host="small")
    api("PUT", "/vhost-limits/small/max-connections", {"value": 0})
    wrong(nothing, virtual_host="small")


def ends():
    """Connections that are ended by others."""
    def deleted(path):
        return lambda _channel: api("DELETE", path)

    wrong(deleted("/connections/username/app"), credentials=pika.PlainCredentials("app", "app"))
    wrong(deleted("/users/app"), credentials=pika.PlainCredentials("app", "app"))
    api("PUT", "/vhosts/short")
    api("PUT", "/permissions/short/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    wrong(deleted("/vhosts/short"), virtual_host="short")


def declarations():
    wrong(lambda channel: channel.queue_declare("nothing", passive=True))
    wrong(lambda channel: channel.queue_bind("held", "nowhere"))
    wrong(lambda channel: channel.queue_purge(""))
    wrong(lambda channel: channel.queue_declare("held", durable=False))
    wrong(lambda channel: channel.queue_declare("held", durable=True, arguments={"x-message-ttl": 1}))
    wrong(lambda channel: channel.queue_declare("amq.mine"))
    wrong(lambda channel: channel.queue_declare("q", arguments={"x-message-ttl": -1}))
    wrong(lambda channel: channel.queue_declare("q", durable=True, arguments={"x-queue-type": "stream"}))
    wrong(lambda channel: channel.queue_declare("q", arguments={"x-queue-type": "quorum"}))
    wrong(lambda channel: channel.queue_declare(
        "q", durable=True, arguments={"x-queue-type": "quorum", "x-max-priority": 3}))
    wrong(lambda channel: channel.exchange_declare("e", "x-delayed-message"))
    wrong(lambda channel: channel.exchange_delete("amq.topic"))
    wrong(lambda channel: channel.queue_bind("held", ""))
    wrong(lambda channel: channel.queue_delete("held", if_empty=True))
    single = {"x-queue-type": "quorum", "x-single-active-consumer": True}
    wrong(lambda channel: (channel.queue_declare("single", durable=True, arguments=single), channel.basic_get("single")))
    with connect() as holder:
        held = holder.channel()
        held.queue_declare("private", exclusive=True)
        wrong(lambda channel: channel.queue_declare("private", exclusive=True))
        held.basic_consume("held", print, exclusive=True)
        wrong(lambda channel: channel.basic_consume("held", print))
        wrong(lambda channel: channel.queue_delete("held", if_unused=True))


def messages():
    wrong(lambda channel: channel.basic_publish("nowhere", "k", b""))
    wrong(lambda channel: channel.basic_publish("inside", "k", b""))
    wrong(lambda channel: channel.basic_publish("", "held", b"x" * 70_000))
    wrong(lambda channel: channel.basic_publish("", "held", b"", pika.BasicProperties(expiration="1.5")))
    wrong(lambda channel: channel.basic_publish("", "held", b"", pika.BasicProperties(user_id="carol")))
    wrong(lambda channel: channel.basic_publish("", "k", b"", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to")))
    wrong(lambda channel: channel.basic_ack(7))
    wrong(lambda channel: channel.basic_consume("amq.rabbitmq.reply-to", print))
    wrong(lambda channel: channel.tx_commit())
    wrong(lambda channel: (channel.tx_select(), channel.confirm_delivery()))
    wrong(lambda channel: (channel.confirm_delivery(), channel.tx_select()))


def prepare():
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare("held", durable=True)
        channel.basic_publish("", "held", b"one", PERSISTENT)
        channel.exchange_declare("inside", internal=True)


prepare()
logins()
refused_requests()
limits()
declarations()
messages()
ends()

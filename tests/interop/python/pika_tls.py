"""pika over TLS, with a password and with a certificate. CA, CERTIFICATE and KEY name PEM files."""

import os
import ssl

import pika
from pika.exceptions import AMQPConnectionError

from scenarios import URL, equal, main, scenario, unique


def context():
    return ssl.create_default_context(cafile=os.environ["CA"])


def connect(context, credentials=None):
    settings = pika.URLParameters(URL)
    settings.ssl_options = pika.SSLOptions(context, "localhost")
    if credentials is not None:
        settings.credentials = credentials
    return pika.BlockingConnection(settings)


def round_trip(connection):
    channel = connection.channel()
    queue = channel.queue_declare(unique("tls"), exclusive=True).method.queue
    channel.confirm_delivery()
    body = b"x" * 1_000_000
    channel.basic_publish("", queue, body)
    _, _, got = channel.basic_get(queue, auto_ack=True)
    assert got == body, len(got)
    connection.close()


@scenario
def speaks_tls():
    round_trip(connect(context()))


@scenario
def speaks_tls_1_2():
    older = context()
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    round_trip(connect(older))


@scenario
def logs_in_with_a_certificate():
    own = context()
    own.load_cert_chain(os.environ["CERTIFICATE"], os.environ["KEY"])
    round_trip(connect(own, pika.credentials.ExternalCredentials()))


@scenario
def trusts_nobody_else():
    try:
        connect(ssl.create_default_context())
    except (AMQPConnectionError, ssl.SSLError) as error:
        assert "CERTIFICATE_VERIFY_FAILED" in repr(error), error
    else:
        equal("connected", "refused")


main()

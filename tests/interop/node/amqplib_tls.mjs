// amqplib over TLS, with a password and with a certificate. Run as `node amqplib_tls.mjs SCENARIO`, with the broker's
// URI in AMQP_URL; CA, CERTIFICATE and KEY name PEM files.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import amqp from "amqplib";

const file = (name) => readFileSync(process.env[name]);
const options = { ca: [file("CA")], servername: "localhost" };

async function roundTrip(more) {
  const connection = await amqp.connect(process.env.AMQP_URL, { ...options, ...more });
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue(`tls-${randomUUID()}`, { exclusive: true });
  const body = Buffer.alloc(1_000_000, "x");
  channel.sendToQueue(queue, body);
  await channel.waitForConfirms();
  const message = await channel.get(queue, { noAck: true });
  assert.ok(message.content.equals(body));
  await connection.close();
}

const scenarios = {
  async speaks_tls() {
    await roundTrip({});
  },
  async logs_in_with_a_certificate() {
    const credentials = amqp.credentials.external();
    await roundTrip({ cert: file("CERTIFICATE"), key: file("KEY"), credentials });
  },
};

await scenarios[process.argv[2]]();

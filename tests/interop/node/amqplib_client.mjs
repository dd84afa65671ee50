// amqplib, the promise API. Run as `node amqplib_client.mjs SCENARIO`, with the broker's URI in AMQP_URL.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import amqp from "amqplib";

const URL = process.env.AMQP_URL;
const unique = (name) => `${name}-${randomUUID().slice(0, 8)}`;

/** Collects `count` deliveries of a queue. */
function collect(channel, queue, count, options) {
  return new Promise((resolve, reject) => {
    const messages = [];
    const take = (message) => {
      if (message === null) return reject(new Error("the consumer was cancelled"));
      messages.push(message);
      if (messages.length === count) resolve(messages);
    };
    channel.consume(queue, take, options).catch(reject);
  });
}

const text = (message) => message.content.toString();

const scenarios = {
  async declares_binds_purges_and_deletes(connection) {
    const channel = await connection.createConfirmChannel();
    const [queue, exchange] = [unique("queue"), unique("exchange")];
    for (const kind of ["direct", "fanout", "topic", "headers"]) {
      await channel.assertExchange(`${exchange}-${kind}`, kind, { autoDelete: true });
    }
    await channel.assertExchange(exchange, "direct", { alternateExchange: "amq.fanout" });
    await channel.bindExchange(exchange, `${exchange}-topic`, "a.#");
    const declared = await channel.assertQueue(queue, { durable: true, arguments: { "x-anything": "goes" } });
    assert.deepEqual(declared, { queue, messageCount: 0, consumerCount: 0 });
    await channel.bindQueue(queue, exchange, "a.b");
    channel.publish(`${exchange}-topic`, "a.b", Buffer.from("through two exchanges"));
    channel.publish(exchange, "a.b", Buffer.from("directly"));
    await channel.unbindQueue(queue, exchange, "a.b");
    channel.publish(exchange, "a.b", Buffer.from("to nobody"));
    await channel.waitForConfirms();
    assert.equal((await channel.checkQueue(queue)).messageCount, 2);
    assert.equal((await channel.purgeQueue(queue)).messageCount, 2);
    channel.sendToQueue(queue, Buffer.from("left"));
    await channel.waitForConfirms();
    assert.equal((await channel.deleteQueue(queue)).messageCount, 1);
    await channel.deleteExchange(exchange);
    await channel.deleteExchange(`${exchange}-topic`);
  },

  async confirms_and_returns(connection) {
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    for (let number = 0; number < 1000; number++) {
      channel.sendToQueue(queue, Buffer.from(`${number}`), { persistent: true });
    }
    await channel.waitForConfirms();
    assert.equal((await channel.checkQueue(queue)).messageCount, 1000);
    const returned = once(channel, "return");
    channel.sendToQueue(unique("nobody"), Buffer.from("lost?"), { mandatory: true });
    const [message] = await returned;
    assert.deepEqual([message.fields.replyCode, message.fields.replyText], [312, "NO_ROUTE"]);
    assert.equal(text(message), "lost?");
    await channel.waitForConfirms();
  },

  async consumes_with_prefetch_and_requeues(connection) {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    for (const body of ["1", "2", "3", "4"]) channel.sendToQueue(queue, Buffer.from(body));
    await channel.prefetch(2);
    const first = await collect(channel, queue, 2, { consumerTag: "first" });
    assert.deepEqual(first.map(text), ["1", "2"]);
    await channel.cancel("first");
    channel.ack(first[0]);
    channel.nack(first[1], false, true);
    await channel.prefetch(10);
    const rest = await collect(channel, queue, 3, { consumerTag: "rest" });
    assert.deepEqual(rest.map((m) => [text(m), m.fields.redelivered]), [["2", true], ["3", false], ["4", false]]);
    channel.ackAll();
    await channel.cancel("rest");
    assert.equal(await channel.get(queue), false);
    assert.equal((await channel.deleteQueue(queue)).messageCount, 0);
  },

  async shares_a_limit_of_the_whole_channel(connection) {
    const channel = await connection.createChannel();
    const [a, b] = [await channel.assertQueue("", { exclusive: true }), await channel.assertQueue("", { exclusive: true })];
    await channel.prefetch(3, true);
    const taken = [];
    for (const { queue } of [a, b]) {
      await channel.consume(queue, (message) => taken.push(message));
      for (const body of ["1", "2", "3"]) channel.sendToQueue(queue, Buffer.from(body));
    }
    while (taken.length < 3) await channel.checkQueue(a.queue);
    await channel.checkQueue(b.queue);
    assert.equal(taken.length, 3);
    channel.ackAll();
    while (taken.length < 6) await channel.checkQueue(a.queue);
  },

  async gets_messages_with_all_their_properties(connection) {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    const sent = {
      contentType: "application/json",
      contentEncoding: "utf-8",
      headers: { text: "ü", number: -5, float: 1.5, yes: true, none: null, list: [1, "two"], table: { a: 1 } },
      deliveryMode: 2,
      priority: 3,
      correlationId: "c",
      replyTo: "r",
      expiration: "60000",
      messageId: "m",
      timestamp: 1700000000,
      type: "t",
      userId: "guest",
      appId: "a",
    };
    channel.sendToQueue(queue, Buffer.from("{}"), sent);
    const message = await channel.get(queue);
    assert.equal(text(message), "{}");
    for (const [name, value] of Object.entries(sent)) assert.deepEqual(message.properties[name], value, name);
    channel.ack(message);
  },

  async hears_that_its_consumer_is_cancelled(connection) {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue(unique("doomed"));
    const cancelled = new Promise((resolve) => channel.consume(queue, (message) => resolve(message)));
    await channel.checkQueue(queue);
    await channel.deleteQueue(queue);
    assert.equal(await cancelled, null);
  },

  async keeps_exclusive_queues_to_their_connection(connection) {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue(unique("exclusive"), { exclusive: true });
    const other = await amqp.connect(URL);
    const intruder = await other.createChannel();
    intruder.on("error", () => {});
    await assert.rejects(intruder.checkQueue(queue), /405.*RESOURCE_LOCKED - cannot obtain exclusive access to locked queue/);
    await other.close();
  },

  async routes_by_topic_and_headers(connection) {
    const channel = await connection.createChannel();
    const queue = async () => (await channel.assertQueue("", { exclusive: true })).queue;
    const topic = unique("topic");
    await channel.assertExchange(topic, "topic", { durable: false, autoDelete: true });
    const starred = await queue();
    await channel.bindQueue(starred, topic, "order.*.created");
    for (const key of ["order.eu.created", "order.created", "order.eu.de.created"]) {
      channel.publish(topic, key, Buffer.from(key));
    }
    assert.equal(text(await channel.get(starred, { noAck: true })), "order.eu.created");
    assert.equal(await channel.get(starred), false);

    const any = await queue();
    await channel.bindQueue(any, "amq.headers", "", { "x-match": "any", run: topic, other: 1 });
    channel.publish("amq.headers", "", Buffer.from("yes"), { headers: { run: topic } });
    channel.publish("amq.headers", "", Buffer.from("no"), { headers: { other: topic } });
    assert.equal(text(await channel.get(any, { noAck: true })), "yes");
    assert.equal(await channel.get(any), false);
  },

  async answers_through_direct_reply_to(connection) {
    const [client, server] = [await connection.createChannel(), await connection.createChannel()];
    const { queue } = await server.assertQueue("", { exclusive: true });
    await server.consume(queue, (request) => {
      const { replyTo, correlationId } = request.properties;
      server.sendToQueue(replyTo, Buffer.from(text(request).toUpperCase()), { correlationId });
      server.ack(request);
    });
    const reply = collect(client, "amq.rabbitmq.reply-to", 1, { noAck: true });
    client.sendToQueue(queue, Buffer.from("question"), { replyTo: "amq.rabbitmq.reply-to", correlationId: "7" });
    const [message] = await reply;
    assert.deepEqual([text(message), message.properties.correlationId], ["QUESTION", "7"]);
  },

  async dead_letters_expired_and_rejected_messages(connection) {
    const channel = await connection.createChannel();
    const graveyard = (await channel.assertQueue("", { exclusive: true })).queue;
    const { queue } = await channel.assertQueue("", {
      exclusive: true,
      messageTtl: 60000,
      deadLetterExchange: "",
      deadLetterRoutingKey: graveyard,
    });
    channel.sendToQueue(queue, Buffer.from("rejected"));
    channel.sendToQueue(queue, Buffer.from("expired"), { expiration: 20 });
    channel.reject(await channel.get(queue), false);
    const dead = await collect(channel, graveyard, 2, { noAck: true });
    const reasons = dead.map((m) => [text(m), m.properties.headers["x-death"][0].reason]);
    assert.deepEqual(reasons, [["rejected", "rejected"], ["expired", "expired"]]);
  },

  async reopens_a_channel_after_an_exception(connection) {
    const channel = await connection.createChannel();
    const absent = unique("absent");
    const error = once(channel, "error");
    await assert.rejects(channel.checkQueue(absent));
    assert.match((await error)[0].message, new RegExp(`404.*NOT_FOUND - no queue '${absent}' in vhost '/'`));
    const again = await connection.createChannel();
    assert.equal(again.ch, channel.ch);
    await again.assertQueue("", { exclusive: true });
  },

  async closes_the_channel_on_an_unknown_delivery_tag(connection) {
    const channel = await connection.createChannel();
    const error = once(channel, "error");
    channel.ack({ fields: { deliveryTag: 82 } });
    assert.match((await error)[0].message, /406.*PRECONDITION_FAILED - unknown delivery tag 82/);
  },

  async carries_large_messages_and_unicode_names(connection) {
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue(unique("Häschen-兔-🐇"), { exclusive: true });
    const body = Buffer.alloc(5 * 1024 * 1024, "0123456789");
    channel.sendToQueue(queue, body, { headers: { "früh": "spät" } });
    await channel.waitForConfirms();
    const message = await channel.get(queue, { noAck: true });
    assert.ok(message.content.equals(body));
    assert.equal(message.fields.routingKey, queue);
    assert.equal(message.properties.headers["früh"], "spät");
  },

  async recovers_and_counts(connection) {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    channel.sendToQueue(queue, Buffer.from("again"));
    await channel.get(queue);
    await channel.recover();
    const message = await channel.get(queue);
    assert.equal(message.fields.redelivered, true);
    channel.ack(message);
  },

  async keeps_heartbeats_and_hears_of_blocking() {
    // A busy machine may keep the client from being in time: then it gets longer.
    await keepHeartbeats(1).catch(() => keepHeartbeats(4)).catch(() => keepHeartbeats(12));
  },
};

async function keepHeartbeats(interval) {
  const connection = await amqp.connect(`${URL}?heartbeat=${interval}&frameMax=8192&channelMax=100`);
  connection.on("error", () => {});
  connection.on("blocked", () => {});
  connection.on("unblocked", () => {});
  assert.equal(connection.connection.heartbeat, interval);
  assert.equal(connection.connection.frameMax, 8192);
  assert.equal(connection.connection.channelMax, 100);
  const channel = await connection.createChannel();
  // amqplib gives up when nothing has come for two intervals.
  await new Promise((resolve) => setTimeout(resolve, 3200 * interval));
  await channel.assertQueue("", { exclusive: true });
  await connection.close();
}

const watchdog = setTimeout(() => {
  console.error("not within 240 s");
  process.exit(2);
}, 240000);
const connection = await amqp.connect(URL);
await scenarios[process.argv[2]](connection);
await connection.close();
clearTimeout(watchdog);

// One queue: its messages, its consumers, its charts, and what can be done with it.

import { address, api, assert, names, run, texts, until } from './page.mjs';

const publish = (queue, payload, properties = {}) =>
  api('POST', '/exchanges/%2F/amq.default/publish', { routing_key: queue, properties, payload, payload_encoding: 'string' });

const look = (page) => page.getByRole('button', { name: 'Look', exact: true }).click();

const ready = async (queue) => (await api('GET', `/queues/%2F/${queue}`)).messages_ready;

await run({
  async publishes_peeks_and_gets(scene) {
    await api('PUT', '/queues/%2F/orders', { durable: true });
    const page = await scene.open('/queues/%2F/orders?tab=messages');
    const form = page.getByRole('form', { name: 'Publish a message' });
    await form.getByLabel('Payload', { exact: true }).fill('{"order": 7, "items": ["book", "pen"]}');
    await form.getByText('Properties and headers').click();
    await form.getByLabel('Headers').fill('not json');
    await form.getByRole('button', { name: 'Publish' }).click();
    await form.getByRole('alert').getByText('Headers: this is not JSON').waitFor();
    await form.getByLabel('Headers').fill('{"tenant": "a"}');
    await form.getByLabel('Content type').fill('application/json');
    await form.getByRole('button', { name: 'Publish' }).click();
    await form.getByText('Published, and it is safe.').waitFor();
    await publish('orders', 'plain text', { headers: { tenant: 'b' } });
    await look(page);
    await until('two messages', async () => (await page.locator('.message').count()) === 2);
    const first = await page.locator('.message').first().innerText();
    for (const part of ['"order"', '7', '"book"', 'tenant', '"a"', 'content_type', 'application/json']) assert.ok(first.includes(part), `${part} in ${first}`);
    await page.getByText('Only some of them').click();
    const peek = page.getByRole('form', { name: 'Look at messages' });
    await peek.getByLabel('Headers').fill('{"tenant": "b"}');
    await look(page);
    await until('one message', async () => (await page.locator('.message').count()) === 1);
    assert.equal(await ready('orders'), 2, 'looking takes nothing');
    const get = page.getByRole('form', { name: 'Get messages' });
    await get.getByLabel('And then').selectOption('ack_requeue_false');
    await get.getByRole('button', { name: 'Get' }).click();
    const dialog = page.getByRole('dialog', { name: 'Take messages out' });
    await dialog.getByText('Up to 1 message will be taken out').waitFor();
    await dialog.getByLabel('Type orders to go on').fill('orders');
    await dialog.getByRole('button', { name: 'Take out' }).click();
    await until('one was taken', async () => (await ready('orders')) === 1);
    await page.locator('section', { hasText: 'Get messages' }).locator('.message', { hasText: '"order"' }).waitFor();
  },

  async binds_unbinds_and_shows_consumers_with_their_credit(scene) {
    const channel = await scene.channel();
    await channel.assertExchange('events', 'topic');
    await channel.assertQueue('orders');
    const page = await scene.open('/queues/%2F/orders?tab=bindings');
    await page.getByRole('button', { name: 'Bind\u2026' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('From exchange').fill('nowhere');
    await dialog.getByLabel('Routing key').fill('order.#');
    await dialog.getByRole('button', { name: 'Bind' }).click();
    await dialog.getByRole('alert').getByText('It was not bound.').waitFor();
    await dialog.getByLabel('From exchange').fill('events');
    await dialog.getByRole('button', { name: 'Bind' }).click();
    await page.locator('td', { hasText: 'order.#' }).waitFor();
    await channel.prefetch(3);
    for (let i = 0; i < 5; i += 1) channel.publish('events', 'order.new', Buffer.from('x'));
    await channel.waitForConfirms();
    await channel.consume('orders', () => {}, { consumerTag: 'slow' });
    await page.getByRole('link', { name: 'Consumers' }).last().click();
    const row = page.locator('lv-table tbody tr', { hasText: 'slow' });
    await row.waitFor();
    await until('three in hand and no credit', async () => {
      const cells = await row.locator('td').allInnerTexts();
      return (cells[4] === '3' && cells[5] === '0' && cells[6] === '3') || cells;
    });
    await page.getByText('2 messages behind').waitFor();
    await page.getByText('0 of 1 consumer could take more now').waitFor();
    await page.getByRole('link', { name: 'Bindings' }).click();
    await page.getByRole('button', { name: 'Unbind' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Unbind' }).click();
    await until('only the default binding is left', async () => (await names(page)).join() === '(default exchange)');
  },

  async purges_and_deletes_only_who_types_the_name(scene) {
    await api('PUT', '/queues/%2F/orders', { durable: true });
    for (let i = 0; i < 3; i += 1) await publish('orders', 'x');
    const page = await scene.open('/queues/%2F/orders');
    const choose = async (what) => {
      await page.locator('summary', { hasText: 'More' }).click();
      await page.getByRole('button', { name: what }).click();
    };
    await until('three messages', async () => (await page.locator('.figure .value').first().innerText()) === '3');
    await choose('Purge\u2026');
    let dialog = page.getByRole('dialog', { name: 'Purge the queue' });
    await dialog.getByText('3 messages that wait in orders will be gone for good').waitFor();
    await dialog.getByLabel('Type orders to go on').fill('order');
    await dialog.getByRole('button', { name: 'Purge' }).click();
    await dialog.getByRole('alert').getByText('That is not the name').waitFor();
    assert.equal(await ready('orders'), 3);
    await dialog.getByLabel('Type orders to go on').fill('orders');
    await dialog.getByRole('button', { name: 'Purge' }).click();
    await until('it is empty', async () => (await ready('orders')) === 0);
    await publish('orders', 'x');
    await until('one message', async () => (await page.locator('.figure .value').first().innerText()) === '1');
    await choose('Delete\u2026');
    dialog = page.getByRole('dialog', { name: 'Delete the queue' });
    await dialog.getByText('with its bindings and 1 message').waitFor();
    await dialog.getByLabel('Type orders to go on').fill('orders');
    await dialog.getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('heading', { name: 'Queues' }).waitFor();
    assert.equal(await address(page), '/queues');
    await page.getByText('There is no queue yet.').waitFor();
  },

  async pauses_and_resumes(scene) {
    await api('PUT', '/queues/%2F/orders', { durable: true });
    const page = await scene.open('/queues/%2F/orders');
    await page.getByRole('button', { name: 'Pause deliveries' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click();
    await page.locator('.head .badge', { hasText: 'paused' }).waitFor();
    assert.equal((await api('GET', '/leveret/queues/%2F/orders')).paused, true);
    await page.getByRole('button', { name: 'Resume deliveries' }).click();
    await page.getByRole('button', { name: 'Pause deliveries' }).waitFor();
    assert.equal((await api('GET', '/leveret/queues/%2F/orders')).paused, false);
  },

  async redrives_dead_letters_after_a_dry_run(scene) {
    const channel = await scene.channel();
    await channel.assertExchange('dlx', 'fanout');
    await channel.assertQueue('dead-letters');
    await channel.bindQueue('dead-letters', 'dlx', '');
    await channel.assertQueue('jobs', { arguments: { 'x-dead-letter-exchange': 'dlx' } });
    for (let i = 0; i < 10; i += 1) channel.sendToQueue('jobs', Buffer.from(`job ${i}`), { headers: { tenant: i % 2 ? 'odd' : 'even' } });
    await channel.waitForConfirms();
    for (let i = 0; i < 10; i += 1) channel.nack(await channel.get('jobs'), false, false);
    channel.sendToQueue('dead-letters', Buffer.from('never died'));
    await channel.waitForConfirms();
    await until('all are dead', async () => (await ready('dead-letters')) === 11);
    const page = await scene.open('/queues/%2F/dead-letters?tab=move');
    const form = page.getByRole('form', { name: 'Move messages' });
    assert.equal(await form.getByLabel('Where to').inputValue(), 'queue');
    await form.getByRole('button', { name: 'Count only (dry run)' }).click();
    await page.getByText('10 messages would be moved.').waitFor();
    await page.getByText('1 never died and stay').waitFor();
    await form.getByText('Only some of them').click();
    await form.getByLabel('Headers').fill('{"tenant": "odd"}');
    await form.getByRole('button', { name: 'Count only (dry run)' }).click();
    await page.getByText('5 messages would be moved.').waitFor();
    assert.deepEqual([await ready('dead-letters'), await ready('jobs')], [11, 0], 'a dry run moves nothing');
    await form.getByRole('button', { name: 'Move\u2026' }).click();
    const dialog = page.getByRole('dialog', { name: 'Move messages' });
    await dialog.getByText('go back into the queues in which they died').waitFor();
    await dialog.getByRole('button', { name: 'Move' }).click();
    await page.locator('.move', { hasText: '5 moved' }).waitFor();
    await page.locator('.move', { hasText: 'done' }).waitFor();
    assert.deepEqual([await ready('dead-letters'), await ready('jobs')], [6, 5]);
    // A slow one shows how far it is, and can be cancelled.
    await form.getByLabel('Headers').fill('');
    await form.getByLabel('Where to').selectOption('to-queue');
    await form.getByLabel('Queue', { exact: true }).fill('jobs');
    await form.getByLabel('Messages per second').fill('1');
    await form.getByRole('button', { name: 'Move\u2026' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Move' }).click();
    await page.getByRole('progressbar').waitFor();
    await page.locator('.move').getByRole('button', { name: 'Cancel' }).click();
    await page.locator('.move', { hasText: 'cancelled' }).waitFor();
  },

  async shows_charts_with_values_and_gaps(scene) {
    await api('PUT', '/queues/%2F/orders', { durable: true });
    const channel = await scene.channel();
    const page = await scene.open('/queues/%2F/orders');
    const chart = page.locator('lv-chart').first();
    for (let i = 0; i < 7; i += 1) channel.sendToQueue('orders', Buffer.from('x'));
    await channel.waitForConfirms();
    await until('the depth is drawn', async () => /Ready\s*7/.test(await chart.locator('.legend').innerText()));
    await chart.locator('.plot').focus();
    await page.keyboard.press('End');
    await chart.locator('.tip', { hasText: 'Ready' }).waitFor();
    const box = await chart.locator('.plot').boundingBox();
    await page.mouse.move(box.x + box.width - 12, box.y + 40);
    await until('the value is read', async () => /Ready\s*\d/.test(await chart.locator('.tip').innerText()));
    await page.getByRole('button', { name: 'Hour' }).click();
    assert.equal(await address(page), '/queues/%2F/orders?range=hour');
    // The broker has run for minutes at most: before that nothing is known, and nothing is drawn.
    await until('little is drawn', async () => {
      const drawn = await chart.locator('path').first().evaluate((path) => path.getBBox().width / path.ownerSVGElement.clientWidth);
      return drawn < 0.5 || drawn;
    });
    await chart.locator('.plot').focus();
    await page.keyboard.press('Home');
    await until('what is not known is said so', async () => (await chart.locator('.tip').innerText()).includes('not known'));
    await page.reload();
    await until('the hour is still chosen', async () => (await page.getByRole('button', { name: 'Hour' }).getAttribute('aria-pressed')) === 'true');
    const settings = await texts(page, '.card table tr');
    assert.ok(settings.some((row) => /overflow\s*drop-head\s*default/.test(row)), settings.join());
  },
});

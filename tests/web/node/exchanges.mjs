// Exchanges: what is bound to them, and where a message would go.

import { address, api, assert, names, run, texts, until } from './page.mjs';

const edges = (page) => page.locator('lv-graph .edge text').evaluateAll((all) => all.map((it) => it.textContent));
const ready = async (queue) => (await api('GET', `/queues/%2F/${queue}`)).messages_ready;

/** A topic exchange that leads to queues, also by way of another exchange, and has an alternate. */
async function topology(channel) {
  await channel.assertExchange('rest', 'fanout');
  await channel.assertExchange('events', 'topic', { alternateExchange: 'rest' });
  await channel.assertExchange('copies', 'fanout');
  for (const queue of ['orders', 'all', 'lost']) await channel.assertQueue(queue);
  await channel.bindQueue('orders', 'events', 'order.#');
  await channel.bindExchange('copies', 'events', '#.paid');
  await channel.bindQueue('all', 'copies', '');
  await channel.bindQueue('lost', 'rest', '');
}

await run({
  async declares_an_exchange_and_says_why_not(scene) {
    const page = await scene.open('/exchanges');
    await until('those that every vhost has', async () => (await names(page)).includes('(default)'));
    await page.getByRole('button', { name: 'Declare an exchange' }).click();
    const dialog = page.getByRole('dialog', { name: 'Declare an exchange' });
    await dialog.getByLabel('Name').fill('events');
    await dialog.getByLabel('Type').selectOption('headers');
    await dialog.getByLabel('Alternate exchange').fill('amq.fanout');
    await dialog.getByRole('button', { name: 'Declare' }).click();
    await page.getByText('Exchange events declared').waitFor();
    const made = await api('GET', '/exchanges/%2F/events');
    assert.deepEqual([made.type, made.durable, made.arguments], ['headers', true, { 'alternate-exchange': 'amq.fanout' }]);
    await page.getByRole('button', { name: 'Declare an exchange' }).click();
    await dialog.getByLabel('Name').fill('events');
    await dialog.getByRole('button', { name: 'Declare' }).click();
    await dialog.getByRole('alert').getByText("inequivalent arg 'type'").waitFor();
    assert.equal(await dialog.getByLabel('Name').inputValue(), 'events', 'what was typed stays');
    await page.keyboard.press('Escape');
    await page.getByRole('link', { name: 'events', exact: true }).click();
    await page.getByRole('heading', { name: 'events' }).waitFor();
    assert.equal(await address(page), '/exchanges/%2F/events');
    await page.getByText('amq.fanout from argument').waitFor();
  },

  async draws_bindings_and_adds_and_removes_them(scene) {
    await topology(await scene.channel());
    const page = await scene.open('/exchanges/%2F/events');
    await until('all that is behind the exchange', async () => {
      const drawn = await edges(page);
      return ['order.#', '#.paid', 'every message', 'if nothing matches'].every((it) => drawn.includes(it)) || drawn;
    });
    const form = page.getByRole('form', { name: 'Add a binding' });
    await form.getByLabel('Queue or exchange').fill('none');
    await form.getByLabel('Routing key').fill('bill.*');
    await form.getByRole('button', { name: 'Bind' }).click();
    await form.getByRole('alert').getByText('The binding was not made.').waitFor();
    await form.getByLabel('Queue or exchange').fill('all');
    await form.getByLabel('Arguments').fill('{"note": 7}');
    await form.getByRole('button', { name: 'Bind' }).click();
    await until('it is drawn', async () => (await edges(page)).includes('bill.* \u00b7 note=7') || edges(page));
    assert.equal((await api('GET', '/bindings/%2F/e/events/q/all')).length, 1);
    // By the list, and by the graph to the queue.
    await page.getByRole('button', { name: 'Unbind all bill.*' }).click();
    const dialog = page.getByRole('dialog', { name: 'Unbind' });
    await dialog.getByText('Messages that are there stay.').waitFor();
    await dialog.getByRole('button', { name: 'Unbind' }).click();
    await until('it is gone', async () => !(await edges(page)).includes('bill.* \u00b7 note=7'));
    assert.equal((await api('GET', '/bindings/%2F/e/events/q/all')).length, 0);
    await page.locator('lv-graph').getByRole('link', { name: /^copies/ }).click();
    await page.getByRole('heading', { name: 'copies' }).waitFor();
    await until('what leads there', async () => (await edges(page)).sort().join() === '#.paid,every message' || edges(page));
  },

  async explains_where_a_message_would_go_and_publishes_it(scene) {
    await topology(await scene.channel());
    const page = await scene.open('/exchanges/%2F/events');
    const form = page.getByRole('form', { name: 'Try a message' });
    await form.getByLabel('Routing key').fill('order.paid');
    await form.getByRole('button', { name: 'Explain where it goes' }).click();
    await page.getByRole('heading', { name: 'It would reach 2 queues' }).waitFor();
    await page.getByText('events (topic): 2 of 2 bindings match').waitFor();
    const marked = () => page.locator('lv-graph .node.hit .node-name').allTextContents();
    await until('the way is marked', async () => (await marked()).sort().join() === 'all,copies,events,orders' || marked());
    assert.deepEqual([await ready('orders'), await ready('all')], [0, 0], 'nothing was published');
    await form.getByLabel('Routing key').fill('other');
    await until('the mark belongs to another key', async () => (await marked()).length === 0);
    await form.getByRole('button', { name: 'Explain where it goes' }).click();
    await until('the alternate exchange', async () => (await marked()).sort().join() === 'events,lost,rest' || marked());
    await form.getByRole('textbox', { name: 'Body' }).fill('hello');
    await form.getByRole('button', { name: 'Publish' }).click();
    await page.getByText('Published: a queue took it.').waitFor();
    assert.equal(await ready('lost'), 1);
    await api('DELETE', '/exchanges/%2F/rest');
    await form.getByRole('button', { name: 'Publish' }).click();
    await page.getByText('Published, but no queue took it.').waitFor();
    await page.getByText('Its alternate exchange rest does not exist.').waitFor();
    await form.getByLabel('As user').fill('nobody');
    await form.getByRole('button', { name: 'Explain where it goes' }).click();
    await page.getByRole('alert').getByText("refused for user 'nobody'").waitFor();
    await form.getByLabel('Headers').fill('{');
    await form.getByRole('button', { name: 'Publish' }).click();
    await form.getByRole('alert').getByText('Headers: this is not JSON').waitFor();
  },

  async deletes_an_exchange_and_says_what_goes_with_it(scene) {
    await topology(await scene.channel());
    const page = await scene.open('/exchanges/%2F/events');
    await page.getByRole('button', { name: 'Delete' }).click();
    const dialog = page.getByRole('dialog', { name: 'Delete the exchange' });
    await dialog.getByText('its 2 bindings will be gone').waitFor();
    await dialog.getByRole('button', { name: 'Delete the exchange' }).click();
    await page.getByText('Exchange events deleted').waitFor();
    await until('the list is without it', async () => !(await names(page)).includes('events'));
    // What cannot be deleted does not offer it, and the default exchange says what it is.
    await page.getByRole('link', { name: '(default)' }).click();
    await page.getByText('Every queue is bound to the default exchange').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Delete' }).count(), 0);
    assert.deepEqual(await texts(page, '[role="alert"]:visible'), []);
  },
});

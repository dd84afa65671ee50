// Who is connected, and what they do.

import amqp from 'amqplib';

import { api, assert, names, run, texts, until, user } from './page.mjs';

/** A client with a name of its own; `closed` is why the broker ended it. */
async function client(name, { user: who = 'guest', queue = null } = {}) {
  const url = new URL(process.env.AMQP_URL);
  Object.assign(url, { username: who, password: who });
  const connection = await amqp.connect(url.href, { clientProperties: { connection_name: name } });
  const it = { connection, closed: null };
  connection.on('error', () => {});
  // Being closed by an operator is no error for this client.
  connection.on('close', (error) => { it.closed = error?.message ?? 'closed'; });
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  if (queue) {
    await channel.assertQueue(queue);
    await channel.prefetch(7);
    await channel.consume(queue, (message) => message && channel.ack(message), { consumerTag: `reads ${queue}` });
  }
  return it;
}

await run({
  async closes_a_connection_with_a_reason(scene) {
    const billing = await client('billing', { queue: 'invoices' });
    await client('shipping');
    const page = await scene.open('/connections');
    await until('both', async () => (await names(page)).map((it) => it.split('\n')[0]).sort().join() === 'billing,shipping' || names(page));
    // People look for what the client calls itself, or for its user, and not for its port.
    const search = page.getByRole('searchbox', { name: 'Search names and users' });
    await search.fill('SHIP');
    await until('the one of that name', async () => (await names(page)).map((it) => it.split('\n')[0]).join() === 'shipping' || names(page));
    await search.fill('guest');
    await until('those of that user', async () => (await names(page)).length === 2 || names(page));
    await page.getByRole('link', { name: 'billing' }).click();
    await page.getByRole('heading', { name: 'billing' }).waitFor();
    await page.getByRole('heading', { name: 'Channels', exact: true }).waitFor();
    await until('its channel', async () => (await texts(page, 'lv-table tbody tr')).some((row) => /^1\s+running/.test(row)) || texts(page, 'lv-table tbody tr'));
    await page.getByRole('button', { name: 'Close it' }).click();
    const dialog = page.getByRole('dialog', { name: 'Close the connection' });
    await dialog.getByText('its 1 channel will be closed').waitFor();
    await dialog.getByLabel('Reason').fill('moving to another host');
    await dialog.getByRole('button', { name: 'Close the connection' }).click();
    await until('the client is told why', async () => /moving to another host/.test(billing.closed) || billing.closed);
    await page.getByRole('heading', { name: 'Connections' }).waitFor();
    await until('one is left', async () => (await names(page)).map((it) => it.split('\n')[0]).join() === 'shipping' || names(page));
  },

  async says_that_a_connection_has_ended_meanwhile(scene) {
    const billing = await client('billing');
    const page = await scene.open('/connections');
    await page.getByRole('link', { name: 'billing' }).click();
    await page.getByRole('heading', { name: 'billing' }).waitFor();
    await billing.connection.close();
    await page.getByText('This connection has ended.').waitFor();
    assert.ok((await page.locator('main').innerText()).includes('guest'), 'what was known stays');
  },

  async lists_channels_and_consumers(scene) {
    await client('billing', { queue: 'invoices' });
    await client('shipping', { queue: 'parcels' });
    const page = await scene.open('/channels');
    await until('two channels', async () => (await names(page)).length === 2 || names(page));
    await page.getByRole('navigation', { name: 'Menu' }).getByRole('link', { name: 'Consumers' }).click();
    await until('two consumers', async () => (await names(page)).join() === 'invoices,parcels' || names(page));
    await page.getByRole('searchbox').fill('reads parcels');
    await until('the one that is searched for', async () => (await names(page)).join() === 'parcels' || names(page));
    const [row] = await texts(page, 'lv-table tbody tr');
    assert.match(row, /active[^]*\b7\b/, 'its prefetch');
    await page.getByRole('link', { name: 'parcels', exact: true }).waitFor();
  },

  async shows_only_ones_own_connections_without_the_tag_monitoring(scene) {
    await user('worker', 'management');
    await client('mine', { user: 'worker' });
    await client('others');
    const page = await scene.open('/connections', { user: 'worker' });
    await page.getByText('These are your own connections.').waitFor();
    await until('one', async () => (await names(page)).map((it) => it.split('\n')[0]).join() === 'mine' || names(page));
    const [other] = (await api('GET', '/connections')).filter((it) => it.user === 'guest');
    await page.goto(`${process.env.WEB_URL}/connections/${encodeURIComponent(other.name)}`);
    await page.getByRole('alert').waitFor();
  },
});

// The pictures in the README: a shop under load, after a minute, in light and dark.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import amqp from 'amqplib';

import { api, base, run, until } from './page.mjs';

const folder = process.env.IMAGES;

/** Does something again and again until the browser is closed. */
const every = (ms, work) => setInterval(work, ms).unref();

async function client(name) {
  const connection = await amqp.connect(process.env.AMQP_URL, { clientProperties: { connection_name: name } });
  connection.on('error', () => {});
  return connection.createConfirmChannel();
}

async function shop() {
  const channel = await client('deploy');
  await channel.assertExchange('unrouted', 'fanout');
  await channel.assertExchange('orders', 'topic', { alternateExchange: 'unrouted' });
  await channel.assertExchange('audit', 'topic');
  await channel.assertExchange('billing', 'direct');
  await channel.assertExchange('dead', 'fanout');
  const limits = { 'x-dead-letter-exchange': 'dead', 'x-max-length': 100_000 };
  for (const queue of ['app.orders.new', 'app.orders.paid', 'app.orders.cancelled', 'app.mail', 'app.shipping', 'billing.invoices', 'billing.refunds']) {
    await channel.assertQueue(queue, { arguments: limits });
  }
  for (const queue of ['log.orders', 'dead.letters', 'unrouted.all']) await channel.assertQueue(queue);
  const bind = (queue, key, exchange = 'orders') => channel.bindQueue(queue, exchange, key);
  await Promise.all([
    bind('app.orders.new', 'order.new.#'), bind('app.orders.paid', 'order.paid.*'), bind('app.orders.cancelled', 'order.cancelled.#'),
    bind('app.mail', 'order.*.vip'), bind('app.mail', 'order.new.*'), bind('app.shipping', 'order.paid.*'),
    channel.bindExchange('audit', 'orders', 'order.#'), channel.bindExchange('billing', 'orders', 'order.paid.*'),
    bind('log.orders', '#', 'audit'), bind('billing.invoices', 'invoice', 'billing'), bind('billing.refunds', 'refund', 'billing'),
    bind('dead.letters', '', 'dead'), bind('unrouted.all', '', 'unrouted'),
  ]);
  await api('PUT', '/policies/%2F/dead-letters', { pattern: '^(app|billing)\\.', definition: { 'delivery-limit': 5 }, 'apply-to': 'queues', priority: 5 });
  await api('PUT', '/policies/%2F/short-logs', { pattern: '^log\\.', definition: { 'max-length': 50_000 }, 'apply-to': 'queues', priority: 1 });
  await api('PUT', '/users/shop-web', { password: 'shop-web', tags: '' });
  await api('PUT', '/permissions/%2F/shop-web', { configure: '', write: '^orders$', read: '^app\\.' });
}

/** Publishes in waves and consumes; one consumer refuses some, another is slow. */
async function traffic() {
  const publishers = await Promise.all(['web-1', 'web-2', 'app'].map(client));
  const keys = ['order.new.web', 'order.new.web', 'order.paid.card', 'order.new.vip', 'order.paid.vip', 'order.cancelled.web', 'visit'];
  let sent = 0;
  const started = Date.now();
  every(20, () => {
    const wave = 4 + 3 * Math.sin((Date.now() - started) / 6000);
    for (let i = 0; i < wave; i += 1) {
      const key = keys[(sent += 1) % keys.length];
      const order = { order: 48_000 + sent, customer: { id: sent % 917, name: 'Ada' }, total: 12.5 * (1 + (sent % 9)), items: [{ sku: 'HARE-1', count: 1 + (sent % 3) }] };
      publishers[sent % 3].publish('orders', key, Buffer.from(JSON.stringify(order)), { persistent: true, contentType: 'application/json', messageId: `order-${48_000 + sent}`, headers: { tenant: sent % 2 ? 'eu' : 'us' } });
    }
  });
  const consume = async (name, queue, prefetch, pause, refuses = () => false) => {
    const channel = await client(name);
    await channel.prefetch(prefetch);
    await channel.consume(queue, (message) => setTimeout(() => {
      if (refuses(message)) channel.nack(message, false, false);
      else channel.ack(message);
    }, pause(Math.random())), { consumerTag: name });
  };
  let seen = 0;
  await consume('checkout-1', 'app.orders.new', 50, (it) => 20 + it * 200);
  await consume('checkout-2', 'app.orders.new', 50, (it) => 20 + it * 400);
  await consume('payments', 'app.orders.paid', 20, (it) => 10 + it * 100, () => (seen += 1) % 40 === 0);
  await consume('mailer', 'app.mail', 20, (it) => it * 450);
  await consume('cancellations', 'app.orders.cancelled', 10, (it) => it * 30);
  await consume('warehouse', 'app.shipping', 100, (it) => it * 60);
  await consume('log-shipper', 'log.orders', 300, (it) => it * 90);
}

async function picture(page, name) {
  // Figures of the last second should stand still in the picture, and no cursor blink.
  const file = join(folder, `${name}.png`);
  await page.screenshot({ path: file, animations: 'disabled', caret: 'hide' });
  const { length } = readFileSync(file);
  if (length > 200 * 1024) throw new Error(`${name} has ${length} bytes`);
}

await run({
  async draws_the_pictures_of_the_readme(scene) {
    await shop();
    await traffic();
    console.log('waiting for a minute of traffic');
    await new Promise((resume) => { setTimeout(resume, 65_000); });
    console.log('drawing');
    const light = await scene.open('/', { viewport: { width: 1280, height: 860 } });
    await light.waitForLoadState('networkidle').catch(() => {});
    await until('charts are drawn', async () => (await light.locator('lv-chart path').first().getAttribute('d'))?.length > 100);
    // A browser that starts takes the machine from the shop for a moment.
    await until('traffic goes on', async () => /Published\s*[1-9]\d+/.test(await light.locator('lv-chart .legend').first().innerText()));
    await picture(light, 'overview');

    await light.goto(`${base}/exchanges/%2F/orders`);
    const form = light.getByRole('form', { name: 'Try a message' });
    await form.getByLabel('Routing key').fill('order.paid.vip');
    await form.getByLabel('As user').fill('shop-web');
    await form.getByRole('button', { name: 'Explain' }).click();
    await light.getByRole('heading', { name: 'It would reach' }).waitFor();
    await light.getByRole('heading', { name: 'Bindings', exact: true }).evaluate((it) => scrollTo(0, it.getBoundingClientRect().top + scrollY - 80));
    await picture(light, 'exchange');

    const dark = await scene.open('/queues/%2F/app.mail', { viewport: { width: 1280, height: 860 }, colorScheme: 'dark' });
    await until('charts are drawn', async () => (await dark.locator('lv-chart path').first().getAttribute('d'))?.length > 100);
    await until('the queue says where it is going', async () => /\/s|empty in/.test(await dark.locator('.figure .note').first().innerText()));
    await picture(dark, 'queue');

    await dark.goto(`${base}/policies`);
    await dark.getByRole('button', { name: 'Add a policy' }).click();
    const dialog = dark.getByRole('dialog', { name: 'Add a policy' });
    await dialog.getByLabel('Name').fill('short');
    await dialog.getByLabel('Pattern').fill('^(app|log)\\.');
    await dialog.getByLabel('Priority').fill('3');
    await dialog.getByText('match now.').waitFor();
    await picture(dark, 'policy');
  },
});

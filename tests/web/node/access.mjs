// Every view for everybody: axe-core looks at each, in light, dark and at the width of a phone.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

import { api, assert, base, run } from './page.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** All rules in light; elsewhere the elements are the same, and only what depends on the look is looked at again. */
const LOOKS = {
  light: [{ colorScheme: 'light' }, { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }],
  dark: [{ colorScheme: 'dark' }, { type: 'rule', values: ['color-contrast'] }],
  phone: [{ colorScheme: 'light', viewport: { width: 390, height: 800 } }, { type: 'rule', values: ['color-contrast', 'scrollable-region-focusable', 'target-size'] }],
};

/** Addresses beside those of the menu, and what is to be clicked there first. */
const MORE = [
  ['/queues/%2F/orders'], ['/queues/%2F/orders?tab=messages', 'button:text-is("Look")'], ['/queues/%2F/orders?tab=consumers'],
  ['/queues/%2F/orders?tab=bindings'], ['/queues/%2F/orders?tab=move', 'button:has-text("dry run")'],
  ['/queues', 'button:has-text("Declare a queue")'], ['/no/such/page'],
  ['/exchanges/%2F/events', 'button:has-text("Explain")'], ['/exchanges/%2F/amq.default'], ['/connections', 'td.name a'], ['/vhosts/%2F'],
  ['/vhosts/%2F', 'button:text-is("Set permissions")'], ['/users/guest'], ['/users/guest', 'button:text-is("Change tags")'],
  ['/policies?kind=operator'], ['/policies', 'button:text-is("Change")'], ['/limits', 'button:text-is("Change")'],
];

/** What is wrong with the page as it stands. */
async function look(page, where, rules) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate((runOnly) => window.axe.run(document, { runOnly }), rules);
  const found = violations.map((it) => `${it.id}: ${it.help}\n${it.nodes.map((node) => `    ${node.html}\n    ${node.failureSummary}`).join('\n')}`);
  // Nothing is wider than the screen, except tables in their own scrolling.
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (wider > 0) found.push(`${wider} pixels too wide`);
  return found.map((it) => `${where}: ${it}`);
}

async function lookAtAll(scene, name) {
  const [options, rules] = LOOKS[name];
  const channel = await scene.channel();
  await channel.assertExchange('events', 'topic');
  await channel.assertQueue('orders', { arguments: { 'x-max-length': 1000 } });
  await channel.bindQueue('orders', 'events', 'order.#');
  for (let i = 0; i < 3; i += 1) channel.publish('events', 'order.new', Buffer.from('{"a": {"b": [1, true, null]}}'), { headers: { h: 1 } });
  await channel.waitForConfirms();
  await channel.prefetch(1);
  await channel.consume('orders', () => {});
  await api('POST', '/leveret/queues/%2F/orders/pause');
  await api('PUT', '/policies/%2F/short', { pattern: '^orders', definition: { 'max-length': 7 }, 'apply-to': 'all' });
  await api('PUT', '/topic-permissions/%2F/guest', { exchange: 'events', write: '.*', read: '.*' });
  const out = await scene.page(options);
  await out.goto(base);
  await out.getByLabel('Password').waitFor();
  const found = await look(out, 'log-in', rules);
  await out.context().close();
  const page = await scene.open('/', options);
  const menu = await page.locator('nav.side a').evaluateAll((links) => links.map((link) => [link.getAttribute('href')]));
  for (const [path, click] of [...menu, ...MORE]) {
    await page.goto(base + path);
    await page.locator('main h1').waitFor();
    if (click) await page.locator(click).first().click();
    // What is loaded a moment later belongs to the view.
    await page.getByText('Loading\u2026').first().waitFor({ state: 'detached' });
    await page.locator('lv-table.busy, [aria-busy]').first().waitFor({ state: 'detached' });
    found.push(...await look(page, path, rules));
  }
  assert.equal(found.join('\n'), '');
}

await run({
  async finds_no_violation_in_any_view(scene) {
    await lookAtAll(scene, 'light');
  },

  async finds_enough_contrast_in_the_dark(scene) {
    await lookAtAll(scene, 'dark');
  },

  async finds_nothing_too_wide_or_too_small_on_a_phone(scene) {
    await lookAtAll(scene, 'phone');
  },
});

// Every view for everybody: axe-core looks at each, in light, dark and at the width of a phone.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

import { api, assert, base, logIn, run } from './page.mjs';

const WIDE = { width: 1280, height: 800 };
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** All rules in light; elsewhere the elements are the same, and only what depends on the look is looked at again. */
const LOOKS = [
  ['light', 'light', WIDE, { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }],
  ['dark', 'dark', WIDE, { type: 'rule', values: ['color-contrast'] }],
  ['phone', 'light', { width: 390, height: 800 }, { type: 'rule', values: ['color-contrast', 'scrollable-region-focusable', 'target-size'] }],
];

/** Addresses beside those of the menu, and what is to be clicked there first. */
const MORE = [
  ['/queues/%2F/orders'], ['/queues/%2F/orders?tab=messages', 'button:text-is("Look")'], ['/queues/%2F/orders?tab=consumers'],
  ['/queues/%2F/orders?tab=bindings'], ['/queues/%2F/orders?tab=move', 'button:has-text("dry run")'],
  ['/queues', 'button:has-text("Declare a queue")'], ['/no/such/page'],
  ['/exchanges/%2F/events', 'button:has-text("Explain")'], ['/exchanges/%2F/amq.default'], ['/connections', 'td.name a'], ['/vhosts/%2F'],
  ['/vhosts/%2F', 'button:text-is("Set permissions")'], ['/users/guest'], ['/users/guest', 'button:text-is("Change tags")'],
  ['/policies?kind=operator'], ['/policies', 'button:text-is("Change")'], ['/limits', 'button:text-is("Change")'],
];

/** What is wrong with the page as it stands, in every look. */
async function look(page, where) {
  const found = [];
  for (const [name, colorScheme, size, rules] of LOOKS) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(size);
    const violations = await page.evaluate(async (runOnly) => (await window.axe.run(document, { runOnly, resultTypes: ['violations'] })).violations, rules);
    found.push(...violations.map((it) => `${name}: ${it.id}: ${it.help}\n${it.nodes.map((node) => `    ${node.html}\n    ${node.failureSummary}`).join('\n')}`));
    // Nothing is wider than the screen, except tables in their own scrolling.
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wider > 0) found.push(`${name}: ${wider} pixels too wide`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(WIDE);
  return found.map((it) => `${where}: ${it}`);
}

/** Goes to an address without loading the page anew, as its own links do. */
const visit = (page, path) => page.evaluate(async (to) => {
  const { navigate } = await import('/core/router.js');
  // Nobody shall take the view before for the one that is coming.
  document.querySelector('main').replaceChildren();
  navigate(to);
}, path);

/** Something of everything that a view can show. */
async function fill(scene) {
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
}

await run({
  async finds_no_violation_in_any_view_in_light_dark_and_on_a_phone(scene) {
    await fill(scene);
    // Colours that change by and by would be looked at half-way.
    const page = await scene.page({ reducedMotion: 'reduce' });
    await page.goto(base);
    await page.getByLabel('Password').waitFor();
    await page.evaluate(axe);
    const found = await look(page, 'log-in');
    await logIn(page, 'guest', 'guest');
    const menu = await page.locator('nav.side a').evaluateAll((links) => links.map((link) => [link.getAttribute('href')]));
    for (const [path, click] of [...menu, ...MORE]) {
      await visit(page, path);
      await page.locator('main h1').waitFor();
      if (click) await page.locator(click).first().click();
      // What is loaded a moment later belongs to the view.
      await page.getByText('Loading\u2026').first().waitFor({ state: 'detached' });
      await page.locator('lv-table.busy, [aria-busy]').first().waitFor({ state: 'detached' });
      found.push(...await look(page, path));
    }
    assert.equal(found.join('\n'), '');
  },
});

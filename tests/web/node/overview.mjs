// The overview: what flows, and what somebody should look at first.

import { address, assert, base, names, run, texts, until } from './page.mjs';

await run({
  async shows_rates_and_the_state_of_the_node(scene) {
    const channel = await scene.channel();
    await channel.assertQueue('q');
    const page = await scene.open('/');
    const timer = setInterval(() => channel.sendToQueue('q', Buffer.from('x')), 50);
    await until('the rate is shown', async () => {
      const figures = await texts(page, '.figure');
      return figures.some((it) => /Published\s+[1-9]/.test(it)) || figures;
    });
    clearInterval(timer);
    for (const title of ['Node', 'Journal', 'Listeners']) await page.getByRole('heading', { name: title, exact: true }).waitFor();
    await until('the memory is shown', async () => /Memory\s*[\d.]+.MiB of/.test(await page.locator('main').innerText()));
    for (const part of ['Up for', 'Sync, 99%', 'needed', 'Disk alarm']) {
      await until(part, async () => (await page.locator('main').innerText()).includes(part));
    }
    await until('a chart is drawn', async () => (await page.locator('lv-chart path').first().getAttribute('d'))?.length > 10);
  },

  async says_what_needs_attention_first(scene) {
    const page = await scene.open('/');
    await page.getByText('Nothing: no alarm').waitFor();
    const channel = await scene.channel();
    await channel.assertQueue('forgotten');
    await channel.assertQueue('refused', { arguments: { 'x-dead-letter-exchange': 'amq.fanout' } });
    for (let i = 0; i < 20; i += 1) channel.sendToQueue('forgotten', Buffer.from('x'));
    for (let i = 0; i < 4; i += 1) channel.sendToQueue('refused', Buffer.from('x'));
    await channel.waitForConfirms();
    await channel.consume('refused', (message) => channel.nack(message, false, false));
    const finding = (text) => page.locator('.findings li', { hasText: text });
    await until('growing without consumers', async () => (await finding('forgotten').innerText()).includes('nobody consumes'));
    await until('dead letters', async () => (await finding('refused').innerText()).includes('4 died in the last minute (rejected)'));
    await page.getByLabel('Messages count as old after').selectOption('old: over 1 minute');
    assert.equal(await address(page), '/?older=60000');
    await page.goto(`${base}/?older=1`);
    await until('the oldest message', async () => (await finding('forgotten').innerText()).includes('the oldest message has been waiting for'));
    await finding('forgotten').locator('a').click();
    await page.getByRole('heading', { name: 'forgotten' }).waitFor();
  },

  async tells_of_an_alarm_and_whom_it_blocks(scene) {
    const channel = await scene.channel();
    await channel.assertQueue('orders');
    channel.sendToQueue('orders', Buffer.from('x'));
    const page = await scene.open('/');
    await until('the alarm, and then who is blocked', async () => {
      const found = await texts(page, '.findings li');
      return (/^alarm\s+The disk is nearly full: publishers are blocked\.$/.test(found[0]) && /^blocked\s+1 publisher cannot publish \(guest\)\.$/.test(found[1])) || found;
    });
    await until('the alarm of the node', async () => /Disk alarm\s+in effect/.test(await page.locator('main').innerText()));
    await page.locator('.findings a').first().click();
    await until('the connection that is blocked', async () => (await names(page)).length === 1 && (await page.locator('lv-table tbody').innerText()).includes('blocked'));
  },
});

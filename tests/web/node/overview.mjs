// The overview: what flows, and what somebody should look at first.

import { assert, run, texts, until } from './page.mjs';

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
    const body = await page.locator('main').innerText();
    for (const part of ['Up for', 'Sync, 99%', 'needed', 'Disk alarm']) assert.ok(body.includes(part), `${part} in ${body}`);
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
    await finding('forgotten').locator('a').click();
    await page.getByRole('heading', { name: 'forgotten' }).waitFor();
  },
});

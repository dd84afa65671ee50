// The list of queues, of any length.

import { address, api, assert, base, names, run, until } from './page.mjs';

const search = (page) => page.getByRole('searchbox', { name: 'Search names' });

/** How long the longest task of the page takes, in milliseconds, while something is done. */
async function longestTask(page, work) {
  await page.evaluate(() => {
    window.longest = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((it) => { window.longest = Math.max(window.longest, it.duration); })).observe({ type: 'longtask' });
  });
  await work();
  return page.evaluate(() => window.longest);
}

await run({
  async declares_sorts_searches_and_pages_with_everything_in_the_address(scene) {
    for (let i = 0; i < 60; i += 1) await api('PUT', `/queues/%2F/q${String(i).padStart(2, '0')}`, { durable: true });
    const channel = await scene.channel();
    for (const [queue, count] of [['q07', 3], ['q31', 5]]) for (let i = 0; i < count; i += 1) channel.sendToQueue(queue, Buffer.from('x'));
    await channel.waitForConfirms();
    const page = await scene.open('/queues');
    await until('a page of 50', async () => (await names(page)).length === 50);
    await page.getByRole('button', { name: 'Next page' }).click();
    await until('the second page', async () => (await names(page))[0] === 'q50');
    assert.equal(await address(page), '/queues?page=2');
    await page.getByRole('button', { name: 'Ready' }).click();
    await until('the longest first', async () => (await names(page)).slice(0, 2).join() === 'q31,q07');
    assert.equal(await address(page), '/queues?sort=messages_ready&sort_reverse=true');
    await page.getByRole('button', { name: 'Ready' }).click();
    await until('the shortest first', async () => (await names(page))[0] === 'q00');
    await search(page).fill('^q[03]7$');
    await page.getByLabel('regex').check();
    await until('two are found', async () => (await names(page)).sort().join() === 'q07,q37');
    await page.getByText('1\u20132 of 2 (60 in all)').waitFor();
    const there = await address(page);
    // The address has all of it: for somebody else, and for the way back.
    await page.goto(base + there);
    await until('the same', async () => (await names(page)).sort().join() === 'q07,q37');
    assert.equal(await search(page).inputValue(), '^q[03]7$');
    await page.getByRole('link', { name: 'q37' }).click();
    await page.getByRole('heading', { name: 'q37' }).waitFor();
    await page.goBack();
    await until('back in the list', async () => (await names(page)).sort().join() === 'q07,q37');
    assert.equal(await address(page), there);
    await page.getByRole('button', { name: 'Declare a queue' }).click();
    const dialog = page.getByRole('dialog', { name: 'Declare a queue' });
    await dialog.getByLabel('Name').fill('q77');
    await dialog.getByLabel('Further arguments').fill('{"x-max-length": "no"}');
    await dialog.getByRole('button', { name: 'Declare' }).click();
    await dialog.getByRole('alert').getByText('The queue was not declared.').waitFor();
    await dialog.getByLabel('Further arguments').fill('{"x-max-length": 5}');
    await dialog.getByLabel('Dead-letter exchange').fill('dlx');
    await dialog.getByRole('button', { name: 'Declare' }).click();
    await page.getByText('Queue q77 declared').waitFor();
    const queue = await api('GET', '/queues/%2F/q77');
    assert.deepEqual([queue.durable, queue.arguments], [true, { 'x-max-length': 5, 'x-dead-letter-exchange': 'dlx' }]);
  },

  async shows_text_as_text_whatever_it_says(scene) {
    const name = '<img src=x onerror="window.ran=1">&amp;\u{1F407}';
    await api('PUT', `/queues/%2F/${encodeURIComponent(name)}`, { durable: true, arguments: { 'x-dead-letter-exchange': '<b>x</b>' } });
    await api('POST', '/exchanges/%2F/amq.default/publish', { routing_key: name, properties: { headers: { '<i>h</i>': '<u>v</u>' } }, payload: '{"<s>": "<script>1</script>"}', payload_encoding: 'string' });
    const page = await scene.open('/queues');
    await page.getByRole('link', { name }).click();
    await page.getByRole('heading', { name }).waitFor();
    await page.getByRole('link', { name: 'Messages' }).click();
    await page.getByRole('button', { name: 'Look', exact: true }).click();
    await page.locator('.message').waitFor();
    const text = await page.locator('.message').innerText();
    for (const part of ['<i>h</i>', '<u>v</u>', '<script>1</script>']) assert.ok(text.includes(part), text);
    assert.equal(await page.evaluate(() => window.ran), undefined);
    assert.equal(await page.locator('main img, main script, main i:not(:empty)').count(), 0);
  },

  async keeps_rows_and_focus_while_figures_change(scene) {
    for (const name of ['a', 'b', 'c']) await api('PUT', `/queues/%2F/${name}`, { durable: true });
    const page = await scene.open('/queues');
    await until('three rows', async () => (await names(page)).join() === 'a,b,c');
    const cell = page.locator('lv-table tbody tr').nth(1).locator('td').nth(2);
    await page.evaluate(() => {
      document.querySelectorAll('lv-table tbody tr').forEach((row, at) => { row.mark = at; });
      window.changes = [];
      new MutationObserver((changes) => window.changes.push(...changes.map((it) => it.target.closest?.('tr')?.mark ?? it.target.parentElement?.closest('tr')?.mark)))
        .observe(document.querySelector('lv-table tbody'), { childList: true, subtree: true, characterData: true });
    });
    await page.getByRole('link', { name: 'b', exact: true }).focus();
    const channel = await scene.channel();
    channel.sendToQueue('b', Buffer.from('x'));
    await channel.waitForConfirms();
    await until('the figure changes', async () => (await cell.innerText()) === '1');
    const [marks, changed, focused] = await page.evaluate(() => [
      [...document.querySelectorAll('lv-table tbody tr')].map((row) => row.mark), [...new Set(window.changes)], document.activeElement.textContent,
    ]);
    assert.deepEqual(marks, [0, 1, 2], 'the rows are the same');
    assert.deepEqual(changed, [1], 'nothing else was touched');
    assert.equal(focused, 'b');
  },

  async goes_by_keyboard_alone(scene) {
    for (let i = 0; i < 60; i += 1) await api('PUT', `/queues/%2F/q${String(i).padStart(2, '0')}`, { durable: true });
    const page = await scene.open('/queues');
    await until('a page of 50', async () => (await names(page)).length === 50);
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement.type), 'search');
    await page.keyboard.type('q1');
    await until('ten rows', async () => (await names(page)).length === 10);
    await page.locator('lv-table .table-scroll table').evaluate((table) => table.querySelector('tbody tr').focus());
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'q11' }).waitFor();
    await until('the heading is where one is', async () => page.evaluate(() => document.activeElement.tagName === 'H1'));
    // A dialog keeps the focus, and Escape leaves it.
    await page.goBack();
    await page.getByRole('button', { name: 'Declare a queue' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.closest('dialog') !== null), true);
    await page.keyboard.press('Escape');
    await until('the dialog is gone', async () => (await page.getByRole('dialog').count()) === 0);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Declare a queue');
  },

  async lists_50000_queues_without_a_stall(scene) {
    const channels = await Promise.all(Array.from({ length: 8 }, () => scene.channel()));
    const name = (at) => `queue-${String(at).padStart(5, '0')}`;
    await Promise.all(channels.map(async (channel, first) => {
      const batch = [];
      for (let at = first; at < 50_000; at += channels.length) {
        batch.push(channel.assertQueue(name(at), { durable: false }));
        if (batch.length === 500) await Promise.all(batch.splice(0));
      }
      await Promise.all(batch);
    }));
    const page = await scene.open('/queues');
    // A stall is a task of the page that keeps it from answering. A task takes long also when others have the processor: then all of it once more.
    let longest = Infinity;
    for (let attempt = 0; longest >= 1000; attempt += 1) {
      assert.ok(attempt < 5, `${longest} ms`);
      if (attempt > 0) await page.goto(`${base}/queues`);
      await page.getByText('1\u201350 of 50\u202f000').waitFor();
      longest = await longestTask(page, async () => {
        await page.getByRole('button', { name: 'Last page' }).click();
        await until('the last page', async () => (await names(page)).at(-1) === name(49_999));
        await search(page).fill('00499');
        await until('what is searched for', async () => (await names(page)).join() === [name(499)].join());
        await search(page).fill('');
        await page.getByRole('button', { name: 'Ready' }).click();
        await until('everything, sorted by another column', async () => (await address(page)) === '/queues?sort=messages_ready&sort_reverse=true' && (await names(page)).length === 50);
        await page.locator('th[aria-sort="descending"]', { hasText: 'Ready' }).waitFor();
      });
    }
  },
});

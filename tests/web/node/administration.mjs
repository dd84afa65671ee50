// What administrators do: vhosts, users, policies, limits, definitions, and what happened lately.

import { address, api, assert, base, names, run, texts, until, user } from './page.mjs';

const rows = (page) => texts(page, 'lv-table tbody tr');
const hasRow = async (page, pattern) => (await rows(page)).some((row) => pattern.test(row)) || rows(page);

/** Whether somebody may log in. */
async function logsIn(name, password) {
  const Authorization = `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
  return (await fetch(`${base}/api/whoami`, { headers: { Authorization } })).status === 200;
}

await run({
  async makes_a_vhost_and_deletes_it_by_its_name(scene) {
    const page = await scene.open('/vhosts');
    await page.getByRole('button', { name: 'Add a virtual host' }).click();
    let dialog = page.getByRole('dialog', { name: 'Add a virtual host' });
    await dialog.getByLabel('Name').fill('shop');
    await dialog.getByLabel('Tags').fill('eu, production');
    await dialog.getByLabel('Default queue type').selectOption('quorum');
    await dialog.getByRole('button', { name: 'Add' }).click();
    await page.getByRole('link', { name: 'shop' }).click();
    await page.getByRole('heading', { name: 'shop' }).waitFor();
    const made = await api('GET', '/vhosts/shop');
    assert.deepEqual([made.tags, made.default_queue_type], [['eu', 'production'], 'quorum']);
    await page.getByRole('button', { name: 'Change limits' }).click();
    dialog = page.getByRole('dialog', { name: 'Limits of shop' });
    await dialog.getByLabel('Queues').fill('3');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByText('at most 3').waitFor();
    assert.deepEqual((await api('GET', '/vhost-limits/shop'))[0].value, { 'max-queues': 3 });

    await api('PUT', '/queues/shop/orders', { durable: true, arguments: { 'x-queue-type': 'classic' } });
    await api('POST', '/exchanges/shop/amq.default/publish', { routing_key: 'orders', properties: {}, payload: 'x', payload_encoding: 'string' });
    await until('the message is counted', async () => (await api('GET', '/vhosts/shop')).messages === 1);
    const more = (what) => page.locator('summary', { hasText: 'More' }).click().then(() => page.getByRole('button', { name: what }).click());
    // Nobody deletes what is protected.
    await more('Protect from deletion');
    await page.getByRole('dialog').getByRole('button', { name: 'Protect' }).click();
    await page.locator('.head .badge', { hasText: 'protected from deletion' }).waitFor();
    await more('Delete\u2026');
    dialog = page.getByRole('dialog', { name: 'Delete the virtual host' });
    await dialog.getByText('1 queue').waitFor();
    await dialog.getByText('1 message').waitFor();
    await dialog.getByLabel('Type shop to go on').fill('ship');
    await dialog.getByRole('button', { name: 'Delete the virtual host' }).click();
    await dialog.getByRole('alert').getByText('That is not the name').waitFor();
    await dialog.getByLabel('Type shop to go on').fill('shop');
    await dialog.getByRole('button', { name: 'Delete the virtual host' }).click();
    await dialog.getByRole('alert').getByText('protected').waitFor();
    await page.keyboard.press('Escape');
    await more('Allow deletion');
    await page.getByRole('dialog').getByRole('button', { name: 'Allow deletion' }).click();
    await until('it is not protected', async () => !(await api('GET', '/vhosts/shop')).protected_from_deletion);
    await page.locator('.head .badge', { hasText: 'protected from deletion' }).waitFor({ state: 'detached' });
    await more('Delete\u2026');
    await dialog.getByLabel('Type shop to go on').fill('shop');
    await dialog.getByRole('button', { name: 'Delete the virtual host' }).click();
    await page.getByText('Virtual host shop deleted').waitFor();
    await until('it is gone', async () => (await names(page)).join() === '/' || names(page));
  },

  async gives_users_tags_permissions_and_limits(scene) {
    const page = await scene.open('/users');
    await page.getByRole('button', { name: 'Add a user' }).click();
    let dialog = page.getByRole('dialog', { name: 'Add a user' });
    await dialog.getByLabel('Name').fill('carol');
    await dialog.getByLabel('Password').fill('secret');
    await dialog.getByRole('button', { name: 'Add' }).click();
    await until('a user without permissions', async () => hasRow(page, /carol[^]*no permissions/));
    await page.getByRole('link', { name: 'carol' }).click();
    await page.getByRole('heading', { name: 'carol' }).waitFor();

    await page.getByRole('button', { name: 'Set permissions' }).click();
    dialog = page.getByRole('dialog', { name: 'Set permissions' });
    await dialog.getByLabel('Write').fill('a(b');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByRole('alert').getByText('The permissions are as they were.').waitFor();
    await dialog.getByLabel('Write').fill('^orders$');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await until('they are listed', async () => hasRow(page, /\^orders\$/));
    // What is changed begins with what there is now.
    await api('PUT', '/permissions/%2F/carol', { configure: '', write: '^other$', read: '' });
    await until('somebody else has changed them', async () => hasRow(page, /\^other\$/));
    await page.getByRole('button', { name: 'Change permissions: /' }).click();
    dialog = page.getByRole('dialog', { name: 'Change the permissions in /' });
    assert.deepEqual([await dialog.getByLabel('Configure').inputValue(), await dialog.getByLabel('Write').inputValue()], ['', '^other$']);
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Set topic permissions' }).click();
    dialog = page.getByRole('dialog', { name: 'Set topic permissions' });
    await dialog.getByLabel('Topic exchange').fill('amq.topic');
    await dialog.getByLabel('Write').fill('^{username}\\.');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await until('topic permissions', async () => hasRow(page, /amq\.topic[^]*\^\{username\}/));
    await page.getByRole('button', { name: 'Change limits' }).click();
    dialog = page.getByRole('dialog', { name: 'Limits of carol' });
    await dialog.getByLabel('Connections').fill('0');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByText('none allowed').waitFor();

    // Other tags leave the password as it was.
    await page.getByRole('button', { name: 'Change tags' }).click();
    dialog = page.getByRole('dialog', { name: 'Tags of carol' });
    await dialog.getByLabel('May use').selectOption('monitoring');
    await dialog.getByLabel('Further tags').fill('night-shift');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.locator('.head .badge', { hasText: 'monitoring' }).waitFor();
    assert.deepEqual((await api('GET', '/users/carol')).tags, ['monitoring', 'night-shift']);
    assert.ok(await logsIn('carol', 'secret'));
    await page.getByRole('button', { name: 'Set password' }).click();
    dialog = page.getByRole('dialog', { name: 'Password of carol' });
    await dialog.getByLabel('New password').fill('other');
    await dialog.getByLabel('The same again').fill('another');
    await dialog.getByRole('button', { name: 'Set' }).click();
    await dialog.getByRole('alert').getByText('The two are not the same.').waitFor();
    await dialog.getByLabel('The same again').fill('other');
    await dialog.getByRole('button', { name: 'Set' }).click();
    await page.getByText('Password set.').waitFor();
    assert.deepEqual([await logsIn('carol', 'other'), (await api('GET', '/users/carol')).tags.length], [true, 2]);
    await page.getByRole('button', { name: 'Clear permissions: /', exact: true }).click();
    await page.getByRole('dialog', { name: 'Clear permissions' }).getByRole('button', { name: 'Clear permissions' }).click();
    await page.getByText('This user has no permissions').waitFor();
    await page.locator('summary', { hasText: 'More' }).click();
    await page.getByRole('button', { name: 'Delete\u2026' }).click();
    dialog = page.getByRole('dialog', { name: 'Delete the user' });
    await dialog.getByText('carol will be gone with all permissions and limits.').waitFor();
    await dialog.getByRole('button', { name: 'Delete the user' }).click();
    await until('gone', async () => (await names(page)).join() === 'guest' || names(page));
  },

  async previews_what_a_policy_matches_while_it_is_typed(scene) {
    for (const queue of ['orders.eu', 'orders.us', 'invoices']) await api('PUT', `/queues/%2F/${queue}`, { durable: true });
    await api('PUT', '/policies/%2F/us', { pattern: 'us$', definition: { 'max-length': 7 }, priority: 5, 'apply-to': 'queues' });
    const page = await scene.open('/policies');
    await page.getByRole('button', { name: 'Add a policy' }).click();
    const dialog = page.getByRole('dialog', { name: 'Add a policy' });
    const preview = dialog.getByRole('region', { name: 'What it matches' });
    await dialog.getByLabel('Name').fill('short');
    await dialog.getByLabel('Pattern').pressSequentially('^orders');
    await preview.getByText('2 queues match now.').waitFor();
    await preview.getByText('has us').waitFor();
    await preview.getByText('For 1 of them another policy of a higher priority counts.').waitFor();
    await dialog.getByLabel('Priority').fill('9');
    await preview.getByText('of a higher priority').waitFor({ state: 'detached' });
    await dialog.getByLabel('Pattern').fill('^(orders');
    await preview.getByRole('alert').getByText('should be regular expression but is invalid').waitFor();
    await dialog.getByRole('button', { name: 'Add', exact: true }).click();
    await dialog.getByRole('alert').getByText('The policy was not set.').waitFor();
    await dialog.getByLabel('Pattern').fill('^none');
    await preview.getByText('Nothing matches now.').waitFor();
    await dialog.getByLabel('Pattern').fill('^orders');
    await preview.getByText('2 queues match now.').waitFor();
    await dialog.getByRole('button', { name: 'overflow' }).click();
    await dialog.getByRole('button', { name: 'Add', exact: true }).click();
    await until('it is set', async () => hasRow(page, /short[^]*max-length: 10000/));
    const policy = await api('GET', '/policies/%2F/short');
    assert.deepEqual([policy.definition, policy.priority, policy['apply-to']], [{ overflow: 'reject-publish', 'max-length': 10000 }, 9, 'queues']);
    assert.equal((await api('GET', '/queues/%2F/orders.us')).policy, 'short');
    // A narrower pattern takes it from others.
    await page.getByRole('button', { name: 'Change short' }).click();
    const change = page.getByRole('dialog', { name: 'Change policy short' });
    await change.getByText('2 queues match now.').waitFor();
    await change.getByLabel('Pattern').fill('eu$');
    await change.getByText('1 queue or exchange would lose this policy.').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Delete short' }).click();
    const remove = page.getByRole('dialog', { name: 'Delete the policy' });
    await remove.getByText('in force for 2 queues and exchanges').waitFor();
    await remove.getByRole('button', { name: 'Delete the policy' }).click();
    await until('it is gone', async () => (await names(page)).join() === 'us' || names(page));
  },

  async keeps_operator_policies_apart(scene) {
    await user('pat', 'policymaker');
    await api('PUT', '/queues/%2F/orders', { durable: true });
    const page = await scene.open('/policies?kind=operator');
    await page.getByRole('button', { name: 'Add an operator policy' }).click();
    const dialog = page.getByRole('dialog', { name: 'Add an operator policy' });
    await dialog.getByLabel('Name').fill('ceiling');
    await dialog.getByLabel('Pattern').fill('.*');
    await dialog.getByText('1 queue match').waitFor();
    await dialog.getByRole('button', { name: 'Add', exact: true }).click();
    await until('it is set', async () => hasRow(page, /ceiling/));
    assert.equal((await api('GET', '/operator-policies/%2F/ceiling')).pattern, '.*');
    assert.deepEqual(await api('GET', '/policies'), []);
    // Who makes policies sees them and cannot change them.
    const other = await scene.open('/policies?kind=operator', { user: 'pat' });
    await until('it is seen', async () => hasRow(other, /ceiling/));
    assert.equal(await other.locator('main').getByRole('button', { name: /Add|Change|Delete/ }).count(), 0);
    await other.getByRole('link', { name: 'Policies', exact: true }).last().click();
    await other.getByRole('button', { name: 'Add a policy' }).waitFor();
  },

  async sets_and_clears_limits_in_one_place(scene) {
    await api('PUT', '/users/app', { password: 'app', tags: '' });
    const page = await scene.open('/limits');
    await page.getByRole('button', { name: 'Change limits of app' }).click();
    let dialog = page.getByRole('dialog', { name: 'Limits of app' });
    await dialog.getByLabel('Channels').fill('5');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await until('it is set', async () => hasRow(page, /app[^]*at most 5/));
    await page.getByRole('button', { name: 'Change limits of app' }).click();
    dialog = page.getByRole('dialog', { name: 'Limits of app' });
    assert.equal(await dialog.getByLabel('Channels').inputValue(), '5');
    await dialog.getByLabel('Channels').fill('');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await until('it is cleared', async () => !(await rows(page)).some((row) => row.includes('at most 5')));
    assert.deepEqual(await api('GET', '/user-limits/app'), []);
  },

  async takes_definitions_down_and_up_again(scene) {
    await api('PUT', '/queues/%2F/orders', { durable: true, arguments: { 'x-max-length': 9 } });
    await api('POST', '/bindings/%2F/e/amq.topic/q/orders', { routing_key: 'order.#' });
    const page = await scene.open('/definitions');
    const downloading = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Download' }).click();
    const download = await downloading;
    assert.equal(download.suggestedFilename(), 'leveret-definitions.json');
    const file = Buffer.concat(await (await download.createReadStream()).toArray());
    const kept = JSON.parse(file.toString());
    assert.deepEqual(kept.queues.map((it) => it.name), ['orders']);
    await api('DELETE', '/queues/%2F/orders');

    const form = page.getByRole('form', { name: 'Upload definitions' });
    const upload = (name, text) => form.getByLabel('File').setInputFiles({ name, mimeType: 'application/json', buffer: Buffer.from(text) });
    await upload('broken.json', '{"queues": [');
    await page.getByRole('alert').getByText('This is no JSON file.').waitFor();
    // With one fault nothing of it is done, and the fault is named.
    const queues = [{ name: 'good', vhost: '/', durable: true, auto_delete: false, arguments: {} }, { name: 'bad', vhost: 'none', durable: true, auto_delete: false, arguments: {} }];
    await upload('faulty.json', JSON.stringify({ queues }));
    await page.getByText('In this file: 2 queues').waitFor();
    await form.getByRole('button', { name: 'Import' }).click();
    await form.getByRole('alert').getByText('Nothing was imported.').waitFor();
    await form.getByRole('alert').getByText("queues[1] 'bad'").waitFor();
    assert.deepEqual(await api('GET', '/queues'), []);
    await upload('kept.json', file);
    await page.getByText('1 queue, 1 binding').waitFor();
    await form.getByRole('button', { name: 'Import' }).click();
    await page.getByText('kept.json was imported.').waitFor();
    assert.equal((await api('GET', '/queues/%2F/orders')).arguments['x-max-length'], 9);
    assert.equal((await api('GET', '/bindings/%2F/e/amq.topic/q/orders')).length, 1);
  },

  async follows_events_as_they_happen(scene) {
    const page = await scene.open('/events');
    await until('the start of the broker', async () => hasRow(page, /ready/));
    const watched = { password: 'a long secret', tags: '' };
    await api('PUT', '/users/carol', watched);
    await until('a new user', async () => hasRow(page, /user created\s+guest/));
    assert.equal(await logsIn('mallory', 'guess'), false);
    await page.getByLabel('How bad').selectOption('warning');
    await until('only what is bad', async () => (await rows(page)).every((row) => /warning/.test(row)) && hasRow(page, /login refused[^]*mallory/));
    assert.equal(await address(page), '/events?severity=warning');
    await page.getByLabel('What about').selectOption('user');
    await page.getByText('Nothing has happened.').waitFor();
    await page.goBack();
    await until('back to warnings', async () => hasRow(page, /mallory/));
    await page.goto(`${base}/events?kind=user&name=carol`);
    await until('what the address says', async () => (await rows(page)).length === 1 && hasRow(page, /user created/));
    await page.goto(`${base}/events`);
    await until('all again', async () => hasRow(page, /mallory/));
    const text = await page.locator('main').innerText();
    assert.ok(!text.includes('a long secret') && !text.includes('guess'));
  },
});

// The frame: who gets in, what they are shown, and what the page never does.

import { address, api, assert, base, logIn, run, texts, until, user } from './page.mjs';

await run({
  async logs_in_and_out_and_comes_back_to_the_same_address(scene) {
    const page = await scene.page();
    await page.goto(`${base}/queues?sort=messages_ready&sort_reverse=true`);
    await logIn(page, 'guest', 'guest');
    assert.equal(await address(page), '/queues?sort=messages_ready&sort_reverse=true');
    assert.equal(await page.title(), 'Queues \u2013 Leveret');
    const [cookie] = await page.context().cookies();
    assert.equal(cookie.name, 'leveret_session');
    assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, 'Strict', '/']);
    assert.equal(await page.evaluate(() => document.cookie), '');
    // A session outlives a reload.
    await page.reload();
    await page.getByRole('heading', { name: 'Queues' }).waitFor();
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('Password').waitFor();
    assert.equal(await address(page), '/queues?sort=messages_ready&sort_reverse=true');
    await page.reload();
    await page.getByLabel('Password').waitFor();
    // The cookie is worth nothing any more, wherever it went.
    const status = await fetch(`${base}/api/whoami`, { headers: { Cookie: `leveret_session=${cookie.value}` } });
    assert.equal(status.status, 401);
  },

  async refuses_a_wrong_password_in_words(scene) {
    const page = await scene.page();
    await page.goto(base);
    await page.getByLabel('User').fill('guest');
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('alert').getByText('The user or the password is wrong').waitFor();
    assert.equal(await page.getByLabel('User').inputValue(), 'guest');
    await user('nobody', '');
    await page.getByLabel('User').fill('nobody');
    await page.getByLabel('Password').fill('nobody');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('alert').getByText('Not management user').waitFor();
  },

  async shows_what_the_users_tags_allow(scene) {
    await user('worker', 'management');
    await user('watcher', 'monitoring');
    const menus = {};
    for (const name of ['worker', 'watcher', 'guest']) {
      const page = await scene.open('/', { user: name });
      menus[name] = await texts(page, 'nav.side a');
      const node = await page.getByRole('heading', { name: 'Journal' }).count();
      assert.equal(node, name === 'worker' ? 0 : 1, name);
      await page.context().close();
    }
    assert.ok(menus.worker.includes('Queues'));
    for (const entry of menus.worker) assert.ok(menus.watcher.includes(entry) || menus.guest.includes(entry));
    assert.ok(menus.guest.length >= menus.watcher.length && menus.watcher.length >= menus.worker.length);
    // What the page does not offer is refused by the broker.
    const page = await scene.open('/', { user: 'worker' });
    const status = await page.evaluate(async () => (await fetch('/api/users', { headers: { 'X-Leveret-CSRF': '1' } })).status);
    assert.equal(status, 401);
  },

  async follows_a_changed_password_to_the_log_in(scene) {
    await user('carol', 'administrator');
    const page = await scene.open('/queues', { user: 'carol' });
    await api('PUT', '/users/carol', { password: 'another', tags: 'administrator' });
    await page.getByText('Your session is over').waitFor();
    await logIn(page, 'carol', 'another');
    assert.equal(await address(page), '/queues');
  },

  async asks_no_other_host_and_breaks_no_rule_of_its_own(scene) {
    const page = await scene.open('/');
    const policy = (await page.request.get(base)).headers()['content-security-policy'];
    assert.ok(policy.startsWith("default-src 'none'; script-src 'self'; style-src 'self'"));
    // The rules hold: what is written inline does not run, and text does not become markup.
    const ran = await page.evaluate(() => {
      const script = document.createElement('script');
      try {
        script.textContent = 'window.ran = true';
        document.head.append(script);
        document.body.insertAdjacentHTML('beforeend', '<img>');
      } catch (error) {
        return [window.ran, error.name];
      }
      return [window.ran, null];
    });
    assert.deepEqual(ran, [undefined, 'TypeError']);
    assert.ok(scene.problems.length > 0, 'a broken rule is heard of');
    // That no view asks others or breaks the rules is seen in every flow.
    scene.problems = [];
  },

  async switches_between_local_time_and_utc(scene) {
    await api('PUT', '/queues/%2F/q', { durable: true });
    await api('POST', '/exchanges/%2F/amq.default/publish', { routing_key: 'q', properties: { timestamp: 1795250872 }, payload: 'x', payload_encoding: 'string' });
    const page = await scene.open('/queues/%2F/q?tab=messages', { timezoneId: 'Asia/Kolkata' });
    await page.getByRole('button', { name: 'Look', exact: true }).click();
    const shown = page.locator('.message time');
    await shown.waitFor();
    assert.equal(await shown.innerText(), '2026-11-21 14:17:52 UTC+05:30');
    await page.getByRole('button', { name: 'Times: local (UTC+05:30)' }).click();
    assert.equal(await shown.innerText(), '2026-11-21 08:47:52 UTC');
    await page.reload();
    await page.getByRole('button', { name: 'Times: UTC' }).waitFor();
  },

  async asks_nothing_while_the_tab_is_hidden(scene) {
    const page = await scene.page();
    await page.clock.install();
    let asked = 0;
    page.on('request', (request) => { asked += request.url().includes('/api/') ? 1 : 0; });
    const hide = (hidden) => page.evaluate((is) => {
      Object.defineProperty(document, 'hidden', { value: is, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await page.goto(`${base}/queues`);
    await logIn(page, 'guest', 'guest');
    await page.getByText('There is no queue yet.').waitFor();
    const seen = asked;
    await page.clock.runFor(60_000);
    await until('it asks while somebody looks', async () => asked > seen);
    await hide(true);
    const before = asked;
    await page.clock.runFor(3_600_000);
    assert.equal(asked, before, 'nobody looks');
    await api('PUT', '/queues/%2F/new', { durable: true });
    await hide(false);
    await page.getByRole('link', { name: 'new' }).waitFor();
  },

  async goes_on_after_a_broker_restart(scene) {
    await api('PUT', '/queues/%2F/kept', { durable: true });
    const page = await scene.open('/queues?name=kept');
    await page.getByRole('link', { name: 'kept' }).waitFor();
    await scene.ask('stop the broker');
    await page.getByRole('alert').getByText('The broker does not answer').waitFor();
    assert.ok(await page.getByRole('link', { name: 'kept' }).isVisible(), 'what was known stays in sight');
    await scene.ask('start the broker');
    // Sessions end with the broker; the address stays.
    await page.getByText('Your session is over').waitFor();
    await logIn(page, 'guest', 'guest');
    await page.getByRole('link', { name: 'kept' }).waitFor();
    assert.equal(await address(page), '/queues?name=kept');
    await until('the banner goes', async () => !(await page.getByText('The broker does not answer').isVisible()));
  },
});

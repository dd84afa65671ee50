// What every flow needs: a browser, a page that is logged in, a client of AMQP and of the HTTP API. A flow fails when the
// page breaks its own Content-Security-Policy, asks another host, or leaves an error uncaught.

import { strict as assert } from 'node:assert';
import { createInterface } from 'node:readline';

import amqp from 'amqplib';
import { chromium } from 'playwright-core';

export { assert };

export const base = process.env.WEB_URL;
const amqpUrl = process.env.AMQP_URL;

/** Longer than any step takes on a machine that is busy with other tests. */
export const PATIENCE = 60_000;

export class Scene {
  #closing = [];
  #lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  problems = [];

  /** Connects to the browser, where this flow has cookies and pages of its own. */
  async start() {
    this.browser = await chromium.connect(process.env.BROWSER);
    this.#closing.push(() => this.browser.close());
  }

  /** A page that nobody is logged in to. */
  async page(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    page.on('pageerror', (error) => this.problems.push(`uncaught: ${error.stack}`));
    page.on('console', (message) => {
      const text = message.text();
      // A refusal of the API is told to the page, and by the browser to the console.
      const refusal = /^Failed to load resource/.test(text);
      if (message.type() === 'error' && !refusal) this.problems.push(`console: ${text}`);
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(base) && !request.url().startsWith('data:')) this.problems.push(`asks ${request.url()}`);
    });
    return page;
  }

  /** A page of somebody who has logged in, at this address. */
  async open(path = '/', { user = 'guest', password = user, ...options } = {}) {
    const page = await this.page(options);
    await page.goto(base + path);
    await logIn(page, user, password);
    return page;
  }

  /** A channel of AMQP with confirms. */
  async channel() {
    const connection = await amqp.connect(amqpUrl);
    connection.on('error', () => {});
    // A connection that is blocked would answer never.
    this.#closing.push(() => { connection.close().catch(() => {}); });
    const channel = await connection.createConfirmChannel();
    return channel;
  }

  /** Asks the machine around for something, and waits until it is done. */
  async ask(line) {
    console.log(line);
    return (await this.#lines.next()).value;
  }

  async end() {
    for (const close of this.#closing.reverse()) await close();
    assert.deepEqual(this.problems, []);
  }
}

/** Fills the log-in form. */
export async function logIn(page, user, password) {
  await page.getByLabel('User').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.locator('header.top').waitFor();
  await page.locator('main h1').waitFor();
}

/** Sends a request to the HTTP API as guest. */
export async function api(method, path, body) {
  const response = await fetch(`${base}/api${path}`, {
    method,
    headers: { Authorization: `Basic ${Buffer.from('guest:guest').toString('base64')}`, 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${response.ok || await response.text()}`);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/** Makes a user with these tags, who may do everything in the vhost `/`. Name and password are the same. */
export async function user(name, tags) {
  await api('PUT', `/users/${name}`, { password: name, tags });
  await api('PUT', `/permissions/%2F/${name}`, { configure: '.*', write: '.*', read: '.*' });
}

/** Waits until something holds; `look` gives what is there, for the message. */
export async function until(what, look) {
  const deadline = Date.now() + PATIENCE;
  let found;
  for (;;) {
    try {
      found = await look();
    } catch (error) {
      found = error;
    }
    if (found === true) return;
    if (Date.now() > deadline) assert.fail(`${what}; there is: ${found instanceof Error ? found.stack : JSON.stringify(found)}`);
    await new Promise((resume) => { setTimeout(resume, 50); });
  }
}

/** The texts of all elements that match. */
export const texts = (page, selector) => page.locator(selector).allInnerTexts();

/** The names in a list of the page. */
export const names = (page) => texts(page, 'lv-table td.name');

/** The address behind the host. */
export const address = (page) => page.evaluate(() => location.pathname + location.search);

/** The last line of a flow. Whoever waits for it is patient from line to line, so long flows say how far they are. */
const ENDED = 'the flow has ended';

/** Runs the flow that the command line names. */
export async function run(flows) {
  const flow = flows[process.argv[2]];
  assert.ok(flow, `there is no flow ${process.argv[2]}`);
  const scene = new Scene();
  await scene.start();
  await flow(scene);
  await scene.end();
  console.log(ENDED);
  process.exit(0);
}

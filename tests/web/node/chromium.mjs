// The browser that all flows share: its start takes longer than most of them. It prints where to connect, and ends when
// its standard input does, which is with the tests.

import { chromium } from 'playwright-core';

const server = await chromium.launchServer({
  executablePath: process.env.CHROMIUM,
  // Tests run as root in containers, where Chromium has no sandbox of its own.
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
});
console.log(server.wsEndpoint());
process.stdin.resume().on('end', () => server.close());

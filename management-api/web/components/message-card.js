// One message: where it came from, its properties and headers, and what it says.

import { h } from '../core/dom.js';
import { bytes, duration, number, time } from '../core/format.js';
import { jsonView, parsed, tableView } from './json-view.js';
import { badge } from './notice.js';
import { button } from './page.js';
import { toast } from './toast.js';

/** Properties that are moments in seconds. */
const SECONDS = new Set(['timestamp']);

function payloadView(message) {
  if (message.payload_bytes === 0) return h('p.quiet', 'The message is empty.');
  const cut = message.payload_encoding === 'string' && new TextEncoder().encode(message.payload).length < message.payload_bytes;
  const value = message.payload_encoding === 'string' ? parsed(message.payload) : undefined;
  const raw = h('pre.payload', { tabindex: 0, 'aria-label': 'Payload' }, message.payload);
  const shown = value === undefined ? raw : h('div.payload', jsonView(value));
  const parts = [shown];
  if (value !== undefined) {
    const swap = button('As it is', () => {
      const isRaw = shown.isConnected;
      (isRaw ? shown : raw).replaceWith(isRaw ? raw : shown);
      swap.textContent = isRaw ? 'As JSON' : 'As it is';
    }, { kind: 'quiet' });
    parts.push(swap);
  }
  const copy = button('Copy', async () => {
    await navigator.clipboard.writeText(message.payload);
    toast('Payload copied');
  }, { kind: 'quiet' });
  // Browsers give the clipboard to secure pages only.
  if (navigator.clipboard) parts.push(copy);
  return [shown, h('div.buttons', parts.slice(1)), cut && h('p.quiet', `Only the beginning of ${bytes(message.payload_bytes)} is shown.`)];
}

/** A message as the API's `peek` and `get` give it. */
export function messageCard(message) {
  const { headers, ...properties } = Array.isArray(message.properties) ? {} : message.properties ?? {};
  const facts = [];
  if (message.entered_at !== undefined) facts.push(h('span', { title: 'How long it has been in this queue' }, 'waiting ', h('b', duration(message.age_ms))));
  facts.push(h('span', bytes(message.payload_bytes)));
  if (message.expires_in_ms !== undefined && message.expires_in_ms !== null) facts.push(h('span', `expires in ${duration(message.expires_in_ms)}`));
  const badges = [
    message.priority > 0 && badge(`priority ${message.priority}`, 'accent'),
    message.redelivered && badge('redelivered', 'warning'),
    message.delivery_count > 0 && badge(`failed ${number(message.delivery_count)} times`, 'warning'),
    message.payload_encoding === 'base64' && badge('binary, in base64'),
  ];
  const shown = Object.entries(properties).map(([key, value]) => [key, SECONDS.has(key) ? time(value * 1000) : value]);
  return h('article.message',
    h('header',
      message.offset !== undefined && h('span.offset', { title: 'How many messages are before it' }, `#${number(message.offset)}`),
      h('b.route', message.exchange === '' ? '(default exchange)' : message.exchange, ' \u2192 ', h('code', message.routing_key)),
      h('span.badges', badges), h('span.space'), h('span.quiet.message-facts', facts)),
    h('div.message-body',
      h('div', payloadView(message)),
      h('div.stack',
        shown.length > 0 && h('div', h('h3', 'Properties'), h('dl.table-pairs', shown.map(([key, value]) => h('div', h('dt', key), h('dd', value instanceof Node ? value : String(value)))))),
        headers && Object.keys(headers).length > 0 && h('div', h('h3', 'Headers'), tableView(headers)))));
}

// Names of things as they are shown, and the addresses of their views.

import { url } from '../core/api.js';
import { h } from '../core/dom.js';

/** The default exchange has no name. */
export const exchangeName = (name) => name || '(default)';

/** The name of an exchange in paths, of the page and of the API alike. */
export const exchangePart = (name) => name || 'amq.default';

export const exchangeAddress = (vhost, name) => url`/exchanges/${vhost}/${exchangePart(name)}`;
export const queueAddress = (vhost, name) => url`/queues/${vhost}/${name}`;
export const connectionAddress = (name) => url`/connections/${name}`;
export const vhostAddress = (name) => url`/vhosts/${name}`;
export const userAddress = (name) => url`/users/${name}`;

export const exchangeLink = (vhost, name) => h('a', { href: exchangeAddress(vhost, name) }, exchangeName(name));
export const queueLink = (vhost, name) => h('a', { href: queueAddress(vhost, name) }, name);
export const connectionLink = (name, text = name) => h('a', { href: connectionAddress(name) }, text);

/** Arguments of a binding or an object in one line: `x-match=all, type=invoice`. */
export function argumentsText(table) {
  const text = (value) => (typeof value === 'object' ? JSON.stringify(value) : String(value));
  return Object.entries(table ?? {}).map(([key, value]) => `${key}=${text(value)}`).join(', ');
}

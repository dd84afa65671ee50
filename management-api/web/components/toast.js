// Short words that something was done; they go by themselves. Errors are no toasts: they stand where they happened.

import { h } from '../core/dom.js';

/** How long a toast stays, in milliseconds. */
const STAYS = 5000;

const region = h('div.toasts', { role: 'status', 'aria-live': 'polite' });

/** Says that something was done. */
export function toast(text) {
  if (!region.isConnected) document.body.append(region);
  const element = h('div.toast', text);
  region.append(element);
  setTimeout(() => element.remove(), STAYS);
}

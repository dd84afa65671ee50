// Who is logged in, and what the user's tags allow. This only decides what is shown: the broker decides what is done.

import { api } from './api.js';

/** Name, tags, and what does not change while the broker runs (`node`, `product_version`, `started_at`); null before. */
export let user = null;

/** Asks who is logged in. Throws a 401 if nobody is. */
export async function find() {
  user = await api.get('/leveret/session');
  return user;
}

/** Logs in; the browser keeps the cookie. */
export async function logIn(name, password) {
  user = await api.post('/leveret/session', { user: name, password });
  return user;
}

/** Logs out here and at the broker. */
export async function logOut() {
  user = null;
  await api.delete('/leveret/session');
}

const IMPLIED = {
  management: ['management', 'policymaker', 'monitoring', 'administrator'],
  policymaker: ['policymaker', 'administrator'],
  monitoring: ['monitoring', 'administrator'],
  administrator: ['administrator'],
};

/** Whether the user has a tag, or one that includes it. Without a tag it is whether anybody is logged in. */
export const may = (tag = 'management') => user !== null && IMPLIED[tag].some((it) => user.tags.includes(it));

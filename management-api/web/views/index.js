// All views, in the order of the menu. The first whose `path` matches the address is shown.

import channels from './channels.js';
import connection from './connection.js';
import connections from './connections.js';
import consumers from './consumers.js';
import definitions from './definitions.js';
import events from './events.js';
import exchange from './exchange.js';
import exchanges from './exchanges.js';
import limits from './limits.js';
import policies from './policies.js';
import overview from './overview.js';
import queue from './queue.js';
import queues from './queues.js';
import user from './user.js';
import users from './users.js';
import vhost from './vhost.js';
import vhosts from './vhosts.js';

export const views = [
  overview,
  queues,
  queue,
  exchanges,
  exchange,
  connections,
  connection,
  channels,
  consumers,
  vhosts,
  vhost,
  users,
  user,
  policies,
  limits,
  definitions,
  events,
];

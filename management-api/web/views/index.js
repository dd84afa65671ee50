// All views, in the order of the menu. The first whose `path` matches the address is shown.

import queues from './queues.js';

export const views = [
  queues,
];

// Limits of virtual hosts and users: what they are called, and a form for them.

import { openForm } from './dialog.js';
import { number } from '../core/format.js';

/** The limits by whom they are for: name, label, what it limits. */
export const LIMITS = {
  vhost: [['max-connections', 'Connections'], ['max-queues', 'Queues']],
  user: [['max-connections', 'Connections'], ['max-channels', 'Channels']],
};

/** A limit in words; less than zero is none, as with RabbitMQ. */
export const limitText = (value) => (value === undefined || value === null || value < 0 ? 'no limit' : value === 0 ? 'none allowed' : `at most ${number(value)}`);

/**
 * Asks for the limits of a vhost or user and sets them; an empty field clears. `kind` is vhost or user, `path` the API's
 * path of its limits (`/vhost-limits/x`), `known` those that there are.
 */
export function changeLimits(ctx, { kind, name, path, known }) {
  return openForm({
    title: `Limits of ${name}`,
    doing: 'Not all limits were changed.',
    fields: LIMITS[kind].map(([limit, label]) => ({ name: limit, label, type: 'number', min: 0, step: 1, value: known[limit] ?? '', hint: 'Empty for no limit, 0 for none at all' })),
    submit: async (values) => {
      for (const [limit, value] of Object.entries(values)) {
        if (value === null && limit in known) await ctx.api.delete(`${path}/${limit}`);
        else if (value !== null && value !== known[limit]) await ctx.api.put(`${path}/${limit}`, { value });
      }
    },
  });
}

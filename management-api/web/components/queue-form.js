// Declaring a queue: the arguments that are wanted most have fields of their own, all others fit in as JSON.

import { url } from '../core/api.js';
import { openForm } from './dialog.js';
import { toast } from './toast.js';

const NUMBERS = [
  ['x-message-ttl', 'Time to live of messages', 'Milliseconds'],
  ['x-expires', 'Delete when unused for', 'Milliseconds'],
  ['x-max-length', 'Longest length', 'Messages'],
  ['x-max-length-bytes', 'Most bytes', 'Bytes of bodies'],
  ['x-delivery-limit', 'Delivery limit', 'Failures before it is dropped or dead-lettered'],
  ['x-max-priority', 'Priorities', 'Highest priority, 1 to 255'],
];

/** Asks for everything, declares the queue, and resolves to true when it is there. */
export function declareQueue(ctx, { vhosts, vhost }) {
  return openForm({
    title: 'Declare a queue',
    wide: true,
    doing: 'The queue was not declared.',
    submitLabel: 'Declare',
    fields: [
      vhosts.length > 1 && { name: 'vhost', label: 'Virtual host', type: 'select', options: vhosts, value: vhost || vhosts[0] },
      { name: 'name', label: 'Name', required: true },
      { name: 'type', label: 'Type', type: 'select', options: [['', 'default of the virtual host'], 'classic', 'quorum'] },
      { name: 'durable', label: 'Durable: it is there again after a restart', type: 'checkbox', value: true },
      { name: 'auto_delete', label: 'Auto-delete: it goes with its last consumer', type: 'checkbox' },
      ...NUMBERS.map(([name, label, hint]) => ({ name, label, hint, type: 'number', min: 0 })),
      { name: 'x-dead-letter-exchange', label: 'Dead-letter exchange' },
      { name: 'x-dead-letter-routing-key', label: 'Dead-letter routing key' },
      { name: 'x-overflow', label: 'When it is full', type: 'select', options: [['', 'drop the oldest message'], ['reject-publish', 'refuse publishes'], ['reject-publish-dlx', 'refuse publishes, dead-letter them']] },
      { name: 'x-single-active-consumer', label: 'Single active consumer', type: 'checkbox' },
      { name: 'more', label: 'Further arguments', type: 'json', rows: 3, placeholder: '{"x-consumer-timeout": 60000}', hint: 'A JSON object; it counts more than the fields above.' },
    ],
    submit: async (values) => {
      const declared = { durable: values.durable, auto_delete: values.auto_delete, arguments: argumentsOf(values) };
      const of = values.vhost ?? vhosts[0];
      await ctx.api.put(url`/queues/${of}/${values.name}`, declared);
      toast(`Queue ${values.name} declared`);
    },
  });
}

function argumentsOf(values) {
  const given = {};
  if (values.type) given['x-queue-type'] = values.type;
  for (const [name, value] of Object.entries(values)) {
    if (name.startsWith('x-') && value !== '' && value !== null && value !== false) given[name] = value;
  }
  return { ...given, ...values.more };
}

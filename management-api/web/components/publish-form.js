// Publishing one message by hand, to an exchange or straight into a queue.

import { url } from '../core/api.js';
import { h } from '../core/dom.js';
import { form } from './form.js';
import { notice } from './notice.js';

const TEXTS = [
  ['content_type', 'Content type'], ['correlation_id', 'Correlation id'], ['reply_to', 'Reply to'], ['message_id', 'Message id'],
  ['type', 'Type'], ['app_id', 'App id'], ['expiration', 'Expiration (ms)'],
];

/**
 * The form. `exchange` is a name, '' for the default one; `routingKey` fills its field, and with `fixed` there is none.
 * `published()` is called after each message.
 */
export function publishForm(ctx, { vhost, exchange, routingKey = '', fixed = false, published = () => {} }) {
  const result = h('div', { role: 'status' });
  const more = h('details.wide', h('summary', 'Properties and headers'));
  const made = form({
    label: 'Publish a message',
    doing: 'The message was not published.',
    submitLabel: 'Publish',
    fields: [
      !fixed && { name: 'routing_key', label: 'Routing key', value: routingKey, wide: true },
      { name: 'payload', label: 'Payload', type: 'textarea', rows: 6 },
      { name: 'persistent', label: 'Persistent', type: 'checkbox', value: true },
      { name: 'base64', label: 'The payload is base64', type: 'checkbox' },
      { name: 'headers', label: 'Headers', type: 'json', rows: 3, placeholder: '{"tenant": "a"}' },
      { name: 'priority', label: 'Priority', type: 'number', min: 0, max: 255 },
      ...TEXTS.map(([name, label]) => ({ name, label })),
    ],
    submit: async (values) => {
      result.replaceChildren();
      const { routed } = await ctx.api.post(url`/exchanges/${vhost}/${exchange || 'amq.default'}/publish`, {
        routing_key: fixed ? routingKey : values.routing_key,
        payload: values.payload,
        payload_encoding: values.base64 ? 'base64' : 'string',
        properties: propertiesOf(values),
      });
      result.replaceChildren(routed ? notice('good', 'Published, and it is safe.') : notice('warning', 'No queue took the message: it is gone.'));
      published();
    },
  });
  // What is rarely wanted is folded away.
  const fields = made.element.querySelector('.fields');
  const folded = h('div.fields');
  for (const name of ['headers', 'priority', ...TEXTS.map(([name]) => name)]) folded.append(fields.querySelector(`[data-field="${name}"]`));
  more.append(folded);
  fields.append(more);
  made.element.append(result);
  return made.element;
}

function propertiesOf(values) {
  const properties = { delivery_mode: values.persistent ? 2 : 1 };
  if (values.priority !== null) properties.priority = values.priority;
  if (Object.keys(values.headers).length) properties.headers = values.headers;
  for (const [name] of TEXTS) if (values[name] !== '') properties[name] = values[name];
  return properties;
}

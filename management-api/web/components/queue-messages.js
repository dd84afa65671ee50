// The messages of a queue: looking at them where they lie, taking them out, and putting one in.

import { url } from '../core/api.js';
import { h, replace } from '../core/dom.js';
import { count, number } from '../core/format.js';
import { confirm } from './dialog.js';
import { form } from './form.js';
import { messageCard } from './message-card.js';
import { filterFields, filterOf } from './message-filter.js';
import { notice } from './notice.js';
import { button, card } from './page.js';
import { publishForm } from './publish-form.js';

/** Bytes of each body that are shown. */
const SHOWN = 100_000;

const isFilter = (name) => filterFields().some((field) => field.name === name);

/** Folds the fields of a filter away in a form; says whether any is used. */
export function foldFilter(element, label = 'Only some of them') {
  const fields = element.querySelector('.fields');
  const folded = h('div.fields');
  for (const field of [...fields.children]) if (isFilter(field.dataset.field)) folded.append(field);
  fields.append(h('details.wide', h('summary', label), folded));
}

export function peekCard(ctx, { vhost, name }) {
  const list = h('div.messages', { 'aria-live': 'polite' });
  const show = async (values, offset) => {
    const found = await ctx.api.post(url`/leveret/queues/${vhost}/${name}/peek`, {
      offset, count: values.count ?? 10, filter: filterOf(values), truncate: SHOWN,
    });
    const { messages, messages_ready: ready, next_offset: next } = found;
    const further = next !== null && button('Next messages', () => made.notices.clear() || show(values, next).catch((error) => made.notices.fail(error)));
    const none = ready === 0 ? 'The queue has no message that is ready.' : 'No message is meant by this.';
    const label = messages.length ? `${count(messages.length, 'message')} of ${number(ready)} ready ones` : none;
    replace(list, h('p.quiet', label), messages.map(messageCard), further && h('div.buttons', further));
  };
  const made = form({
    label: 'Look at messages',
    submitLabel: 'Look',
    fields: [
      { name: 'count', label: 'How many', type: 'number', value: 10, min: 1, max: 1000 },
      { name: 'offset', label: 'After how many', type: 'number', value: 0, min: 0 },
      ...filterFields(),
    ],
    submit: (values) => show(values, values.offset ?? 0),
  });
  foldFilter(made.element);
  return card('Look at messages', [made.element, list], { wide: true, note: 'They stay where they are: nothing is delivered or flagged.' });
}

const MODES = [
  ['ack_requeue_true', 'Put them back (they will be flagged as redelivered)'],
  ['reject_requeue_true', 'Put them back as failed (counts for the delivery limit)'],
  ['ack_requeue_false', 'Remove them'],
  ['reject_requeue_false', 'Reject them (dead-lettered, or gone)'],
];

export function getCard(ctx, { vhost, name, changed }) {
  const list = h('div.messages', { 'aria-live': 'polite' });
  const take = async (values) => {
    const messages = await ctx.api.post(url`/queues/${vhost}/${name}/get`, {
      ackmode: values.ackmode, count: values.count ?? 1, encoding: 'auto', truncate: SHOWN,
    });
    replace(list, messages.length ? messages.map(messageCard) : notice('info', 'The queue is empty.'));
    changed();
  };
  const made = form({
    label: 'Get messages',
    submitLabel: 'Get',
    kind: '',
    fields: [
      { name: 'count', label: 'How many', type: 'number', value: 1, min: 1, max: 1000 },
      { name: 'ackmode', label: 'And then', type: 'select', options: MODES },
    ],
    submit: async (values) => {
      if (!values.ackmode.endsWith('false')) return take(values);
      const what = values.ackmode.startsWith('ack') ? 'They are removed: what is shown then is all that is left of them.' : 'They are dead-lettered if the queue does that, and gone if it does not.';
      await confirm({
        title: 'Take messages out',
        text: [`Up to ${count(values.count ?? 1, 'message')} will be taken out of the queue ${name}.`, what],
        action: 'Take out', name, run: () => take(values),
      });
      return undefined;
    },
  });
  return card('Get messages', [made.element, list], { note: 'As a consumer gets them. To look only, use the above.' });
}

export const publishCard = (ctx, { vhost, name, changed }) =>
  card('Publish a message', publishForm(ctx, { vhost, exchange: '', routingKey: name, fixed: true, published: changed }), { note: 'Straight into this queue, by the default exchange.' });

// Moving messages out of a queue, and sending dead letters back: with a filter, a dry run that only counts, and the
// progress of what is under way.

import { url } from '../core/api.js';
import { h, keyed, replace } from '../core/dom.js';
import { ago, count, number, percent } from '../core/format.js';
import { confirm } from './dialog.js';
import { form } from './form.js';
import { filterFields, filterOf } from './message-filter.js';
import { badge, errorNotice, notice, place } from './notice.js';
import { button, card } from './page.js';
import { foldFilter } from './queue-messages.js';

const GOALS = [
  ['queue', 'back into the queues in which they died'],
  ['by-exchange', 'back to the exchanges that they were published to'],
  ['to-queue', 'into another queue'],
  ['to-exchange', 'to an exchange'],
];

const over = (state) => !['running', 'waiting'].includes(state);

/** The request for what the form says. */
function orderOf(values, vhost, name) {
  const order = { filter: filterOf(values) };
  if (values.limit !== null) order.limit = values.limit;
  if (values.rate !== null) order.rate = values.rate;
  const base = url`/leveret/queues/${vhost}/${name}`;
  switch (values.goal) {
    case 'to-queue': return [`${base}/move`, { ...order, to: { queue: values.to_queue } }];
    case 'to-exchange': {
      const to = { exchange: values.to_exchange, ...(values.to_key ? { routing_key: values.to_key } : {}) };
      return [`${base}/move`, { ...order, to }];
    }
    default: return [`${base}/requeue`, { ...order, by: values.goal === 'queue' ? 'queue' : 'exchange' }];
  }
}

function words(values) {
  switch (values.goal) {
    case 'to-queue': return `into the queue ${values.to_queue}`;
    case 'to-exchange': return `to the exchange ${values.to_exchange}${values.to_key ? ` with the key ${values.to_key}` : ''}`;
    default: return GOALS.find(([goal]) => goal === values.goal)[1];
  }
}

/** What becomes of those that stay. */
function rests(it) {
  return [
    [it.unroutable, 'would reach no queue and stay'], [it.not_dead_lettered, 'never died and stay'], [it.refused, 'were refused and stay'],
  ].filter(([value]) => value > 0).map(([value, text]) => `${number(value)} ${text}`);
}

function dryRunNotice(it) {
  const going = it.dry_run ? it.matched - it.unroutable - it.not_dead_lettered - it.refused : it.moved;
  return notice(going > 0 ? 'good' : 'info', h('b', `${count(Math.max(0, going), 'message')} would be moved. `),
    `${number(it.examined)} looked at, ${number(it.matched)} meant.`, rests(it).map((text) => ` ${text}.`));
}

function targetText(to) {
  if (typeof to === 'string') return to === 'original queue' ? 'to where they died' : 'to their exchanges';
  return to.queue !== undefined ? `into ${to.queue}` : `to exchange ${to.exchange || '(default)'}`;
}

function fillMove(element, it, cancel) {
  const part = it.ready_at_start ? Math.min(1, it.examined / it.ready_at_start) : 1;
  const kinds = { failed: 'bad', done: 'good', finished: 'good', waiting: 'warning', running: 'accent' };
  replace(element,
    h('div.card-head', h('span', h('b', `${number(it.moved)} moved `), targetText(it.to), ' ', badge(it.dry_run ? `dry run, ${it.state}` : it.state, kinds[it.state] ?? '')),
      !over(it.state) && button('Cancel', () => cancel(it.id), { kind: 'quiet' })),
    !over(it.state) && h('progress', { max: 1, value: part, 'aria-label': 'Progress' }),
    h('p.quiet', `${number(it.examined)} of ${number(it.ready_at_start)} looked at (${percent(part)}), ${number(it.matched)} meant`,
      rests(it).map((text) => `, ${text}`), it.reason ? `. ${it.reason}` : '', ' \u2013 by ', it.user, ', ', ago(it.started_at)));
}

/** The card with the form, and the one with what was moved. */
export function moveCards(ctx, { vhost, name, changed, dead = false }) {
  const result = place();
  const list = h('div.stack', h('p.quiet', 'Nothing has been moved since the broker started.'));
  const notices = place();
  const cancel = async (id) => {
    try {
      await ctx.api.delete(url`/leveret/moves/${id}`);
      await live.refresh();
    } catch (error) {
      notices.fail(error);
    }
  };
  const live = ctx.live(2, async () => {
    const all = await ctx.api.get('/leveret/moves');
    const moves = all.filter((it) => it.vhost === vhost && it.queue === name && !it.dry_run).sort((one, other) => other.id - one.id).slice(0, 10);
    if (moves.length) keyed(list, moves, (it) => it.id, () => h('div.move'), (element, it) => fillMove(element, it, cancel));
    if (moves.some((it) => !over(it.state))) changed();
  }, (error) => notices.fail(error));
  const run = async (values) => {
    const [path, order] = orderOf(values, vhost, name);
    await ctx.api.post(path, { ...order, wait_ms: 200 });
    await live.refresh();
    changed();
  };
  const dryRun = button('Count only (dry run)', async () => {
    made.notices.clear();
    result.show(h('p.quiet', 'Counting\u2026'));
    try {
      const [path, order] = orderOf(made.values(), vhost, name);
      let it = await ctx.api.post(path, { ...order, dry_run: true, wait_ms: 5000 });
      while (!over(it.state) && !ctx.signal.aborted) {
        result.show(h('p.quiet', `Counting\u2026 ${number(it.examined)} looked at`));
        await new Promise((resume) => { setTimeout(resume, 500); });
        it = await ctx.api.get(url`/leveret/moves/${it.id}`);
      }
      result.show(it.state === 'failed' ? errorNotice(it.reason) : dryRunNotice(it));
    } catch (error) {
      result.fail(error, 'This cannot be done.');
    }
  });
  const made = form({
    label: 'Move messages',
    submitLabel: 'Move\u2026',
    doing: 'Nothing was moved.',
    extra: [dryRun],
    fields: [
      { name: 'goal', label: 'Where to', type: 'select', options: GOALS, value: dead ? 'queue' : 'to-queue', onchange: () => fit(), wide: true },
      { name: 'to_queue', label: 'Queue' },
      { name: 'to_exchange', label: 'Exchange' },
      { name: 'to_key', label: 'Routing key', hint: 'Empty: each message keeps its own' },
      { name: 'limit', label: 'At most', type: 'number', min: 1, hint: 'Messages; empty for all' },
      { name: 'rate', label: 'Messages per second', type: 'number', min: 1, hint: 'Empty: as fast as possible' },
      ...filterFields(),
    ],
    submit: async (values) => {
      result.clear();
      orderOf(values, vhost, name);
      await confirm({
        title: 'Move messages',
        text: [`The messages of ${name} that are meant go ${words(values)}. Those that no queue would get stay. What was moved stays moved.`,
          'Moving costs no message, unless a queue that it goes to is full and drops its oldest ones.'],
        action: 'Move', kind: 'primary', run: () => run(values),
      });
    },
  });
  foldFilter(made.element);
  const fit = () => {
    const goal = made.inputs.goal.value;
    const hide = (field, unless) => { made.inputs[field].closest('.field').hidden = goal !== unless; };
    hide('to_queue', 'to-queue');
    hide('to_exchange', 'to-exchange');
    hide('to_key', 'to-exchange');
  };
  fit();
  return [
    card('Move or redrive messages', [made.element, result.element], { note: 'Each message is in exactly one queue at any moment, also after a crash.' }),
    card('Moves out of this queue', [notices.element, list]),
  ];
}

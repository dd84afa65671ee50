// One queue: how it is and was, its messages, its consumers and bindings, and where messages can be moved.

import { url } from '../core/api.js';
import { h, keyed, replace, show } from '../core/dom.js';
import { bytes, compact, count, duration, number, rate, time } from '../core/format.js';
import { levels, rangeQuery, rates } from '../core/samples.js';
import { chart } from '../components/chart.js';
import { confirm, openForm } from '../components/dialog.js';
import { inline, tableView } from '../components/json-view.js';
import { badge, notice } from '../components/notice.js';
import { button, card, facts, figure, head, more, tabs } from '../components/page.js';
import { getCard, peekCard, publishCard } from '../components/queue-messages.js';
import { moveCards } from '../components/queue-moves.js';
import { rangePicker } from '../components/range.js';
import { table } from '../components/table.js';
import { toast } from '../components/toast.js';

/** What the charts need of the queue's history. */
const HISTORY = [
  'messages_ready_details', 'messages_unacknowledged_details', 'message_stats.publish_details', 'message_stats.deliver_get_details',
  'message_stats.ack_details', 'message_stats.redeliver_details',
].join();

const SOURCES = { argument: 'accent', policy: 'good', operator_policy: 'warning', default: '' };

function badges(queue) {
  return [
    queue.paused && badge('paused', 'warning', 'Consumers get nothing until it is resumed'),
    badge(queue.type, queue.type === 'classic' ? '' : 'accent'),
    queue.durable ? badge('durable') : badge('transient', '', 'It is gone after a restart'),
    queue.exclusive && badge('exclusive'),
    queue.auto_delete && badge('auto-delete'),
    queue.single_active_consumer_tag && badge('single active consumer'),
  ];
}

/** When the queue will be empty, or how fast it grows, if it goes on as in the last seconds. */
function empties(queue, flow) {
  if (!flow || queue.messages === 0) return '';
  if (flow.drain_estimate_ms !== null) return `empty in ${duration(flow.drain_estimate_ms)}`;
  const growth = flow.in_rate - flow.out_rate;
  return growth > 0 ? `+${rate(growth)}` : '';
}

/** A setting's value, with its unit where it has one. */
function setting(key, value) {
  if (typeof value !== 'number') return inline(value);
  const text = /ttl|expires|timeout/.test(key) ? duration(value) : key.endsWith('bytes') ? bytes(value) : number(value);
  return h('span', { title: String(value) }, text);
}

/** The figures at the top. */
function figures() {
  const all = {
    ready: figure('Ready'), unacked: figure('Unacked'), in: figure('Published'), out: figure('Delivered'),
    consumers: figure('Consumers'), oldest: figure('Oldest message'), bytes: figure('Bytes'),
  };
  const fill = (queue, flow) => {
    const of = (key) => queue.message_stats?.[`${key}_details`]?.rate ?? 0;
    const waits = queue.messages_ready > 0 && queue.consumers === 0;
    all.ready.fill(number(queue.messages_ready), empties(queue, flow));
    all.unacked.fill(number(queue.messages_unacknowledged), queue.messages_delayed ? `${number(queue.messages_delayed)} more wait to be tried again` : '');
    all.in.fill(rate(of('publish')));
    all.out.fill(rate(of('deliver_get')), of('redeliver') > 0 ? `${rate(of('redeliver'))} redelivered` : '');
    all.consumers.fill(number(queue.consumers), waits ? 'Nobody takes the messages' : '', waits ? 'warning' : '');
    all.oldest.fill(queue.oldest_message_age === null ? '\u2013' : duration(queue.oldest_message_age));
    all.bytes.fill(bytes(queue.message_bytes), queue.messages_paged_out ? `${number(queue.messages_paged_out)} on disk only` : `${bytes(queue.memory)} in memory`);
  };
  return { element: h('div.figures', Object.values(all).map((it) => it.element)), fill };
}

function overviewTab(ctx, base) {
  const top = figures();
  const depth = chart({ title: 'Messages', whole: true, format: number, series: [{ key: 'ready', label: 'Ready', color: 2 }, { key: 'unacked', label: 'Unacked', color: 3 }] });
  const flow = chart({ title: 'Rates', format: rate, series: [{ key: 'in', label: 'Published', color: 1 }, { key: 'out', label: 'Delivered', color: 2 }, { key: 'ack', label: 'Acknowledged', color: 3 }, { key: 'again', label: 'Redelivered', color: 6 }] });
  const latency = chart({ title: 'Latency', whole: true, span: true, format: duration, axis: (ms) => duration(ms), series: [{ key: 'wait50', label: 'Wait p50', color: 1 }, { key: 'wait99', label: 'Wait p99', color: 2 }, { key: 'ack50', label: 'To ack p50', color: 3 }, { key: 'ack99', label: 'To ack p99', color: 4 }] });
  const range = rangePicker(ctx, () => history.refresh());
  const configuration = h('tbody');
  const details = h('div');
  const more = card('Details', details);
  let flowing = null;
  const history = ctx.live(2, async () => {
    const kind = range.value();
    const [queue, own] = await Promise.all([
      ctx.api.get(base, { query: { columns: HISTORY, ...rangeQuery(kind, 'lengths', 'msg_rates') } }),
      ctx.api.get(`/leveret${base}`, { query: rangeQuery(kind, 'latency') }),
    ]);
    depth.fill({ ready: levels(queue.messages_ready_details), unacked: levels(queue.messages_unacknowledged_details) });
    flowing = own;
    const stats = queue.message_stats ?? {};
    flow.fill({ in: rates(stats.publish_details), out: rates(stats.deliver_get_details), ack: rates(stats.ack_details), again: rates(stats.redeliver_details) });
    const samples = [...(own.latency_samples ?? [])].reverse();
    const points = (what, part) => samples.map((it) => [it.timestamp, it[what]?.[part] ?? null]);
    latency.fill({ wait50: points('time_in_queue', 'p50_ms'), wait99: points('time_in_queue', 'p99_ms'), ack50: points('publish_to_ack', 'p50_ms'), ack99: points('publish_to_ack', 'p99_ms') });
  });
  const fill = (queue) => {
    top.fill(queue, flowing);
    keyed(configuration, queue.effective_configuration ?? [], (it) => it.key, () => h('tr', h('td.name'), h('td'), h('td')), (row, { key, value, source }) => {
      const said = `${source.replace('_', ' ')} ${queue[source] ?? ''}`.trim();
      [key, setting(key, value), badge(said, SOURCES[source])].forEach((cell, at) => show(row.children[at], cell));
    });
    const lost = queue.undeliverable_dead_letters;
    show(details, facts([
      ['Policy', queue.policy && h('a', { href: `/policies?name=${encodeURIComponent(queue.policy)}` }, queue.policy)],
      ['Operator policy', queue.operator_policy],
      ['Exclusive to', queue.owner_pid_details && h('a', { href: url`/connections/${queue.owner_pid_details.name}` }, queue.owner_pid_details.name)],
      ['Arguments', Object.keys(queue.arguments).length ? tableView(queue.arguments) : null],
      ['Idle since', queue.idle_since && Date.now() - Date.parse(queue.idle_since) > 10_000 ? time(queue.idle_since) : null],
      ['Wait until delivery', queue.time_in_queue && `${duration(queue.time_in_queue.p50_ms)} median, ${duration(queue.time_in_queue.p99_ms)} for 99%`],
      ['Until acknowledged', queue.publish_to_ack && `${duration(queue.publish_to_ack.p50_ms)} median, ${duration(queue.publish_to_ack.p99_ms)} for 99%`],
      ['Dead letters lost', lost && `${number(lost.missing_exchange)} without exchange, ${number(lost.unroutable)} unroutable, ${number(lost.cycles)} in circles`],
    ]));
    more.hidden = !details.querySelector('dt');
  };
  return {
    fill,
    element: h('div.stack', top.element,
      card('History', h('div.grid.charts', depth, flow, latency), { actions: [range.element] }),
      h('div.grid',
        card('Effective configuration', h('div.table-scroll', { tabindex: 0, role: 'region', 'aria-label': 'Effective configuration' },
          h('table', h('thead', h('tr', ['Setting', 'Value', 'Comes from'].map((it) => h('th', { scope: 'col' }, it)))), configuration)),
        { note: 'What is in force, and who said so.' }),
        more)),
  };
}

function consumersTab(ctx, base) {
  const waiting = h('p.quiet');
  const list = table({
    ctx,
    label: 'Consumers',
    every: 2,
    source: async () => {
      const queue = await ctx.api.get(base);
      const open = queue.consumer_details.filter((it) => it.active && it.credit !== 0).length;
      const waits = queue.messages_ready > 0 && queue.oldest_message_age !== null ? `, the oldest for ${duration(queue.oldest_message_age)}` : '';
      show(waiting, `${count(queue.messages_ready, 'message')} behind${waits}. ${number(open)} of ${count(queue.consumers, 'consumer')} could take more now.`);
      return queue.consumer_details;
    },
    rowKey: (it) => `${it.channel_details.name}\n${it.consumer_tag}`,
    searchText: (it) => `${it.consumer_tag} ${it.channel_details.name ?? ''} ${it.channel_details.user ?? ''}`,
    empty: 'Nobody consumes from this queue.',
    columns: [
      { key: 'consumer_tag', label: 'Consumer tag', sort: 'consumer_tag', class: 'name', cell: (it) => it.consumer_tag },
      { key: 'channel', label: 'Channel', wide: true, cell: (it) => (it.channel_details.name ? h('a', { href: url`/channels/${it.channel_details.name}` }, it.channel_details.name) : '') },
      { key: 'user', label: 'User', wide: true, cell: (it) => it.channel_details.user ?? '' },
      { key: 'status', label: 'State', sort: 'activity_status', cell: (it) => badge(it.activity_status.replaceAll('_', ' '), it.active ? 'good' : '') },
      { key: 'unacknowledged', label: 'In hand', align: 'end', sort: 'unacknowledged', title: 'Delivered and not acknowledged', cell: (it) => (it.ack_required ? number(it.unacknowledged) : 'no acks') },
      { key: 'credit', label: 'Credit', align: 'end', sort: (it) => it.credit ?? Infinity, title: 'How many more it may get before it acknowledges', cell: (it) => (it.credit === null ? 'no limit' : it.credit === 0 ? badge('0', 'warning', 'It has to acknowledge first') : number(it.credit)) },
      { key: 'prefetch', label: 'Prefetch', align: 'end', wide: true, sort: 'prefetch_count', cell: (it) => (it.prefetch_count ? number(it.prefetch_count) : 'none') },
      { key: 'exclusive', label: 'Exclusive', wide: true, cell: (it) => (it.exclusive ? 'yes' : '') },
      { key: 'arguments', label: 'Arguments', wide: true, cell: (it) => (Object.keys(it.arguments).length ? inline(it.arguments) : '') },
    ],
  });
  return { element: h('div.stack', waiting, list), fill: () => {} };
}

function bindingsTab(ctx, base, { vhost, name }) {
  const unbind = (binding) => confirm({
    title: 'Unbind',
    text: `Messages of ${binding.source} with this key will not come to ${name} any more. Those that are here stay.`,
    action: 'Unbind', doing: 'It is still bound.',
    run: async () => {
      await ctx.api.delete(url`/bindings/${vhost}/e/${binding.source}/q/${name}/${binding.properties_key}`);
      await list.refresh();
    },
  });
  const bind = async () => {
    const exchanges = await ctx.api.get(url`/exchanges/${vhost}`, { query: { columns: 'name' } }).catch(() => []);
    await openForm({
      title: `Bind ${name}`,
      submitLabel: 'Bind', doing: 'It was not bound.',
      fields: [
        { name: 'source', label: 'From exchange', required: true, suggest: exchanges.map((it) => it.name).filter(Boolean), wide: true },
        { name: 'routing_key', label: 'Routing key', wide: true },
        { name: 'arguments', label: 'Arguments', type: 'json', rows: 3, placeholder: '{"x-match": "any", "tenant": "a"}', hint: 'For headers exchanges' },
      ],
      submit: async ({ source, routing_key: key, arguments: given }) => {
        await ctx.api.post(url`/bindings/${vhost}/e/${source}/q/${name}`, { routing_key: key, arguments: given });
        toast(`Bound to ${source}`);
        list.refresh();
      },
    });
  };
  const list = table({
    ctx,
    label: 'Bindings to this queue',
    source: `${base}/bindings`,
    rowKey: (it) => `${it.source}\n${it.properties_key}`,
    searchText: (it) => `${it.source} ${it.routing_key}`,
    actions: [button('Bind\u2026', bind)],
    columns: [
      { key: 'source', label: 'From exchange', sort: 'source', class: 'name', cell: (it) => (it.source ? h('a', { href: url`/exchanges/${vhost}/${it.source}` }, it.source) : h('span.quiet', '(default exchange)')) },
      { key: 'routing_key', label: 'Routing key', sort: 'routing_key', cell: (it) => h('code', it.routing_key) },
      { key: 'arguments', label: 'Arguments', wide: true, cell: (it) => (Object.keys(it.arguments).length ? inline(it.arguments) : '') },
      { key: 'act', label: h('span.hidden', 'Actions'), align: 'end', cell: (it) => (it.source ? button('Unbind', () => unbind(it), { kind: 'quiet' }) : '') },
    ],
  });
  return { element: list, fill: () => {} };
}

function messagesTab(ctx, params, changed) {
  const given = { ...params, changed };
  return {
    element: h('div.grid.halves', peekCard(ctx, given), publishCard(ctx, given), getCard(ctx, given)),
    fill: () => {},
  };
}

function moveTab(ctx, params, changed, queue) {
  // A queue that nobody declared a dead-letter exchange for may be one that dead letters come to.
  return { element: h('div.grid.halves', moveCards(ctx, { ...params, changed, dead: /dead|dlq|dlx/i.test(queue.name) })), fill: () => {} };
}

/** Buttons for what can be done with the queue as a whole. */
function actions(ctx, base, { vhost, name }, latest, changed) {
  const pause = button('', async () => {
    const paused = latest().paused;
    const run = () => ctx.api.post(`/leveret${base}/${paused ? 'resume' : 'pause'}`).then(changed);
    try {
      if (paused) await run();
      else await confirm({ title: 'Pause deliveries', text: [`Consumers of ${name} stay and get nothing until it is resumed. Publishing goes on, so the queue will grow.`, 'A durable queue stays paused over a restart.'], action: 'Pause', kind: 'primary', run });
    } catch (error) {
      ctx.fail(error);
    }
  });
  const purge = () => confirm({
    title: 'Purge the queue',
    text: [`${count(latest().messages_ready, 'message')} that wait in ${name} will be gone for good, none is dead-lettered.`, 'Those that consumers have and did not acknowledge yet stay.'],
    action: 'Purge', name, doing: 'Nothing was purged.',
    run: async () => {
      await ctx.api.delete(`${base}/contents`);
      toast(`Queue ${name} purged`);
      await changed();
    },
  });
  const remove = () => confirm({
    title: 'Delete the queue',
    text: [`The queue ${name} in the virtual host ${vhost} will be gone, with its bindings and ${count(latest().messages, 'message')}.`, latest().consumers > 0 && `${count(latest().consumers, 'consumer')} will be cancelled.`].filter(Boolean),
    action: 'Delete', name: latest().messages > 0 ? name : null, doing: 'The queue was not deleted.',
    run: async () => {
      await ctx.api.delete(base, latest().messages > 0 ? {} : { query: { 'if-empty': 'true' } });
      toast(`Queue ${name} deleted`);
      ctx.navigate('/queues');
    },
  });
  const element = [pause, more('More', button('Purge\u2026', purge), button('Delete\u2026', remove))];
  return { element, fill: (queue) => show(pause, queue.paused ? 'Resume deliveries' : 'Pause deliveries') };
}

export default {
  path: '/queues/:vhost/:name',
  title: ({ name }) => name,

  async render(ctx) {
    const { params } = ctx;
    const base = url`/queues/${params.vhost}/${params.name}`;
    let queue = await ctx.api.get(base);
    const changed = () => poll.refresh();
    const buttons = actions(ctx, base, params, () => queue, changed);
    const states = h('span');
    const tab = tabs(ctx, 'tab', [['overview', 'Overview'], ['messages', 'Messages'], ['consumers', 'Consumers'], ['bindings', 'Bindings'], ['move', 'Move']], 'Parts of the queue');
    const parts = {
      overview: () => overviewTab(ctx, base),
      messages: () => messagesTab(ctx, params, changed),
      consumers: () => consumersTab(ctx, base),
      bindings: () => bindingsTab(ctx, base, params),
      move: () => moveTab(ctx, params, changed, queue),
    };
    const part = (parts[tab.present] ?? parts.overview)();
    const summary = h('span');
    const fill = () => {
      show(states, h('span.badges', badges(queue)));
      show(summary, tab.present === 'overview' ? '' : `${compact(queue.messages_ready)} ready, ${compact(queue.messages_unacknowledged)} unacknowledged, ${count(queue.consumers, 'consumer')}`);
      buttons.fill(queue);
      part.fill(queue);
    };
    fill();
    const gone = h('div');
    const poll = ctx.live(2, async () => {
      try {
        queue = await ctx.api.get(base);
      } catch (error) {
        if (error.status === 404) replace(gone, notice('warning', 'This queue does not exist any more. ', h('a', { href: '/queues' }, 'To all queues')));
        throw error;
      }
      replace(gone);
      fill();
    }, (error) => error.status !== 404 && ctx.fail(error));
    return [
      head({ title: params.name, crumbs: [['Queues', '/queues'], [params.vhost, `/queues?vhost=${encodeURIComponent(params.vhost)}`]], badges: [states], actions: buttons.element, note: summary }),
      gone, tab.element, part.element,
    ];
  },
};


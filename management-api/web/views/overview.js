// The broker at a glance: what needs attention first, what flows, and how the machine under it is.

import { url } from '../core/api.js';
import { h, keyed, replace, show } from '../core/dom.js';
import { bytes, count, duration, number, percent, rate } from '../core/format.js';
import { levels, rangeQuery, rates } from '../core/samples.js';
import { chart } from '../components/chart.js';
import { badge, notice } from '../components/notice.js';
import { button, card, facts, figure, head } from '../components/page.js';
import { rangePicker } from '../components/range.js';

/** Milliseconds after which a waiting message is worth a word. */
const AGES = [[60_000, '1 minute'], [600_000, '10 minutes'], [3_600_000, '1 hour'], [86_400_000, '1 day']];

const DEATHS = { rejected: 'rejected', expired: 'expired', maxlen: 'too long', delivery_limit: 'failed too often' };

/** How many findings are shown before somebody asks for all. */
const FEW = 8;

/** Everything worth a look, the most urgent first: what it is, and where to go. */
function findings(it) {
  const found = it.alarms.map((resource) => ({
    key: `alarm ${resource}`, kind: 'bad', label: 'alarm', text: resource === 'memory' ? 'The memory limit is reached: publishers are blocked.' : 'The disk is nearly full: publishers are blocked.', href: null,
  }));
  if (it.blocked_publishers > 0) {
    const names = it.blocked_connections.slice(0, 3).map((connection) => connection.user);
    found.push({ key: 'blocked', kind: 'bad', label: 'blocked', text: `${count(it.blocked_publishers, 'publisher')} cannot publish (${[...new Set(names)].join(', ')}).`, href: '/connections?sort=state' });
  }
  for (const queue of it.queues) {
    const reasons = [];
    if (queue.growth_without_consumers > 0) reasons.push(['bad', 'no consumers', `grew by ${number(queue.growth_without_consumers)} in the last minute and nobody consumes`]);
    for (const [reason, dead] of Object.entries(queue.dead_messages)) reasons.push(['bad', 'dead letters', `${number(dead)} died in the last minute (${DEATHS[reason]})`]);
    if (queue.too_old_ms !== null) reasons.push(['warning', 'old', `the oldest message has been waiting for ${duration(queue.too_old_ms)}`]);
    if (queue.paused) reasons.push(['warning', 'paused', 'deliveries are paused']);
    const [kind, label] = reasons[0];
    found.push({
      key: `queue ${queue.vhost}\n${queue.name}`, kind, label, name: queue.name, vhost: queue.vhost, href: url`/queues/${queue.vhost}/${queue.name}`,
      text: `${reasons.map(([, , text]) => text).join('; ')}. ${number(queue.messages_ready)} ready.`,
    });
  }
  return found;
}

function attentionCard(ctx) {
  const list = h('ul.findings');
  const calm = h('div');
  let all = false;
  const age = () => Number(ctx.query.get('older') ?? 600_000);
  const select = h('select', { 'aria-label': 'Messages count as old after', onchange: () => {
    ctx.setQuery({ older: select.value === '600000' ? null : select.value });
    poll.refresh();
  } }, AGES.map(([ms, text]) => h('option', { value: ms, selected: ms === age() }, `old: over ${text}`)));
  const showAll = () => {
    all = true;
    poll.refresh();
  };
  const poll = ctx.live(5, async () => {
    const it = await ctx.api.get('/leveret/attention', { query: { older_than_ms: age() } });
    const found = findings(it);
    const shown = all ? found : found.slice(0, FEW);
    const rest = it.queue_count - it.queues.length;
    keyed(list, shown, (item) => item.key, () => h('li'), (element, item) => {
      const text = [item.name !== undefined && h('b', item.name), item.name !== undefined && item.vhost !== '/' && h('span.quiet', ` in ${item.vhost}`), item.name !== undefined && ' ', item.text];
      const line = h(item.href ? 'a' : 'span', { href: item.href }, badge(item.label, item.kind), h('span', text));
      if (!element.firstChild?.isEqualNode(line)) replace(element, line);
    });
    list.hidden = !found.length;
    if (shown.length < found.length) show(calm, button(`Show all ${number(found.length + rest)}`, showAll, { kind: 'quiet' }));
    else show(calm, found.length ? (rest > 0 ? h('p.quiet', `and ${count(rest, 'more queue')}.`) : '') : notice('good', 'Nothing: no alarm, nobody is blocked, no queue grows without consumers, no message is old, none died lately.'));
  });
  return card('What needs attention', [list, calm], { actions: [select], wide: true });
}

function figures(ctx) {
  const all = {
    ready: figure('Ready', { link: '/queues?sort=messages_ready&sort_reverse=true' }),
    unacked: figure('Unacked', { link: '/queues?sort=messages_unacknowledged&sort_reverse=true' }),
    publish: figure('Published'), deliver: figure('Delivered'), ack: figure('Acked'),
    connections: figure('Connections', { link: '/connections' }), queues: figure('Queues', { link: '/queues' }),
  };
  const fill = (it) => {
    const of = (key) => it.message_stats?.[`${key}_details`]?.rate ?? 0;
    const trend = (details) => (details?.rate ? `${details.rate > 0 ? '+' : ''}${rate(details.rate)}` : '');
    all.ready.fill(number(it.queue_totals?.messages_ready ?? 0), trend(it.queue_totals?.messages_ready_details));
    all.unacked.fill(number(it.queue_totals?.messages_unacknowledged ?? 0), trend(it.queue_totals?.messages_unacknowledged_details));
    const lost = of('drop_unroutable') + of('return_unroutable');
    const confirmed = of('confirm') ? `${rate(of('confirm'))} confirmed` : '';
    all.publish.fill(rate(of('publish')), lost > 0 ? `${rate(lost)} reach no queue` : confirmed, lost > 0 ? 'warning' : '');
    all.deliver.fill(rate(of('deliver_get')), of('redeliver') > 0 ? `${rate(of('redeliver'))} redelivered` : '');
    all.ack.fill(rate(of('ack')));
    all.connections.fill(number(it.object_totals.connections), `${count(it.object_totals.channels, 'channel')}`);
    const consumers = it.object_totals.consumers;
    all.queues.fill(number(it.object_totals.queues), consumers === undefined ? '' : count(consumers, 'consumer'));
  };
  return { element: h('div.figures', Object.values(all).map((it) => it.element)), fill };
}

/** A bar that says how much of a limit is used. */
function bar(name, part, text, bad) {
  return h('div.bar', { class: bad ? 'bad' : '' },
    h('div', h('span', name), h('b', text)),
    h('meter', { min: 0, max: 1, value: Math.min(1, part), 'aria-label': name }));
}

function nodeCard(ctx) {
  const content = h('div.stack');
  ctx.live(5, async () => {
    const [node] = await ctx.api.get('/nodes');
    // The more is free, the better: the bar is full at the limit.
    const free = node.disk_free ? node.disk_free_limit / node.disk_free : 1;
    show(content, h('div.stack',
      bar('Memory', node.mem_limit ? node.mem_used / node.mem_limit : 0, `${bytes(node.mem_used)} of ${bytes(node.mem_limit)}`, node.mem_alarm),
      bar('Disk', free, `${bytes(node.disk_free)} free, ${bytes(node.disk_free_limit)} needed`, node.disk_free_alarm),
      bar('File descriptors', node.fd_used / node.fd_total, `${number(node.fd_used)} of ${number(node.fd_total)}`, node.fd_used > 0.9 * node.fd_total),
      facts([['Node', node.name], ['Up for', duration(node.uptime)], ['Processors', number(node.processors)], ['Process', node.os_pid], ['Data', h('code', node.db_dir)],
        ['Memory alarm', node.mem_alarm ? badge('in effect', 'bad') : badge('none', 'good')], ['Disk alarm', node.disk_free_alarm ? badge('in effect', 'bad') : badge('none', 'good')]])));
  });
  return card('Node', content);
}

/** The time that a share of the syncs needed at most; null without any. */
function quantile(syncs, share) {
  const all = syncs.reduce((sum, it) => sum + it.count, 0);
  let seen = 0;
  for (const { up_to_ms: end, count: these } of syncs) {
    seen += these;
    if (all > 0 && seen >= all * share) return end ?? Infinity;
  }
  return null;
}

function journalCard(ctx) {
  const content = h('div');
  let before = null;
  ctx.live(5, async () => {
    const it = await ctx.api.get('/leveret/journal');
    const syncs = it.syncs ?? [];
    // What happened since the last look, if anything did; else since the start.
    const recent = before ? syncs.map((sync, at) => ({ ...sync, count: sync.count - before[at].count })) : syncs;
    if (recent.some((sync) => sync.count > 0)) before = syncs;
    const shown = recent.some((sync) => sync.count > 0) ? recent : syncs;
    const slow = quantile(shown, 0.99);
    const upTo = (ms) => (ms === null ? '\u2013' : ms === Infinity ? 'over 2.5 s' : `up to ${ms < 1 ? `${ms} ms` : duration(ms)}`);
    const health = slow === null ? badge('idle') : slow > 100 ? badge('slow disk', 'bad', 'Confirms wait for syncs that take over 100 ms') : slow > 25 ? badge('slow at times', 'warning') : badge('healthy', 'good');
    show(content, h('div.stack',
      bar('Memory of waiting messages', it.message_memory_budget ? it.message_memory / it.message_memory_budget : 0, `${bytes(it.message_memory)} of ${bytes(it.message_memory_budget)}`, false),
      facts([
        ['State', health],
        ['Sync, median', it.syncs && upTo(quantile(shown, 0.5))], ['Sync, 99%', it.syncs && upTo(slow)],
        ['On disk', it.bytes !== undefined && `${bytes(it.bytes)}, ${percent(it.bytes ? it.live_bytes / it.bytes : 0)} needed`],
        ['On its way to disk', bytes(it.pending_bytes)], ['Written', it.written_bytes !== undefined && bytes(it.written_bytes)],
        ['Segments', it.segments !== undefined && number(it.segments)], ['Compactions', it.compactions !== undefined && number(it.compactions)],
        ['Store', `${it.engine}, ${it.durability}`],
      ].filter(([, value]) => value !== false))));
  });
  return card('Journal', content, { note: 'What a confirm of a persistent message waits for.' });
}

function listenersCard(it) {
  const rows = it.listeners.map((listener) => h('tr', h('td.name', listener.protocol), h('td', `${listener.ip_address}:${listener.port}`), h('td', listener.tls ? badge('TLS', 'good') : '')));
  const heads = ['Protocol', 'Address', ''].map((text) => h(text ? 'th' : 'td', { scope: text ? 'col' : null }, text));
  return card('Listeners', h('div.table-scroll', { tabindex: 0, role: 'region', 'aria-label': 'Listeners' }, h('table', h('thead', h('tr', heads)), h('tbody', rows))));
}

export default {
  path: '/',
  title: 'Overview',
  menu: 'Overview',

  async render(ctx) {
    const monitor = ctx.may('monitoring');
    const top = figures(ctx);
    const queued = chart({ title: 'Queued messages', whole: true, format: number, series: [{ key: 'ready', label: 'Ready', color: 2 }, { key: 'unacked', label: 'Unacked', color: 3 }] });
    const flow = chart({ title: 'Message rates', format: rate, series: [{ key: 'publish', label: 'Published', color: 1 }, { key: 'deliver', label: 'Delivered', color: 2 }, { key: 'ack', label: 'Acknowledged', color: 3 }, { key: 'lost', label: 'Unroutable', color: 6 }] });
    const memory = monitor && chart({ title: 'Memory', binary: true, format: bytes, axis: bytes, series: [{ key: 'used', label: 'Used', color: 4 }] });
    const churn = monitor && chart({ title: 'Connections opened and closed', format: rate, series: [{ key: 'opened', label: 'Opened', color: 1 }, { key: 'closed', label: 'Closed', color: 6 }] });
    const range = rangePicker(ctx, () => poll.refresh());
    const fill = (it) => {
      top.fill(it);
      const stats = it.message_stats ?? {};
      queued.fill({ ready: levels(it.queue_totals?.messages_ready_details), unacked: levels(it.queue_totals?.messages_unacknowledged_details) });
      flow.fill({ publish: rates(stats.publish_details), deliver: rates(stats.deliver_get_details), ack: rates(stats.ack_details), lost: rates(stats.drop_unroutable_details) });
      churn && churn.fill({ opened: rates(it.churn_rates?.connection_created_details), closed: rates(it.churn_rates?.connection_closed_details) });
    };
    const ask = async () => {
      const kind = range.value();
      const [it, nodes] = await Promise.all([
        ctx.api.get('/overview', { query: rangeQuery(kind, 'lengths', 'msg_rates') }),
        monitor ? ctx.api.get('/nodes', { query: { columns: 'mem_used_details', ...rangeQuery(kind, 'node_stats') } }) : null,
      ]);
      fill(it);
      if (nodes) memory.fill({ used: levels(nodes[0].mem_used_details) });
      return it;
    };
    const first = await ask();
    const poll = ctx.live(3, ask);
    return [
      head({ title: 'Overview', note: `${first.cluster_name} \u2013 Leveret ${first.product_version}, as RabbitMQ ${first.rabbitmq_version}` }),
      h('div.stack', attentionCard(ctx), top.element,
        monitor ? card('History', h('div.grid.charts.pairs', flow, queued, memory, churn), { actions: [range.element] })
          : notice('info', 'Each queue, exchange and ', h('a', { href: '/vhosts' }, 'virtual host'), ' has charts; those of the whole broker need the tag monitoring.'),
        monitor && h('div.grid', nodeCard(ctx), journalCard(ctx), first.listeners && listenersCard(first))),
    ];
  },
};

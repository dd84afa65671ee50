// What happened lately, as it happens: logins and refusals, changes with who made them, alarms, failures.

import { h } from '../core/dom.js';
import { time } from '../core/format.js';
import { userAddress, vhostAddress } from '../components/names.js';
import { badge, notice } from '../components/notice.js';
import { head } from '../components/page.js';
import { table } from '../components/table.js';

const KINDS = [
  ['login', 'logins and refusals'], ['user', 'users'], ['permission', 'permissions'], ['policy', 'policies'], ['limit', 'limits'],
  ['vhost', 'virtual hosts'], ['queue', 'queues'], ['exchange', 'exchanges'], ['binding', 'bindings'],
  ['definitions', 'definitions'], ['parameter', 'parameters'], ['connection', 'connections'], ['alarm', 'alarms'], ['node', 'the broker itself'],
];
const SEVERITIES = { warning: 'warning', error: 'bad' };
/** How many events the page keeps. */
const KEPT = 5000;

export default {
  path: '/events',
  title: 'Events',
  menu: 'Events',
  group: 'Administration',
  tag: 'monitoring',

  render(ctx) {
    const missed = h('div');
    const log = new Followed(ctx, () => {
      if (!missed.firstChild) missed.append(notice('warning', 'So much happened that some events are missing here. The log of the broker has all.'));
    });
    const detailsOf = (it) => details(it, ctx.may('administrator'));
    const select = (key, label, options) => {
      const element = h('select', { 'aria-label': label, onchange: () => {
        ctx.setQuery({ [key]: element.value, page: null }, { push: true });
        log.forget();
        list.refresh();
      } }, options.map(([value, text]) => h('option', { value, selected: (ctx.query.get(key) ?? '') === value }, text)));
      return element;
    };
    const kind = select('kind', 'What about', [['', 'Everything'], ...KINDS]);
    const severity = select('severity', 'How bad', [['', 'All'], ['warning', 'Warnings and errors'], ['error', 'Errors']]);
    const list = table({
      ctx,
      label: 'Events',
      searchLabel: 'Search texts and details',
      every: 2,
      source: () => log.more(),
      rowKey: (it) => it.id,
      searchText: (it) => `${it.text} ${Object.values(it.fields).join(' ')}`,
      sort: 'id',
      reverse: true,
      filters: [kind, severity],
      empty: 'Nothing has happened.',
      columns: [
        { key: 'at', label: 'When', sort: 'id', class: 'when', cell: (it) => time(it.at) },
        { key: 'kind', label: 'About', sort: 'kind', wide: true, cell: (it) => it.kind },
        { key: 'text', label: 'What', class: 'what', cell: (it) => h('span', it.severity !== 'info' && [badge(it.severity, SEVERITIES[it.severity]), ' '], it.text, h('span.sub.phone-only', detailsOf(it))) },
        { key: 'by', label: 'By', sort: (it) => it.fields.by ?? it.fields.user ?? '', cell: who },
        { key: 'fields', label: 'Details', wide: true, cell: detailsOf },
      ],
    });
    return [head({ title: 'Events', note: 'Kept in memory since the broker was started, up to 1\u202f000 of each sort. The log has them for good.' }), missed, list];
  },
};

const who = (event) => h('span', event.fields.by ?? event.fields.user ?? '');

function details(event, mayOpenUsers) {
  const shown = Object.entries(event.fields).filter(([name, value]) => name !== 'by' && value !== '' && !(name === 'user' && event.fields.by === undefined));
  return h('span.fields-of', shown.map(([name, value]) => h('span', h('span.quiet', `${name} `), valueOf(name, value, mayOpenUsers))));
}

function valueOf(name, value, mayOpenUsers) {
  if (name === 'vhost') return h('a', { href: vhostAddress(value) }, value);
  if (name === 'user' && mayOpenUsers) return h('a', { href: userAddress(value) }, value);
  return h('span.mono', String(value));
}

/** The events that are known here; asks only for those that came after. */
class Followed {
  #ctx;
  #missed;
  #events = [];
  #next = null;

  constructor(ctx, missed) {
    this.#ctx = ctx;
    this.#missed = missed;
  }

  /** Begins anew, for another filter. */
  forget() {
    this.#events = [];
    this.#next = null;
  }

  async more() {
    const { query } = this.#ctx;
    const filter = { kind: query.get('kind'), severity: query.get('severity'), limit: 1000 };
    const before = this.#next;
    const found = await this.#ctx.api.get('/leveret/events', { query: { ...filter, since: before } });
    // Another filter was chosen meanwhile.
    if (this.#next !== before) return this.#events;
    if (found.missed) this.#missed();
    this.#next = found.next;
    this.#events = [...this.#events, ...found.events].slice(-KEPT);
    return this.#events;
  }
}

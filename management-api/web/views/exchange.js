// One exchange: its rates, its bindings as a graph and as a list, and a message to try.

import { url } from '../core/api.js';
import { append, h } from '../core/dom.js';
import { count, rate } from '../core/format.js';
import { rangeQuery, rates } from '../core/samples.js';
import { bindingGraph } from '../components/binding-graph.js';
import { chart } from '../components/chart.js';
import { confirm } from '../components/dialog.js';
import { form } from '../components/form.js';
import { argumentsText, exchangeLink, exchangeName, exchangePart, queueLink } from '../components/names.js';
import { badge, notice } from '../components/notice.js';
import { button, card, facts, head } from '../components/page.js';
import { rangePicker } from '../components/range.js';
import { table } from '../components/table.js';
import { toast } from '../components/toast.js';
import { tryMessage } from '../components/try-message.js';
import { features } from './exchanges.js';

/** How many bindings are drawn. The list has all. */
const DRAWN = 60;
/** How many exchanges behind this one are asked for their bindings, and how far away they may be. */
const FOLLOWED = 20;
const FARTHEST = 3;

export default {
  path: '/exchanges/:vhost/:name',
  title: ({ name }) => name,

  async render(ctx) {
    const { vhost } = ctx.params;
    const name = ctx.params.name === 'amq.default' ? '' : ctx.params.name;
    const path = url`/exchanges/${vhost}/${exchangePart(name)}`;
    const exchange = await ctx.api.get(path);
    const isDefault = name === '';
    const own = isDefault ? null : await ctx.api.get(url`/leveret/exchanges/${vhost}/${name}`);

    const shown = h('div');
    const bindings = isDefault ? null : new Bindings(ctx, vhost, exchange, own);
    const remove = () => removeExchange(ctx, { vhost, name, path, bindings });
    const fixed = isDefault || name.startsWith('amq.');
    append(shown, head({
      title: exchangeName(name),
      crumbs: [['Exchanges', '/exchanges'], [vhost, `/exchanges?vhost=${encodeURIComponent(vhost)}`]],
      badges: [badge(exchange.type, 'accent'), ...features(exchange)],
      actions: fixed ? [] : [button('Delete', remove, { kind: 'danger' })],
    }));
    const graph = isDefault
      ? h('p', 'Every queue is bound to the default exchange with its own name as the key. These bindings cannot be changed.')
      : bindings.graph();
    append(shown, h('div.stack',
      h('div.split', ratesCard(ctx, path), factsCard(vhost, exchange, own)),
      card('Bindings', graph),
      card('Try a message', tryMessage(ctx, { vhost, exchange: name, internal: exchange.internal, traced: (hits) => bindings?.trace(hits) })),
      bindings?.card()));
    return shown;
  },
};

function ratesCard(ctx, path) {
  const lines = chart({
    title: 'Messages',
    series: [{ key: 'in', label: 'in', color: 1 }, { key: 'out', label: 'out', color: 2 }],
    format: rate,
  });
  const range = rangePicker(ctx, () => watch.refresh());
  const watch = ctx.live(2, async () => {
    const { message_stats: stats } = await ctx.api.get(path, { query: { columns: 'message_stats', ...rangeQuery(range.value(), 'msg_rates') } });
    lines.fill({ in: rates(stats?.publish_in_details), out: rates(stats?.publish_out_details) });
  });
  return card('Rates', lines, { actions: [range.element] });
}

function factsCard(vhost, exchange, own) {
  const sources = { argument: 'argument', policy: 'policy', operator_policy: 'operator policy', default: 'default' };
  const alternate = own?.effective_configuration.find((it) => it.key === 'alternate-exchange');
  const others = Object.entries(exchange.arguments ?? {}).filter(([key]) => key !== 'alternate-exchange');
  return card('Configuration', facts([
    ['Type', exchange.type],
    ['Virtual host', h('a', { href: url`/vhosts/${vhost}` }, vhost)],
    ['Durable', exchange.durable ? 'yes' : 'no, gone after a restart'],
    ['Auto-delete', exchange.auto_delete ? 'yes, goes with its last binding' : 'no'],
    ['Internal', exchange.internal ? 'yes, clients cannot publish to it' : 'no'],
    alternate && ['Alternate exchange', [exchangeLink(vhost, alternate.value), h('span.quiet', ` from ${sources[alternate.source]}`)]],
    exchange.policy && ['Policy', h('a', { href: `/policies?${new URLSearchParams({ vhost, name: exchange.policy })}` }, exchange.policy)],
    ...others.map(([key, value]) => [key, JSON.stringify(value)]),
  ]));
}

/** What would go with the exchange; asked for anew, for the list may be old. */
async function removeExchange(ctx, { vhost, name, path, bindings }) {
  const all = await bindings.all();
  const done = await confirm({
    title: 'Delete the exchange',
    text: [
      h('p', 'The exchange ', h('strong', name), ` in ${vhost} and its ${count(all.length, 'binding')} will be gone. Messages in queues stay.`),
      'Clients that publish to it will have their channels closed.',
    ],
    action: 'Delete the exchange',
    doing: 'The exchange was not deleted.',
    run: () => ctx.api.delete(path),
  });
  if (!done) return;
  toast(`Exchange ${name} deleted`);
  ctx.navigate('/exchanges');
}

/** The bindings of an exchange: graph, list and form, which change together. */
class Bindings {
  #ctx;
  #vhost;
  #exchange;
  #alternate;
  #graph = bindingGraph();
  #note = h('p.quiet');
  #kinds = new Map();
  #drawn = [];
  #hits = null;
  #list;

  constructor(ctx, vhost, exchange, own) {
    this.#ctx = ctx;
    this.#vhost = vhost;
    this.#exchange = exchange;
    this.#alternate = own?.effective_configuration.find((it) => it.key === 'alternate-exchange')?.value;
    this.#kinds.set(exchange.name, exchange.type);
  }

  /** All bindings that begin or end here. */
  async all() {
    const path = (end) => url`/exchanges/${this.#vhost}/${this.#exchange.name}/bindings/` + end;
    const [from, to] = await Promise.all([this.#ctx.api.get(path('source')), this.#ctx.api.get(path('destination'))]);
    return [...from, ...to.filter((it) => it.source !== this.#exchange.name)];
  }

  /** What is drawn. */
  graph() {
    return [this.#graph, this.#note];
  }

  /** The list and the form. */
  card() {
    const { name } = this.#exchange;
    const vhost = this.#vhost;
    const other = (it) => (it.destination_type === 'queue' ? queueLink(vhost, it.destination) : [exchangeLink(vhost, it.destination), ' ', badge('exchange')]);
    this.#list = table({
      ctx: this.#ctx,
      label: `List of bindings of ${name}`,
      searchLabel: 'Search bindings',
      prefix: 'b_',
      every: 10,
      pageSize: 25,
      source: async () => {
        const all = await this.all();
        await this.#draw(all);
        return all;
      },
      rowKey: (it) => [it.source, it.destination_type, it.destination, it.properties_key].join('\n'),
      searchText: (it) => `${it.source} ${it.destination} ${it.routing_key} ${argumentsText(it.arguments)}`,
      sort: 'destination',
      empty: 'Nothing is bound to this exchange: what is published to it reaches no queue.',
      columns: [
        { key: 'source', label: 'From', sort: 'source', cell: (it) => (it.source === name ? h('span.quiet', 'this exchange') : exchangeLink(vhost, it.source)) },
        { key: 'destination', label: 'To', sort: 'destination', class: 'name', cell: (it) => (it.destination_type === 'exchange' && it.destination === name ? h('span.quiet', 'this exchange') : h('span.mixed', other(it))) },
        { key: 'routing_key', label: 'Routing key', sort: 'routing_key', cell: (it) => h('code', it.routing_key) },
        { key: 'arguments', label: 'Arguments', wide: true, cell: (it) => h('span.mono', argumentsText(it.arguments)) },
        { key: 'unbind', label: h('span.hidden', 'Actions'), align: 'end', cell: (it) => button('Unbind', () => this.#unbind(it), { kind: 'quiet', 'aria-label': `Unbind ${it.destination} ${it.routing_key}` }) },
      ],
    });
    return card('All bindings', [this.#list, h('div.bind', h('h3', 'Add a binding'), this.#form())]);
  }

  /** Marks what a message takes; null for nothing. */
  trace(hits) {
    this.#hits = hits;
    this.#show();
  }

  async #draw(all) {
    const drawn = all.slice(0, DRAWN);
    if (this.#alternate) {
      drawn.push({ source: this.#exchange.name, destination_type: 'exchange', destination: this.#alternate, routing_key: '', alternate: true });
    }
    await this.#follow(drawn);
    this.#drawn = drawn;
    this.#note.textContent = all.length > DRAWN ? `The first ${DRAWN} of ${count(all.length, 'binding')} are drawn.` : '';
    this.#show();
  }

  /** Adds what is bound to the exchanges behind this one, as far as there is room. */
  async #follow(drawn) {
    const asked = new Set([this.#exchange.name]);
    let frontier = drawn;
    for (let distance = 1; distance < FARTHEST; distance += 1) {
      const names = [...new Set(frontier.filter((it) => it.destination_type === 'exchange').map((it) => it.destination))];
      const next = names.filter((name) => !asked.has(name)).slice(0, FOLLOWED - asked.size);
      if (!next.length || drawn.length >= DRAWN) break;
      const found = await Promise.all(next.map((name) => this.#behind(name)));
      for (const name of next) asked.add(name);
      frontier = found.flat().slice(0, DRAWN - drawn.length);
      drawn.push(...frontier);
    }
  }

  async #behind(name) {
    const path = url`/exchanges/${this.#vhost}/${name}`;
    try {
      const known = this.#kinds.has(name) ? { type: this.#kinds.get(name) } : this.#ctx.api.get(path, { query: { columns: 'type' } });
      const [exchange, bindings] = await Promise.all([known, this.#ctx.api.get(`${path}/bindings/source`)]);
      this.#kinds.set(name, exchange.type);
      return bindings;
    } catch (error) {
      // It was deleted meanwhile.
      if (error.status === 404) return [];
      throw error;
    }
  }

  #show() {
    this.#graph.hidden = this.#drawn.length === 0;
    if (this.#drawn.length) this.#graph.draw({ vhost: this.#vhost, root: this.#exchange.name, bindings: this.#drawn, kinds: this.#kinds, hits: this.#hits });
  }

  #form() {
    const { name } = this.#exchange;
    const made = form({
      label: 'Add a binding',
      doing: 'The binding was not made.',
      submitLabel: 'Bind',
      kind: '',
      fields: [
        { name: 'direction', label: 'Direction', type: 'select', options: [['q', 'from here to a queue'], ['e', 'from here to an exchange'], ['from', 'from an exchange to here']] },
        { name: 'other', label: 'Queue or exchange', required: true },
        { name: 'routing_key', label: 'Routing key' },
        { name: 'arguments', label: 'Arguments', type: 'json', rows: 1, placeholder: '{"x-match": "all", "type": "invoice"}' },
      ],
      submit: async ({ direction, other, routing_key, arguments: given }) => {
        const path = direction === 'from'
          ? url`/bindings/${this.#vhost}/e/${other}/e/${name}`
          : url`/bindings/${this.#vhost}/e/${name}/${direction}/${other}`;
        await this.#ctx.api.post(path, { routing_key, arguments: given });
        made.inputs.other.value = '';
        made.inputs.routing_key.value = '';
        toast(direction === 'from' ? `Bound to ${other}` : `${other} bound`);
        await this.#list.refresh();
      },
    });
    return made.element;
  }

  async #unbind(binding) {
    const kind = binding.destination_type === 'queue' ? 'q' : 'e';
    const done = await confirm({
      title: 'Unbind',
      text: h('p', h('strong', exchangeName(binding.source)), ' will send no more messages with the key ', h('code', binding.routing_key || '(empty)'), ' to ', h('strong', binding.destination), '. Messages that are there stay.'),
      action: 'Unbind',
      doing: 'The binding is still there.',
      run: () => this.#ctx.api.delete(url`/bindings/${this.#vhost}/e/${binding.source}/${kind}/${binding.destination}/${binding.properties_key}`),
    });
    if (done) await this.#list.refresh();
  }
}


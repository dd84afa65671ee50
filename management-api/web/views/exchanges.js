// All exchanges. The broker searches, sorts and cuts into pages.

import { url } from '../core/api.js';
import { h } from '../core/dom.js';
import { rate } from '../core/format.js';
import { openForm } from '../components/dialog.js';
import { exchangeAddress, exchangeLink } from '../components/names.js';
import { badge } from '../components/notice.js';
import { button, head } from '../components/page.js';
import { table } from '../components/table.js';
import { toast } from '../components/toast.js';
import { vhostFilter } from '../components/vhost-filter.js';

const COLUMNS = [
  'name', 'vhost', 'type', 'durable', 'auto_delete', 'internal', 'policy', 'arguments',
  'message_stats.publish_in_details.rate', 'message_stats.publish_out_details.rate',
].join();

/** What is special about an exchange, in few letters. */
export function features(exchange) {
  const alternate = exchange.arguments?.['alternate-exchange'];
  return [
    !exchange.durable && badge('transient', '', 'It is gone after a restart'),
    exchange.auto_delete && badge('auto-delete', '', 'It goes with its last binding'),
    exchange.internal && badge('internal', '', 'Clients cannot publish to it'),
    alternate && badge(`alternate: ${alternate}`, '', 'Alternate exchange: it gets what no binding matches'),
    exchange.policy && badge(exchange.policy, '', `Policy ${exchange.policy}`),
  ].filter(Boolean);
}

function declareExchange(ctx, { vhosts, vhost }) {
  return openForm({
    title: 'Declare an exchange',
    doing: 'The exchange was not declared.',
    submitLabel: 'Declare',
    wide: true,
    fields: [
      vhosts.length > 1 && { name: 'vhost', label: 'Virtual host', type: 'select', options: vhosts, value: vhost || vhosts[0] },
      { name: 'name', label: 'Name', required: true },
      {
        name: 'type', label: 'Type', type: 'select', value: 'topic', options: [
          ['direct', 'direct: the same key'], ['topic', 'topic: keys by patterns'], ['fanout', 'fanout: every message'],
          ['headers', 'headers: by headers of the message'],
        ],
      },
      { name: 'alternate', label: 'Alternate exchange', hint: 'It gets what no binding matches' },
      { name: 'durable', label: 'Durable: it is there again after a restart', type: 'checkbox', value: true },
      { name: 'auto_delete', label: 'Auto-delete: it goes with its last binding', type: 'checkbox' },
      { name: 'internal', label: 'Internal: only other exchanges send to it', type: 'checkbox' },
      { name: 'more', label: 'Further arguments', type: 'json', rows: 3, hint: 'A JSON object' },
    ],
    submit: async ({ vhost: of = vhosts[0], name, type, alternate, durable, auto_delete, internal, more }) => {
      const given = { ...(alternate && { 'alternate-exchange': alternate }), ...more };
      await ctx.api.put(url`/exchanges/${of}/${name}`, { type, durable, auto_delete, internal, arguments: given });
      toast(`Exchange ${name} declared`);
    },
  });
}

export default {
  path: '/exchanges',
  title: 'Exchanges',
  menu: 'Exchanges',
  group: 'Messages',

  async render(ctx) {
    const vhosts = await vhostFilter(ctx, () => list.refresh());
    const list = table({
      ctx,
      label: 'Exchanges',
      source: () => (vhosts.value() ? url`/exchanges/${vhosts.value()}` : '/exchanges'),
      query: () => ({ columns: COLUMNS }),
      rowKey: (it) => `${it.vhost}\n${it.name}`,
      rowHref: (it) => exchangeAddress(it.vhost, it.name),
      sort: 'name',
      filters: [vhosts.element],
      columns: [
        vhosts.names.length > 1 && { key: 'vhost', label: 'Virtual host', sort: 'vhost', wide: true, cell: (it) => it.vhost },
        { key: 'name', label: 'Name', sort: 'name', class: 'name', cell: (it) => exchangeLink(it.vhost, it.name) },
        { key: 'type', label: 'Type', sort: 'type', cell: (it) => it.type },
        { key: 'features', label: 'Features', wide: true, cell: (it) => h('span.badges', features(it)) },
        { key: 'in', label: 'In', align: 'end', sort: 'message_stats.publish_in_details.rate', title: 'Messages that came in, in a second', cell: (it) => rate(it.message_stats?.publish_in_details?.rate ?? 0) },
        { key: 'out', label: 'Out', align: 'end', sort: 'message_stats.publish_out_details.rate', title: 'Copies that went into queues, in a second', cell: (it) => rate(it.message_stats?.publish_out_details?.rate ?? 0) },
      ].filter(Boolean),
    });
    const declare = async () => {
      if (await declareExchange(ctx, { vhosts: vhosts.names, vhost: vhosts.value() })) list.refresh();
    };
    return [head({ title: 'Exchanges', actions: [button('Declare an exchange', declare, { kind: 'primary' })] }), list];
  },
};

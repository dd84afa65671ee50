// All connections of clients; users without the tag monitoring see their own.

import { url } from '../core/api.js';
import { h } from '../core/dom.js';
import { ago, byteRate, number } from '../core/format.js';
import { connectionAddress } from '../components/names.js';
import { badge } from '../components/notice.js';
import { head } from '../components/page.js';
import { table } from '../components/table.js';
import { vhostFilter } from '../components/vhost-filter.js';

const COLUMNS = [
  'name', 'user_provided_name', 'peer_host', 'peer_port', 'user', 'vhost', 'state', 'channels', 'ssl', 'connected_at', 'client_properties',
  'recv_oct_details.rate', 'send_oct_details.rate',
].join();

const STATES = { running: 'good', blocked: 'bad', blocking: 'warning', flow: 'warning' };

/** A connection's or channel's state as a badge. */
export const stateBadge = (state) => badge(state ?? 'unknown', STATES[state] ?? '');

export default {
  path: '/connections',
  title: 'Connections',
  menu: 'Connections',
  group: 'Clients',

  async render(ctx) {
    const vhosts = await vhostFilter(ctx, () => list.refresh());
    const list = table({
      ctx,
      label: 'Connections',
      source: () => (vhosts.value() ? url`/vhosts/${vhosts.value()}/connections` : '/connections'),
      query: () => ({ columns: COLUMNS }),
      searchLabel: 'Search names and users',
      rowKey: (it) => it.name,
      rowHref: (it) => connectionAddress(it.name),
      sort: 'name',
      dense: true,
      filters: [vhosts.element],
      empty: 'No client is connected.',
      columns: [
        {
          key: 'name', label: 'Connection', sort: 'name', class: 'name', cell: (it) => h('span',
            h('a', { href: connectionAddress(it.name) }, it.user_provided_name || it.name),
            it.user_provided_name && h('span.sub', `${it.peer_host}:${it.peer_port}`)),
        },
        { key: 'user', label: 'User', sort: 'user', cell: (it) => it.user },
        vhosts.names.length > 1 && { key: 'vhost', label: 'Virtual host', sort: 'vhost', wide: true, cell: (it) => it.vhost },
        { key: 'state', label: 'State', sort: 'state', cell: (it) => h('span.badges', stateBadge(it.state), it.ssl && badge('TLS', 'accent')) },
        { key: 'channels', label: 'Channels', align: 'end', sort: 'channels', cell: (it) => number(it.channels) },
        { key: 'client', label: 'Client', wide: true, cell: (it) => [it.client_properties?.product, it.client_properties?.version].filter(Boolean).join(' ') },
        { key: 'from', label: 'From client', align: 'end', wide: true, sort: 'recv_oct_details.rate', cell: (it) => byteRate(it.recv_oct_details?.rate ?? 0) },
        { key: 'to', label: 'To client', align: 'end', wide: true, sort: 'send_oct_details.rate', cell: (it) => byteRate(it.send_oct_details?.rate ?? 0) },
        { key: 'since', label: 'Connected', align: 'end', wide: true, sort: 'connected_at', cell: (it) => ago(it.connected_at) },
      ].filter(Boolean),
    });
    const note = ctx.may('monitoring') ? null : 'These are your own connections. The tag monitoring shows those of all users.';
    return [head({ title: 'Connections', note }), list];
  },
};

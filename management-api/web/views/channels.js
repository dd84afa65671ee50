// All channels: what is published and delivered on each, and what is not answered yet.

import { url } from '../core/api.js';
import { h } from '../core/dom.js';
import { number, rate } from '../core/format.js';
import { connectionLink } from '../components/names.js';
import { badge } from '../components/notice.js';
import { head } from '../components/page.js';
import { table } from '../components/table.js';
import { vhostFilter } from '../components/vhost-filter.js';
import { stateBadge } from './connections.js';

const perSecond = (name) => (it) => rate(it.message_stats?.[`${name}_details`]?.rate ?? 0);
const sortOf = (name) => `message_stats.${name}_details.rate`;

function state(channel) {
  return h('span.badges',
    stateBadge(channel.state),
    channel.confirm && badge('confirms', '', 'The broker confirms each publish'),
    channel.transactional && badge('transactions', '', 'Publishes and acknowledgements are committed together'));
}

/** The columns of a channel that lists of them share; `everything` is for lists that have the room. */
export const channelColumns = ({ everything = false } = {}) => [
  { key: 'state', label: 'State', sort: 'state', wide: true, cell: state },
  { key: 'consumers', label: 'Consumers', align: 'end', sort: 'consumer_count', cell: (it) => number(it.consumer_count) },
  { key: 'prefetch', label: 'Prefetch', align: 'end', wide: true, sort: 'prefetch_count', title: 'The most deliveries that a new consumer holds; 0 is any number', cell: (it) => number(it.prefetch_count) },
  { key: 'unacked', label: 'Unacked', align: 'end', sort: 'messages_unacknowledged', title: 'Deliveries that the client has not answered', cell: (it) => number(it.messages_unacknowledged) },
  { key: 'unconfirmed', label: 'Unconfirmed', align: 'end', wide: true, sort: 'messages_unconfirmed', title: 'Publishes that the broker has not confirmed', cell: (it) => number(it.messages_unconfirmed) },
  { key: 'publish', label: 'Published', align: 'end', sort: sortOf('publish'), cell: perSecond('publish') },
  { key: 'deliver', label: 'Delivered', align: 'end', sort: sortOf('deliver_get'), cell: perSecond('deliver_get') },
  { key: 'ack', label: 'Acked', align: 'end', wide: true, sort: sortOf('ack'), cell: perSecond('ack') },
  everything && { key: 'unroutable', label: 'Unroutable', align: 'end', wide: true, title: 'Publishes that no queue took: returned to the client or dropped', cell: (it) => number((it.message_stats?.return_unroutable ?? 0) + (it.message_stats?.drop_unroutable ?? 0)) },
].filter(Boolean);

export default {
  path: '/channels',
  title: 'Channels',
  menu: 'Channels',
  group: 'Clients',

  async render(ctx) {
    const vhosts = await vhostFilter(ctx, () => list.refresh());
    const list = table({
      ctx,
      label: 'Channels',
      source: () => (vhosts.value() ? url`/vhosts/${vhosts.value()}/channels` : '/channels'),
      rowKey: (it) => it.name,
      sort: 'name',
      dense: true,
      filters: [vhosts.element],
      empty: 'No channel is open.',
      columns: [
        { key: 'name', label: 'Channel', sort: 'name', class: 'name short', cell: (it) => h('span', { title: it.name }, connectionLink(it.connection_details.name, `${it.connection_details.peer_host}:${it.connection_details.peer_port} (${it.number})`)) },
        { key: 'user', label: 'User', sort: 'user', wide: true, cell: (it) => it.user },
        vhosts.names.length > 1 && { key: 'vhost', label: 'Virtual host', sort: 'vhost', wide: true, cell: (it) => it.vhost },
        ...channelColumns(),
      ].filter(Boolean),
    });
    return [head({ title: 'Channels' }), list];
  },
};

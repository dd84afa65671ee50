// All consumers: who reads which queue, and how much at once.

import { url } from '../core/api.js';
import { h } from '../core/dom.js';
import { number } from '../core/format.js';
import { argumentsText, connectionLink, queueLink } from '../components/names.js';
import { badge } from '../components/notice.js';
import { head } from '../components/page.js';
import { table } from '../components/table.js';
import { vhostFilter } from '../components/vhost-filter.js';

function activity(consumer) {
  if (consumer.activity_status === 'single_active') return badge('single active', 'good');
  if (consumer.activity_status === 'waiting') return badge('waiting', '', 'Another consumer of the queue is the single active one');
  return consumer.active ? badge('active', 'good') : badge(consumer.activity_status.replaceAll('_', ' '), 'warning');
}

export default {
  path: '/consumers',
  title: 'Consumers',
  menu: 'Consumers',
  group: 'Clients',

  async render(ctx) {
    const vhosts = await vhostFilter(ctx, () => list.refresh());
    const list = table({
      ctx,
      label: 'Consumers',
      // This list comes as a whole: the API has no pages of it.
      source: () => ctx.api.get(vhosts.value() ? url`/consumers/${vhosts.value()}` : '/consumers'),
      rowKey: (it) => `${it.channel_details.name}\n${it.consumer_tag}`,
      searchText: (it) => `${it.queue.name} ${it.consumer_tag} ${it.channel_details.user}`,
      sort: 'queue.name',
      searchLabel: 'Search queues, tags, users',
      dense: true,
      filters: [vhosts.element],
      empty: 'Nobody consumes: messages stay in their queues until somebody does.',
      columns: [
        { key: 'queue', label: 'Queue', sort: 'queue.name', class: 'name', cell: (it) => queueLink(it.queue.vhost, it.queue.name) },
        vhosts.names.length > 1 && { key: 'vhost', label: 'Virtual host', sort: 'queue.vhost', wide: true, cell: (it) => it.queue.vhost },
        { key: 'tag', label: 'Tag', sort: 'consumer_tag', cell: (it) => h('span.mono', it.consumer_tag) },
        { key: 'state', label: 'State', sort: 'activity_status', cell: activity },
        { key: 'channel', label: 'Channel', sort: 'channel_details.name', wide: true, class: 'short', cell: ({ channel_details: it }) => h('span', { title: it.name }, connectionLink(it.connection_name, `${it.peer_host}:${it.peer_port} (${it.number})`)) },
        { key: 'user', label: 'User', sort: 'channel_details.user', wide: true, cell: (it) => it.channel_details.user },
        { key: 'ack', label: 'Acknowledges', wide: true, sort: 'ack_required', cell: (it) => (it.ack_required ? 'yes' : badge('no', 'warning', 'A message is gone as soon as it was sent')) },
        { key: 'prefetch', label: 'Prefetch', align: 'end', sort: 'prefetch_count', title: 'The most deliveries that it holds; 0 is any number', cell: (it) => (it.prefetch_count === 0 ? 'any' : number(it.prefetch_count)) },
        { key: 'features', label: 'Features', wide: true, cell: (it) => h('span.badges', it.exclusive && badge('exclusive'), argumentsText(it.arguments)) },
      ].filter(Boolean),
    });
    return [head({ title: 'Consumers' }), list];
  },
};

// All queues. The broker searches, sorts and cuts into pages, so the list may be of any length.

import { url } from '../core/api.js';
import { h } from '../core/dom.js';
import { bytes, duration, number, rate } from '../core/format.js';
import { badge } from '../components/notice.js';
import { button, head } from '../components/page.js';
import { declareQueue } from '../components/queue-form.js';
import { table } from '../components/table.js';
import { vhostFilter } from '../components/vhost-filter.js';

/** The fields that the list shows; everything else stays with the broker. */
const COLUMNS = [
  'name', 'vhost', 'type', 'durable', 'exclusive', 'auto_delete', 'policy', 'paused', 'arguments', 'messages', 'messages_ready',
  'messages_unacknowledged', 'consumers', 'message_bytes', 'oldest_message_age', 'message_stats.publish_details.rate',
  'message_stats.deliver_get_details.rate',
].join();

const address = (queue) => url`/queues/${queue.vhost}/${queue.name}`;

/** What is special about a queue, in few letters. */
function features(queue) {
  return h('span.badges',
    queue.type !== 'classic' && badge(queue.type, 'accent'),
    !queue.durable && badge('transient', '', 'It is gone after a restart'),
    queue.exclusive && badge('exclusive'),
    queue.auto_delete && badge('auto-delete'),
    queue.policy && badge(queue.policy, '', `Policy ${queue.policy}`));
}

export default {
  path: '/queues',
  title: 'Queues',
  menu: 'Queues',
  group: 'Messages',

  async render(ctx) {
    const vhosts = await vhostFilter(ctx, () => list.refresh());
    const several = vhosts.names.length > 1;
    const list = table({
      ctx,
      label: 'Queues',
      source: () => (vhosts.value() ? url`/queues/${vhosts.value()}` : '/queues'),
      query: () => ({ columns: COLUMNS }),
      rowKey: (queue) => `${queue.vhost}\n${queue.name}`,
      rowHref: address,
      sort: 'name',
      dense: true,
      filters: [vhosts.element],
      empty: 'There is no queue yet. A client declares one, or the button above does.',
      columns: [
        several && { key: 'vhost', label: 'Virtual host', sort: 'vhost', cell: (queue) => queue.vhost, wide: true },
        { key: 'name', label: 'Name', sort: 'name', class: 'name', cell: (queue) => h('span', h('a', { href: address(queue) }, queue.name), several && h('span.sub.phone-only', queue.vhost)) },
        { key: 'features', label: 'Features', cell: features, wide: true },
        { key: 'messages_ready', label: 'Ready', align: 'end', sort: 'messages_ready', cell: (queue) => number(queue.messages_ready) },
        { key: 'messages_unacknowledged', label: 'Unacked', align: 'end', wide: true, sort: 'messages_unacknowledged', cell: (queue) => number(queue.messages_unacknowledged) },
        { key: 'in', label: 'In', align: 'end', wide: true, sort: 'message_stats.publish_details.rate', title: 'Messages published in a second', cell: (queue) => rate(queue.message_stats?.publish_details?.rate ?? 0) },
        { key: 'out', label: 'Out', align: 'end', wide: true, sort: 'message_stats.deliver_get_details.rate', title: 'Messages delivered in a second', cell: (queue) => rate(queue.message_stats?.deliver_get_details?.rate ?? 0) },
        { key: 'consumers', label: 'Consumers', align: 'end', sort: 'consumers', cell: (queue) => number(queue.consumers) },
        { key: 'bytes', label: 'Bytes', align: 'end', wide: true, sort: 'message_bytes_ready', cell: (queue) => bytes(queue.message_bytes) },
        { key: 'age', label: 'Oldest', align: 'end', wide: true, title: 'How long the oldest message has been waiting', cell: (queue) => (queue.oldest_message_age === null ? '' : duration(queue.oldest_message_age)) },
      ].filter(Boolean),
    });
    const declare = async () => {
      if (await declareQueue(ctx, { vhosts: vhosts.names, vhost: vhosts.value() })) list.refresh();
    };
    return [head({ title: 'Queues', actions: [button('Declare a queue', declare, { kind: 'primary' })] }), list];
  },
};

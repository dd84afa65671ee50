// All virtual hosts, and making one.

import { url } from '../core/api.js';
import { h } from '../core/dom.js';
import { number, rate } from '../core/format.js';
import { openForm } from '../components/dialog.js';
import { vhostAddress } from '../components/names.js';
import { badge } from '../components/notice.js';
import { button, head } from '../components/page.js';
import { table } from '../components/table.js';
import { toast } from '../components/toast.js';

/** The fields of what is known of a vhost besides its name. */
export const vhostFields = (vhost = {}) => [
  { name: 'description', label: 'Description', value: vhost.description, wide: true },
  { name: 'tags', label: 'Tags', value: vhost.tags?.join(', '), hint: 'Separated by commas' },
  {
    name: 'default_queue_type', label: 'Default queue type', type: 'select', value: vhost.default_queue_type ?? 'classic',
    options: ['classic', 'quorum'], hint: 'For queues whose declaration does not say',
  },
];

/** What the API wants of these fields. */
export const vhostBody = ({ description, tags, default_queue_type }) =>
  ({ description, default_queue_type, tags: tags.split(',').map((it) => it.trim()).filter(Boolean).join() });

export default {
  path: '/vhosts',
  title: 'Virtual hosts',
  menu: 'Virtual hosts',
  group: 'Administration',

  render(ctx) {
    const list = table({
      ctx,
      label: 'Virtual hosts',
      source: '/vhosts',
      rowKey: (it) => it.name,
      rowHref: (it) => vhostAddress(it.name),
      sort: 'name',
      columns: [
        { key: 'name', label: 'Name', sort: 'name', class: 'name', cell: (it) => h('a', { href: vhostAddress(it.name) }, it.name) },
        { key: 'description', label: 'Description', wide: true, cell: (it) => it.description },
        { key: 'features', label: 'Features', wide: true, cell: (it) => h('span.badges', it.protected_from_deletion && badge('protected', 'accent', 'It cannot be deleted'), it.tags?.map((tag) => badge(tag))) },
        { key: 'type', label: 'Default type', wide: true, sort: 'default_queue_type', cell: (it) => it.default_queue_type ?? 'classic' },
        { key: 'ready', label: 'Ready', align: 'end', sort: 'messages_ready', cell: (it) => number(it.messages_ready) },
        { key: 'unacked', label: 'Unacked', align: 'end', sort: 'messages_unacknowledged', cell: (it) => number(it.messages_unacknowledged) },
        { key: 'in', label: 'In', align: 'end', sort: 'message_stats.publish_details.rate', cell: (it) => rate(it.message_stats?.publish_details?.rate ?? 0) },
        { key: 'out', label: 'Out', align: 'end', sort: 'message_stats.deliver_get_details.rate', cell: (it) => rate(it.message_stats?.deliver_get_details?.rate ?? 0) },
      ],
    });
    const add = async () => {
      const done = await openForm({
        title: 'Add a virtual host',
        intro: h('p.quiet', 'Queues and exchanges of one virtual host know nothing of those of another. You get all permissions in it; others need them from you.'),
        doing: 'The virtual host was not made.',
        submitLabel: 'Add',
        fields: [{ name: 'name', label: 'Name', required: true, wide: true }, ...vhostFields()],
        submit: async ({ name, ...values }) => {
          await ctx.api.put(url`/vhosts/${name}`, vhostBody(values));
          toast(`Virtual host ${name} added`);
        },
      });
      if (done) list.refresh();
    };
    const actions = ctx.may('administrator') ? [button('Add a virtual host', add, { kind: 'primary' })] : [];
    return [head({ title: 'Virtual hosts', actions }), list];
  },
};

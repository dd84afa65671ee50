// One virtual host: what is in it, its limits, who may use it, and how to delete it.

import { url } from '../core/api.js';
import { h, replace } from '../core/dom.js';
import { bytes, count, number, rate } from '../core/format.js';
import { rangeQuery, levels, rates } from '../core/samples.js';
import { chart } from '../components/chart.js';
import { confirm, openForm } from '../components/dialog.js';
import { changeLimits, LIMITS, limitText } from '../components/limits.js';
import { badge } from '../components/notice.js';
import { button, card, facts, head, linkButton, more } from '../components/page.js';
import { permissionCards } from '../components/permissions.js';
import { rangePicker } from '../components/range.js';
import { toast } from '../components/toast.js';
import { vhostBody, vhostFields } from './vhosts.js';

export default {
  path: '/vhosts/:name',
  title: ({ name }) => name,

  async render(ctx) {
    const { name } = ctx.params;
    const path = url`/vhosts/${name}`;
    const vhost = await ctx.api.get(path);
    const admin = ctx.may('administrator');
    const actions = [
      linkButton('Queues', `/queues?${new URLSearchParams({ vhost: name })}`),
      linkButton('Exchanges', `/exchanges?${new URLSearchParams({ vhost: name })}`),
      admin && more('More',
        button('Change\u2026', () => change(ctx, vhost, path)),
        button(vhost.protected_from_deletion ? 'Allow deletion' : 'Protect from deletion', () => protect(ctx, vhost, path)),
        button('Delete\u2026', () => remove(ctx, name, path), { kind: 'danger' })),
    ].filter(Boolean);
    const users = admin ? (await ctx.api.get('/users', { query: { columns: 'name' } })).map((it) => it.name) : [];
    return [
      head({
        title: name,
        crumbs: [['Virtual hosts', '/vhosts']],
        badges: [vhost.protected_from_deletion && badge('protected from deletion', 'accent'), ...(vhost.tags ?? []).map((tag) => badge(tag))],
        actions,
        note: vhost.description,
      }),
      h('div.stack',
        h('div.split', charts(ctx, path), await limitsCard(ctx, vhost)),
        admin && permissionCards(ctx, { source: path, fixed: { vhost: name }, others: users })),
    ];
  },
};

function charts(ctx, path) {
  const flow = chart({ title: 'Messages in a second', series: [{ key: 'in', label: 'published', color: 1 }, { key: 'out', label: 'delivered', color: 2 }], format: rate });
  const depth = chart({ title: 'Messages in queues', series: [{ key: 'ready', label: 'ready', color: 3 }, { key: 'unacked', label: 'unacked', color: 4 }], format: number, whole: true });
  const range = rangePicker(ctx, () => watch.refresh());
  const watch = ctx.live(2, async () => {
    const it = await ctx.api.get(path, { query: rangeQuery(range.value(), 'msg_rates', 'lengths') });
    flow.fill({ in: rates(it.message_stats?.publish_details), out: rates(it.message_stats?.deliver_get_details) });
    depth.fill({ ready: levels(it.messages_ready_details), unacked: levels(it.messages_unacknowledged_details) });
  });
  return card('Traffic', h('div.stack', flow, depth), { actions: [range.element] });
}

async function limitsCard(ctx, vhost) {
  const path = url`/vhost-limits/${vhost.name}`;
  const shown = h('div');
  const load = async () => {
    const [found] = await ctx.api.get(path);
    const limits = found?.value ?? {};
    replace(shown, facts([
      ...LIMITS.vhost.map(([limit, label]) => [label, limitText(limits[limit])]),
      ['Default queue type', vhost.default_queue_type ?? 'classic'],
      ['Received from clients', bytes(vhost.recv_oct)],
      ['Sent to clients', bytes(vhost.send_oct)],
    ]));
    return limits;
  };
  let limits = await load();
  const change = async () => {
    if (await changeLimits(ctx, { kind: 'vhost', name: vhost.name, path, known: limits })) limits = await load();
  };
  return card('Limits and settings', shown, { actions: ctx.may('administrator') ? [button('Change limits', change)] : [] });
}

async function change(ctx, vhost, path) {
  const done = await openForm({
    title: `Change ${vhost.name}`,
    doing: 'Nothing was changed.',
    fields: vhostFields(vhost),
    submit: (values) => ctx.api.put(path, vhostBody(values)),
  });
  if (done) ctx.navigate(location.pathname, { replace: true });
}

async function protect(ctx, vhost, path) {
  const wanted = !vhost.protected_from_deletion;
  const done = await confirm({
    title: wanted ? 'Protect from deletion' : 'Allow deletion',
    text: wanted ? 'Nobody can delete this virtual host until the protection is taken off.' : 'It can be deleted again by every administrator.',
    action: wanted ? 'Protect' : 'Allow deletion',
    kind: wanted ? 'primary' : 'danger',
    run: () => ctx.api[wanted ? 'post' : 'delete'](`${path}/deletion/protection`),
  });
  if (done) ctx.navigate(location.pathname, { replace: true });
}

async function remove(ctx, name, path) {
  const page = { query: { page: 1, page_size: 1, columns: 'name' } };
  const [vhost, queues, connections] = await Promise.all([
    ctx.api.get(path), ctx.api.get(url`/queues/${name}`, page), ctx.api.get(`${path}/connections`, page),
  ]);
  const done = await confirm({
    title: 'Delete the virtual host',
    text: [
      h('p', h('strong', name), ' will be gone with ', h('strong', count(queues.total_count, 'queue')), ', ', h('strong', count(vhost.messages ?? 0, 'message')), ', all exchanges, bindings, policies and permissions in it.'),
      `${count(connections.total_count, 'connection')} will be closed. Nothing of it can be brought back.`,
    ],
    name,
    action: 'Delete the virtual host',
    doing: 'The virtual host was not deleted.',
    run: () => ctx.api.delete(path),
  });
  if (!done) return;
  toast(`Virtual host ${name} deleted`);
  ctx.navigate('/vhosts');
}

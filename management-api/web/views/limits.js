// Limits of virtual hosts and users, all in one place.

import { url } from '../core/api.js';
import { h } from '../core/dom.js';
import { changeLimits, LIMITS, limitText } from '../components/limits.js';
import { userAddress, vhostAddress } from '../components/names.js';
import { button, card, head } from '../components/page.js';
import { table } from '../components/table.js';

const rowOf = (event) => event.target.closest('tr').lvRow;

export default {
  path: '/limits',
  title: 'Limits',
  menu: 'Limits',
  group: 'Administration',

  render(ctx) {
    const cards = [limits(ctx, 'vhost', 'Virtual hosts', vhostAddress)];
    if (ctx.may('administrator')) cards.push(limits(ctx, 'user', 'Users', userAddress));
    return [head({ title: 'Limits', note: 'What is there already stays when a limit is lowered; nothing new is let in.' }), h('div.stack', cards)];
  },
};

/** Every vhost or user with its limits. */
function limits(ctx, kind, title, address) {
  const path = kind === 'vhost' ? '/vhost-limits' : '/user-limits';
  const all = async () => {
    const [names, found] = await Promise.all([
      ctx.api.get(kind === 'vhost' ? '/vhosts' : '/users', { query: { columns: 'name' } }), ctx.api.get(path),
    ]);
    const values = new Map(found.map((it) => [it[kind], it.value]));
    return names.map(({ name }) => ({ name, limits: values.get(name) ?? {} }));
  };
  const list = table({
    ctx, label: `Limits: ${title}`, prefix: `${kind}_`, every: 10, source: all, rowKey: (it) => it.name, sort: 'name', pageSize: 25,
    columns: [
      { key: 'name', label: kind === 'vhost' ? 'Virtual host' : 'User', sort: 'name', class: 'name', cell: (it) => h('a', { href: address(it.name) }, it.name) },
      ...LIMITS[kind].map(([limit, label]) => ({
        key: limit, label, align: 'end', sort: (it) => it.limits[limit] ?? Number.MAX_SAFE_INTEGER,
        cell: (it) => (limit in it.limits ? limitText(it.limits[limit]) : h('span.quiet', 'no limit')),
      })),
      ctx.may('administrator') && {
        key: 'actions', label: h('span.hidden', 'Actions'), align: 'end', cell: (it) => button('Change', async (event) => {
          const { name, limits: known } = rowOf(event);
          if (await changeLimits(ctx, { kind, name, path: path + url`/${name}`, known })) list.refresh();
        }, { kind: 'quiet', 'aria-label': `Change limits of ${it.name}` }),
      },
    ].filter(Boolean),
  });
  return card(title, list);
}

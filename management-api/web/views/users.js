// All users of the broker's own database, and making one.

import { url } from '../core/api.js';
import { h } from '../core/dom.js';
import { openForm } from '../components/dialog.js';
import { userAddress } from '../components/names.js';
import { badge } from '../components/notice.js';
import { button, head } from '../components/page.js';
import { table } from '../components/table.js';
import { toast } from '../components/toast.js';

/** The tags that mean something here; others are words for people and token services. */
const TAGS = [
  ['', 'none: applications that only use AMQP'],
  ['management', 'management: see and change what permissions allow'],
  ['policymaker', 'policymaker: the same, and policies'],
  ['monitoring', 'monitoring: see everything'],
  ['administrator', 'administrator: everything'],
];

const KINDS = { administrator: 'warning', monitoring: 'accent', policymaker: 'accent', management: 'good' };

export const tagBadges = (tags) => tags.map((tag) => badge(tag, KINDS[tag] ?? ''));

/** The fields of tags: one of those that mean something, and any others. */
export function tagFields(tags = []) {
  const known = TAGS.map(([tag]) => tag);
  const role = [...known].reverse().find((tag) => tag && tags.includes(tag)) ?? '';
  return [
    { name: 'role', label: 'May use the HTTP API and this page', type: 'select', options: TAGS, value: role, wide: true },
    { name: 'more', label: 'Further tags', value: tags.filter((tag) => tag !== role).join(', '), hint: 'Separated by commas', wide: true },
  ];
}

export const tagsOf = ({ role, more }) => [...new Set([role, ...more.split(',').map((it) => it.trim())])].filter(Boolean).join();

export default {
  path: '/users',
  title: 'Users',
  menu: 'Users',
  group: 'Administration',
  tag: 'administrator',

  async render(ctx) {
    let vhosts = new Map();
    const list = table({
      ctx,
      label: 'Users',
      source: async (values) => {
        const [page, permissions] = await Promise.all([ctx.api.get('/users', { query: values }), ctx.api.get('/permissions')]);
        vhosts = groupBy(permissions);
        return page;
      },
      rowKey: (it) => it.name,
      rowHref: (it) => userAddress(it.name),
      sort: 'name',
      columns: [
        { key: 'name', label: 'Name', sort: 'name', class: 'name', cell: (it) => h('a', { href: userAddress(it.name) }, it.name) },
        { key: 'tags', label: 'Tags', cell: (it) => h('span.badges', tagBadges(it.tags)) },
        { key: 'vhosts', label: 'Virtual hosts', cell: (it) => {
          const names = (vhosts.get(it.name) ?? []).map((permission) => permission.vhost);
          return names.length ? h('span.badges', names.map((name) => badge(name))) : badge('no permissions', it.tags.length ? '' : 'warning', 'This user can use no virtual host');
        } },
        { key: 'password', label: 'Password', wide: true, cell: (it) => (it.password_hash ? 'yes' : badge('none', '', 'This user cannot log in with a password')) },
        { key: 'limits', label: 'Limits', wide: true, cell: (it) => Object.entries(it.limits ?? {}).map(([name, value]) => `${name} ${value}`).join(', ') },
      ],
    });
    const add = async () => {
      const names = (await ctx.api.get('/vhosts', { query: { columns: 'name' } })).map((it) => it.name);
      const done = await openForm({
        title: 'Add a user',
        doing: 'The user was not made.',
        submitLabel: 'Add',
        fields: [
          { name: 'name', label: 'Name', required: true },
          { name: 'password', label: 'Password', type: 'password', autocomplete: 'new-password', hint: 'Empty: no login with a password' },
          ...tagFields(),
          { name: 'vhost', label: 'All permissions in', type: 'select', options: [['', 'no virtual host yet'], ...names], wide: true },
        ],
        submit: async ({ name, password, vhost, ...tags }) => {
          await ctx.api.put(url`/users/${name}`, { tags: tagsOf(tags), ...(password ? { password } : { password_hash: '' }) });
          if (vhost) await ctx.api.put(url`/permissions/${vhost}/${name}`, { configure: '.*', write: '.*', read: '.*' });
          toast(`User ${name} added`);
        },
      });
      if (done) list.refresh();
    };
    return [head({ title: 'Users', actions: [button('Add a user', add, { kind: 'primary' })] }), list];
  },
};

function groupBy(permissions) {
  const groups = new Map();
  for (const it of permissions) groups.set(it.user, [...(groups.get(it.user) ?? []), it]);
  return groups;
}

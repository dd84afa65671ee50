// One user: tags, password, limits, permissions.

import { url } from '../core/api.js';
import { h, replace } from '../core/dom.js';
import { count } from '../core/format.js';
import { confirm, openForm } from '../components/dialog.js';
import { changeLimits, LIMITS, limitText } from '../components/limits.js';
import { button, card, facts, head, more } from '../components/page.js';
import { permissionCards } from '../components/permissions.js';
import { toast } from '../components/toast.js';
import { tagBadges, tagFields, tagsOf } from './users.js';

export default {
  path: '/users/:name',
  title: ({ name }) => name,
  tag: 'administrator',

  async render(ctx) {
    const { name } = ctx.params;
    const path = url`/users/${name}`;
    const [user, vhosts] = await Promise.all([ctx.api.get(path), ctx.api.get('/vhosts', { query: { columns: 'name' } })]);
    const again = (done) => done && ctx.navigate(location.pathname, { replace: true });
    return [
      head({
        title: name,
        crumbs: [['Users', '/users']],
        badges: tagBadges(user.tags),
        actions: [
          button('Change tags', async () => again(await changeTags(ctx, user, path))),
          button('Set password', async () => again(await setPassword(ctx, user, path))),
          more('More',
            user.password_hash && button('Take the password away\u2026', async () => again(await clearPassword(ctx, user, path))),
            button('Close connections\u2026', () => closeConnections(ctx, name)),
            button('Delete\u2026', () => remove(ctx, name, path), { kind: 'danger' })),
        ],
      }),
      h('div.stack',
        h('div.split', card('Login', facts([
          ['Password', user.password_hash ? 'yes' : 'none: no login with a password'],
          user.password_hash && ['Kept as', user.hashing_algorithm],
          ['Page and HTTP API', user.tags.some((it) => ['management', 'policymaker', 'monitoring', 'administrator'].includes(it)) ? 'yes' : 'no: AMQP only'],
        ])), limitsCard(ctx, user)),
        permissionCards(ctx, { source: path, fixed: { user: name }, others: vhosts.map((it) => it.name) })),
    ];
  },
};

function limitsCard(ctx, user) {
  let limits = user.limits ?? {};
  const shown = h('div');
  const show = () => replace(shown, facts(LIMITS.user.map(([limit, label]) => [label, limitText(limits[limit])])));
  show();
  const change = async () => {
    const done = await changeLimits(ctx, { kind: 'user', name: user.name, path: url`/user-limits/${user.name}`, known: limits });
    if (!done) return;
    limits = (await ctx.api.get(url`/users/${user.name}`)).limits ?? {};
    show();
  };
  return card('Limits', shown, { actions: [button('Change limits', change)] });
}

const changeTags = (ctx, user, path) => openForm({
  title: `Tags of ${user.name}`,
  doing: 'The tags are as they were.',
  fields: tagFields(user.tags),
  submit: (values) => ctx.api.put(path, {
    // The password stays.
    password_hash: user.password_hash, hashing_algorithm: user.hashing_algorithm, tags: tagsOf(values),
  }),
});

const setPassword = (ctx, user, path) => openForm({
  title: `Password of ${user.name}`,
  doing: 'The password is as it was.',
  submitLabel: 'Set',
  fields: [
    { name: 'password', label: 'New password', type: 'password', autocomplete: 'new-password', required: true, wide: true },
    { name: 'again', label: 'The same again', type: 'password', autocomplete: 'new-password', required: true, wide: true },
  ],
  submit: async ({ password, again }) => {
    if (password !== again) throw new Error('The two are not the same.');
    await ctx.api.put(path, { password, tags: user.tags.join() });
    toast('Password set. Connections that are open stay open.');
  },
});

const clearPassword = (ctx, user, path) => confirm({
  title: 'Take the password away',
  text: h('p', h('strong', user.name), ' will not be able to log in with a password; certificates and tokens go on working. The password cannot be brought back.'),
  action: 'Take it away',
  run: () => ctx.api.put(path, { password_hash: '', tags: user.tags.join() }),
});

async function closeConnections(ctx, name) {
  const open = await ctx.api.get(url`/connections/username/${name}`);
  const done = await confirm({
    title: 'Close all connections',
    text: h('p', h('strong', count(open.length, 'connection')), ' of ', h('strong', name), ' will be closed. What was delivered and not acknowledged goes back to its queues; exclusive queues go with their messages.'),
    action: 'Close them',
    run: () => ctx.api.delete(url`/connections/username/${name}`),
  });
  if (done) toast('Connections closed');
}

async function remove(ctx, name, path) {
  const open = await ctx.api.get(url`/connections/username/${name}`);
  const done = await confirm({
    title: 'Delete the user',
    text: [
      h('p', h('strong', name), ' will be gone with all permissions and limits.'),
      `${count(open.length, 'connection')} of this user will be closed, and exclusive queues go with their messages.`,
    ],
    action: 'Delete the user',
    doing: 'The user was not deleted.',
    run: () => ctx.api.delete(path),
  });
  if (!done) return;
  toast(`User ${name} deleted`);
  ctx.navigate('/users');
}

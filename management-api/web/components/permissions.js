// Lists of permissions, of a user or in a virtual host, with forms to set and clear them.

import { url } from '../core/api.js';
import { h } from '../core/dom.js';
import { confirm, openForm } from './dialog.js';
import { exchangeName } from './names.js';
import { button, card } from './page.js';
import { table } from './table.js';
import { toast } from './toast.js';

const PATTERN = (value) => (value === '' ? h('span.quiet', 'nothing') : h('code', value));
const ACTIONS = h('span.hidden', 'Actions');

/**
 * Cards of permissions and topic permissions. `source` is the API's path of the one whose permissions they are
 * (`/users/x` or `/vhosts/x`); `fixed` is `{ user }` or `{ vhost }`; `others` are names to choose from for the other one.
 */
export function permissionCards(ctx, { source, fixed, others }) {
  return [permissions(ctx, { source, fixed, others }), topicPermissions(ctx, { source, fixed, others })];
}

const keyOf = (fixed) => ('user' in fixed ? 'vhost' : 'user');
const titleOf = (key) => (key === 'vhost' ? 'Virtual host' : 'User');
const linkTo = (key, name) => h('a', { href: key === 'vhost' ? url`/vhosts/${name}` : url`/users/${name}` }, name);

function otherField(key, others, value) {
  if (value !== undefined) return null;
  return { name: 'other', label: titleOf(key), required: true, wide: true, ...(others.length ? { type: 'select', options: others } : {}) };
}

/** Buttons of a row. They are kept while the row changes, so they ask it what it is now. */
function rowButtons(what, change, clear) {
  const row = (event) => event.target.closest('tr').lvRow;
  return h('span.row-buttons',
    button('Change', (event) => change(row(event)), { kind: 'quiet', 'aria-label': `Change ${what}` }),
    button('Clear', (event) => clear(row(event)), { kind: 'quiet', 'aria-label': `Clear ${what}` }));
}

function permissions(ctx, { source, fixed, others }) {
  const key = keyOf(fixed);
  const pathOf = (name) => {
    const both = { ...fixed, [key]: name };
    return url`/permissions/${both.vhost}/${both.user}`;
  };
  const set = async (known) => {
    const done = await openForm({
      title: known ? `Change the permissions ${key === 'vhost' ? 'in' : 'of'} ${known[key]}` : 'Set permissions',
      intro: h('p.quiet', 'Regular expressions for names of queues and exchanges; an empty one permits nothing, .* everything.'),
      doing: 'The permissions are as they were.',
      fields: [
        otherField(key, others, known?.[key]),
        { name: 'configure', label: 'Configure', value: known?.configure ?? '.*', hint: 'Declare and delete', wide: true },
        { name: 'write', label: 'Write', value: known?.write ?? '.*', hint: 'Publish to exchanges, bind queues', wide: true },
        { name: 'read', label: 'Read', value: known?.read ?? '.*', hint: 'Consume from queues, bind to exchanges', wide: true },
      ],
      submit: ({ other, configure, write, read }) => ctx.api.put(pathOf(known?.[key] ?? other), { configure, write, read }),
    });
    if (done) list.refresh();
  };
  const clear = async (it) => {
    const done = await confirm({
      title: 'Clear permissions',
      text: h('p', 'User ', h('strong', it.user), ' will not be able to use virtual host ', h('strong', it.vhost), ' any more. Connections that are open lose the right to publish and consume.'),
      action: 'Clear permissions',
      doing: 'The permissions are as they were.',
      run: () => ctx.api.delete(pathOf(it[key])),
    });
    if (done) {
      toast('Permissions cleared');
      list.refresh();
    }
  };
  const list = table({
    ctx, label: 'List of permissions', prefix: 'p_', search: false, sort: key, every: 10,
    source: () => ctx.api.get(`${source}/permissions`),
    rowKey: (it) => it[key],
    empty: key === 'vhost' ? 'This user has no permissions and can use no virtual host.' : 'No user has permissions here.',
    columns: [
      { key, label: titleOf(key), sort: key, class: 'name', cell: (it) => linkTo(key, it[key]) },
      { key: 'configure', label: 'Configure', cell: (it) => PATTERN(it.configure) },
      { key: 'write', label: 'Write', cell: (it) => PATTERN(it.write) },
      { key: 'read', label: 'Read', cell: (it) => PATTERN(it.read) },
      { key: 'actions', label: ACTIONS.cloneNode(true), align: 'end', cell: (it) => rowButtons(`permissions: ${it[key]}`, set, clear) },
    ],
  });
  return card('Permissions', list, { wide: true, actions: [button('Set permissions', () => set(null))] });
}

function topicPermissions(ctx, { source, fixed, others }) {
  const key = keyOf(fixed);
  const pathOf = (name) => {
    const both = { ...fixed, [key]: name };
    return url`/topic-permissions/${both.vhost}/${both.user}`;
  };
  const set = async (known) => {
    const done = await openForm({
      title: known ? 'Change topic permissions' : 'Set topic permissions',
      intro: h('p.quiet', 'Regular expressions for routing keys of topic exchanges. Without topic permissions every key is permitted. {username} and {vhost} stand for the names.'),
      doing: 'The topic permissions are as they were.',
      fields: [
        otherField(key, others, known?.[key]),
        !known && { name: 'exchange', label: 'Topic exchange', required: true, wide: true },
        { name: 'write', label: 'Write', value: known?.write ?? '.*', hint: 'Keys to publish with', wide: true },
        { name: 'read', label: 'Read', value: known?.read ?? '.*', hint: 'Keys to bind with', wide: true },
      ],
      submit: ({ other, exchange = known?.exchange, write, read }) => ctx.api.put(pathOf(known?.[key] ?? other), { exchange, write, read }),
    });
    if (done) list.refresh();
  };
  const clear = async (it) => {
    const done = await confirm({
      title: 'Clear topic permissions',
      text: h('p', 'User ', h('strong', it.user), ' will be able to use every routing key with exchange ', h('strong', exchangeName(it.exchange)), ' in ', h('strong', it.vhost), ', as far as the permissions go.'),
      action: 'Clear topic permissions',
      run: () => ctx.api.delete(pathOf(it[key]) + url`/${it.exchange || 'amq.default'}`),
    });
    if (done) list.refresh();
  };
  const list = table({
    ctx, label: 'List of topic permissions', prefix: 't_', search: false, sort: key, every: 10,
    source: () => ctx.api.get(`${source}/topic-permissions`),
    rowKey: (it) => `${it[key]}\n${it.exchange}`,
    empty: 'None: routing keys of topic exchanges are not restricted.',
    columns: [
      { key, label: titleOf(key), sort: key, class: 'name', cell: (it) => linkTo(key, it[key]) },
      { key: 'exchange', label: 'Exchange', sort: 'exchange', cell: (it) => exchangeName(it.exchange) },
      { key: 'write', label: 'Write', cell: (it) => PATTERN(it.write) },
      { key: 'read', label: 'Read', cell: (it) => PATTERN(it.read) },
      { key: 'actions', label: ACTIONS.cloneNode(true), align: 'end', cell: (it) => rowButtons(`topic permissions: ${it[key]} ${it.exchange}`, set, clear) },
    ],
  });
  return card('Topic permissions', list, { wide: true, actions: [button('Set topic permissions', () => set(null))] });
}

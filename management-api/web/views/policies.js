// Policies and operator policies of all virtual hosts.

import { url } from '../core/api.js';
import { h } from '../core/dom.js';
import { count, number } from '../core/format.js';
import { confirm } from '../components/dialog.js';
import { badge } from '../components/notice.js';
import { button, head, tabs } from '../components/page.js';
import { PATHS, setPolicy } from '../components/policy-form.js';
import { table } from '../components/table.js';
import { toast } from '../components/toast.js';
import { vhostFilter } from '../components/vhost-filter.js';

const rowOf = (event) => event.target.closest('tr').lvRow;

function settings(policy) {
  return h('ul.settings', Object.entries(policy.definition).map(([key, value]) =>
    h('li', h('span.quiet', `${key}: `), typeof value === 'string' ? value : JSON.stringify(value))));
}

export default {
  path: '/policies',
  title: 'Policies',
  menu: 'Policies',
  group: 'Administration',

  async render(ctx) {
    const choice = tabs(ctx, 'kind', [['policy', 'Policies'], ['operator', 'Operator policies']], 'Sorts of policies');
    const sort = choice.present === 'operator' ? 'operator' : 'policy';
    const may = ctx.may(sort === 'operator' ? 'administrator' : 'policymaker');
    const vhosts = await vhostFilter(ctx, () => list.refresh());
    const set = async (known) => {
      if (await setPolicy(ctx, { sort, vhosts: vhosts.names, vhost: vhosts.value(), known })) list.refresh();
    };
    const list = table({
      ctx,
      label: sort === 'operator' ? 'Operator policies' : 'Policies',
      source: () => ctx.api.get(PATHS[sort] + (vhosts.value() ? url`/${vhosts.value()}` : '')),
      rowKey: (it) => `${it.vhost}\n${it.name}`,
      searchText: (it) => `${it.name} ${it.pattern}`,
      searchLabel: 'Search names and patterns',
      sort: 'priority',
      reverse: true,
      filters: [vhosts.element],
      empty: sort === 'operator'
        ? 'None. An operator policy sets bounds that no policy and no client can exceed.'
        : 'None. A policy gives settings to all queues or exchanges whose names match a pattern, at any time.',
      columns: [
        vhosts.names.length > 1 && { key: 'vhost', label: 'Virtual host', sort: 'vhost', wide: true, cell: (it) => it.vhost },
        { key: 'name', label: 'Name', sort: 'name', class: 'name', cell: (it) => it.name },
        { key: 'pattern', label: 'Pattern', sort: 'pattern', cell: (it) => h('code', it.pattern) },
        { key: 'for', label: 'For', sort: 'apply-to', wide: true, cell: (it) => badge(it['apply-to'].replace('_', ' ')) },
        { key: 'settings', label: 'Settings', cell: settings },
        { key: 'priority', label: 'Priority', align: 'end', sort: 'priority', wide: true, cell: (it) => number(it.priority) },
        may && {
          key: 'actions', label: h('span.hidden', 'Actions'), align: 'end', cell: (it) => h('span.row-buttons',
            button('Change', (event) => set(rowOf(event)), { kind: 'quiet', 'aria-label': `Change ${it.name}` }),
            button('Delete', async (event) => (await remove(ctx, sort, rowOf(event))) && list.refresh(), { kind: 'quiet', 'aria-label': `Delete ${it.name}` })),
        },
      ].filter(Boolean),
    });
    return [
      head({ title: 'Policies', actions: may ? [button(sort === 'operator' ? 'Add an operator policy' : 'Add a policy', () => set(null), { kind: 'primary' })] : [] }),
      choice.element,
      list,
    ];
  },
};

async function remove(ctx, sort, policy) {
  const { vhost, name, pattern, priority } = policy;
  const body = { name, pattern, 'apply-to': policy['apply-to'], priority, definition: policy.definition, limit: 0 };
  const found = await ctx.api.post('/leveret' + PATHS[sort] + url`/${vhost}/preview`, body).catch(() => null);
  const done = await confirm({
    title: 'Delete the policy',
    text: [
      h('p', h('strong', name), ` in ${vhost} will be gone.`, found && ` It is in force for ${count(found.takes_effect, 'queue or exchange', 'queues and exchanges')}: they get the next policy that matches, or none.`),
      'Limits that no longer hold let queues grow; dead-letter exchanges that are gone let messages be lost.',
    ],
    action: 'Delete the policy',
    doing: 'The policy was not deleted.',
    run: () => ctx.api.delete(PATHS[sort] + url`/${vhost}/${name}`),
  });
  if (done) toast(`Policy ${name} deleted`);
  return done;
}

// The choice of a virtual host above a list; it stands in the address as `vhost`.

import { h } from '../core/dom.js';

/**
 * A select of the vhosts that the user may see, and all of them. `changed()` is called for another choice; `value()` is
 * the present one or ''. Hidden while there is only one.
 */
export async function vhostFilter(ctx, changed) {
  const vhosts = await ctx.api.get('/vhosts', { query: { columns: 'name' } });
  const names = vhosts.map((it) => it.name);
  const value = () => ctx.query.get('vhost') ?? '';
  const select = h('select', { 'aria-label': 'Virtual host', onchange: () => {
    ctx.setQuery({ vhost: select.value, page: null }, { push: true });
    changed();
  } }, h('option', { value: '' }, 'All virtual hosts'), names.map((name) => h('option', { value: name, selected: name === value() }, name)));
  select.hidden = names.length < 2 && !value();
  return { element: select, value, names };
}

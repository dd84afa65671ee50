// `lv-table`: a list with search, order and pages, which are done by the broker where its API can (`page`, `sort`, `name`),
// so that 50,000 queues cost no more than a page. All of it stands in the address. Rows are kept by their keys: what has
// not changed is not touched.

import { h, keyed, replace, show, uniqueId } from '../core/dom.js';
import { number } from '../core/format.js';
import { navigate, setQuery } from '../core/router.js';
import { errorNotice } from './notice.js';

const SIZES = [25, 50, 100, 500];
const TYPING = 250;

/**
 * Options of `setup`:
 * - `ctx`: the view's context; `label`: what the list is, for screen readers;
 * - `columns`: `{ key, label, cell(row), sort, align: 'end', wide, title }`. `cell` gives a text or an element. `sort` is
 *   the field that the API sorts by (or, for a list that comes whole, a function of a row). `wide` columns are left out
 *   on a phone;
 * - `source`: a path below /api, a function that gives one, or `async (query) => rows or page`. An answer that is a list
 *   is searched, sorted and cut into pages here;
 * - `rowKey(row)`, `rowHref(row)`: what a row is known by, and where it leads;
 * - `sort`, `reverse`, `pageSize`: what holds without an address that says so; `every`: seconds between two requests;
 * - `query()`: more keys for the request; `filters`, `actions`: elements for the bar above; `keep`: keys of the address
 *   that belong to the filters;
 * - `dense`: narrow cells, for many columns; `searchLabel`: what the search field says;
 * - `search`: false for none; `searchText(row)` for lists that come whole; `empty`: text or element for an empty list;
 * - `prefix`: before its keys in the address, for views with several tables; `loaded(answer)`: hears of every answer.
 */
class LvTable extends HTMLElement {
  #options;
  #live;
  #body = h('tbody');
  #foot = h('div.table-foot');
  #notices = h('div.notices');
  #headers = new Map();
  #timer = 0;

  setup(options) {
    this.#options = { columns: [], pageSize: 50, every: 5, prefix: '', search: true, filters: [], actions: [], ...options };
    this.classList.toggle('dense', Boolean(options.dense));
    this.#build();
    this.#live = this.#options.ctx.live(this.#options.every, () => this.#load(), (error) => this.#fail(error));
    return this;
  }

  /** Asks again now; resolves when it is shown. */
  refresh() {
    return this.#live?.refresh();
  }

  /** The state in the address. */
  get state() {
    const query = new URLSearchParams(location.search);
    const { prefix, sort = null, reverse = false, pageSize } = this.#options;
    const get = (key) => query.get(prefix + key);
    return {
      name: get('name') ?? '',
      use_regex: get('use_regex') === 'true',
      sort: get('sort') ?? sort,
      sort_reverse: get('sort') ? get('sort_reverse') === 'true' : reverse,
      page: Math.max(1, Number.parseInt(get('page') ?? '1', 10) || 1),
      page_size: SIZES.includes(Number(get('page_size'))) ? Number(get('page_size')) : pageSize,
    };
  }

  /** Changes the state and asks again. A new filter or order begins at the first page. */
  change(changes, { push = true } = {}) {
    const prefixed = Object.entries({ page: null, ...changes }).map(([key, value]) => [this.#options.prefix + key, value]);
    setQuery(Object.fromEntries(prefixed), { push });
    this.classList.add('busy');
    return this.refresh();
  }

  #build() {
    const { label, columns, search, filters, actions } = this.#options;
    const bar = h('div.table-bar', search && this.#searchField(), filters, h('span.space'), actions);
    const heads = columns.map((column) => this.#head(column));
    const table = h('table', h('caption.hidden', label), h('thead', h('tr', heads)), this.#body);
    table.addEventListener('keydown', (event) => this.#key(event));
    this.#body.addEventListener('click', (event) => this.#click(event));
    replace(this.#body, h('tr.empty', h('td', { colspan: columns.length }, 'Loading\u2026')));
    const scroll = h('div.table-scroll', { tabindex: 0, role: 'region', 'aria-label': label }, table);
    this.replaceChildren(...[bar.children.length > 1 ? bar : null, this.#notices, scroll, this.#foot].filter(Boolean));
  }

  #searchField() {
    const { name, use_regex: regex } = this.state;
    const { label, searchLabel = 'Search names' } = this.#options;
    const input = h('input.search', { type: 'search', value: name, placeholder: searchLabel, 'aria-label': searchLabel, autocomplete: 'off', spellcheck: 'false' });
    const box = h('input', { type: 'checkbox', checked: regex, id: uniqueId('regex') });
    const changed = (push) => this.change({ name: input.value, use_regex: box.checked && input.value ? 'true' : null }, { push });
    input.addEventListener('input', () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => changed(false), TYPING);
    });
    box.addEventListener('change', () => changed(true));
    return h('div.search-field', { role: 'search', 'aria-label': `Search: ${label}` }, input, h('label.regex', { for: box.id, title: 'The text is a regular expression' }, box, 'regex'));
  }

  #head(column) {
    const classes = [column.align === 'end' ? 'end' : '', column.wide ? 'wide-only' : ''].join(' ');
    if (!column.sort) return h('th', { scope: 'col', class: classes, title: column.title }, column.label);
    const sort = this.#sortName(column);
    const order = () => {
      const state = this.state;
      const now = state.sort === sort;
      // Numbers are looked for from the largest on.
      const reverse = now ? !state.sort_reverse : column.align === 'end';
      this.change({ sort, sort_reverse: reverse ? 'true' : null });
    };
    const cell = h('th', { scope: 'col', class: classes, title: column.title }, h('button.sort', { type: 'button', onclick: order }, column.label));
    this.#headers.set(sort, cell);
    return cell;
  }

  #sortName(column) {
    return typeof column.sort === 'string' ? column.sort : column.key;
  }

  async #load() {
    const { ctx, source, query } = this.#options;
    const state = this.state;
    const values = {
      page: state.page, page_size: state.page_size, name: state.name, use_regex: state.use_regex ? 'true' : null,
      sort: state.sort, sort_reverse: state.sort_reverse ? 'true' : null, ...query?.(),
    };
    let answer;
    try {
      const path = typeof source === 'function' ? source(values) : source;
      answer = await (typeof path === 'string' ? ctx.api.get(path, { query: values }) : path);
    } catch (error) {
      if (error.error !== 'page_out_of_range') throw error;
      // Fewer than there were.
      setQuery({ [`${this.#options.prefix}page`]: null });
      return this.#load();
    }
    this.#notices.replaceChildren();
    this.classList.remove('busy');
    this.#show(Array.isArray(answer) ? this.#cut(answer, state) : answer, state);
    this.#options.loaded?.(answer);
    return undefined;
  }

  /** What the broker does with long lists, for those that it gives as a whole. */
  #cut(all, state) {
    const { columns, searchText = (row) => row.name ?? '' } = this.#options;
    let rows = all;
    if (state.name) {
      let matches = (text) => text.toLowerCase().includes(state.name.toLowerCase());
      if (state.use_regex) {
        try {
          const pattern = new RegExp(state.name, 'i');
          matches = (text) => pattern.test(text);
        } catch {
          matches = () => false;
        }
      }
      rows = rows.filter((row) => matches(String(searchText(row))));
    }
    const column = columns.find((it) => it.sort && this.#sortName(it) === state.sort);
    if (column) {
      const value = typeof column.sort === 'function' ? column.sort : (row) => column.sort.split('.').reduce((it, part) => it?.[part], row);
      const compare = (one, other) => (typeof one === 'number' && typeof other === 'number'
        ? one - other : String(one ?? '').localeCompare(String(other ?? '')));
      const sign = state.sort_reverse ? -1 : 1;
      rows = [...rows].sort((one, other) => sign * compare(value(one), value(other)));
    }
    const pages = Math.max(1, Math.ceil(rows.length / state.page_size));
    const page = Math.min(state.page, pages);
    return {
      items: rows.slice((page - 1) * state.page_size, page * state.page_size), filtered_count: rows.length,
      total_count: all.length, page, page_count: pages, page_size: state.page_size,
    };
  }

  #fail(error) {
    this.classList.remove('busy');
    this.#notices.replaceChildren(errorNotice(error));
  }

  #show(answer, state) {
    const { columns, rowKey, rowHref, empty = 'There is nothing here.' } = this.#options;
    for (const [sort, cell] of this.#headers) {
      cell.setAttribute('aria-sort', sort !== state.sort ? 'none' : state.sort_reverse ? 'descending' : 'ascending');
    }
    if (answer.items.length === 0) {
      const text = answer.total_count > 0 ? 'Nothing matches.' : empty;
      const row = h('tr.empty', h('td', { colspan: columns.length }, text));
      if (!this.#body.firstElementChild?.isEqualNode(row)) replace(this.#body, row);
    } else {
      const make = () => h('tr', { tabindex: -1 }, columns.map((column) => h('td', {
        class: [column.align === 'end' ? 'end' : '', column.wide ? 'wide-only' : '', column.class ?? ''].join(' '),
      })));
      keyed(this.#body, answer.items, rowKey, make, (element, row) => {
        element.lvRow = row;
        element.lvHref = rowHref?.(row);
        element.classList.toggle('leads', Boolean(element.lvHref));
        columns.forEach((column, at) => show(element.children[at], column.cell(row)));
      });
    }
    this.#showFoot(answer, state);
  }

  #showFoot(answer, state) {
    const { page, page_count: pages, filtered_count: filtered, total_count: total } = answer;
    const first = filtered === 0 ? 0 : (page - 1) * state.page_size + 1;
    const last = Math.min(filtered, page * state.page_size);
    const range = total === 0 ? '' : `${number(first)}\u2013${number(last)} of ${number(filtered)}${filtered < total ? ` (${number(total)} in all)` : ''}`;
    const signature = [range, page, pages, state.page_size].join();
    if (this.#foot.dataset.shown === signature) return;
    this.#foot.dataset.shown = signature;
    const focused = this.#foot.contains(document.activeElement) ? document.activeElement.getAttribute('aria-label') : null;
    const go = (to, text, label) => h('button.quiet', { type: 'button', disabled: to < 1 || to > pages || to === page, 'aria-label': label, onclick: () => this.change({ page: to === 1 ? null : to }) }, text);
    const size = h('select', { 'aria-label': 'Rows of a page', onchange: (event) => this.change({ page_size: event.target.value }) },
      SIZES.map((it) => h('option', { value: it, selected: it === state.page_size }, `${it} rows`)));
    replace(this.#foot, h('span.range', { role: 'status' }, range), h('span.space'),
      pages > 1 && [go(1, '\u00ab', 'First page'), go(page - 1, '\u2039', 'Previous page'), h('span', `Page ${number(page)} of ${number(pages)}`), go(page + 1, '\u203a', 'Next page'), go(pages, '\u00bb', 'Last page')],
      total > SIZES[0] && size);
    if (focused) [...this.#foot.querySelectorAll('[aria-label]')].find((it) => it.getAttribute('aria-label') === focused)?.focus();
  }

  #click(event) {
    const row = event.target.closest('tr');
    if (!row?.lvHref || event.target.closest('a, button, input, label, summary') || String(getSelection())) return;
    navigate(row.lvHref);
  }

  /** Up and down go from row to row, Enter opens one, Page Up and Page Down turn pages. */
  #key(event) {
    const rows = [...this.#body.querySelectorAll('tr:not(.empty)')];
    const at = rows.indexOf(document.activeElement?.closest('tr'));
    const go = (to) => {
      event.preventDefault();
      rows[Math.max(0, Math.min(rows.length - 1, to))]?.focus();
    };
    const turn = (label) => {
      event.preventDefault();
      this.#foot.querySelector(`[aria-label="${label}"]`)?.click();
    };
    switch (event.key) {
      case 'ArrowDown': return go(at + 1);
      case 'ArrowUp': return go(at - 1);
      case 'Home': return at >= 0 && go(0);
      case 'End': return at >= 0 && go(rows.length - 1);
      case 'PageDown': return turn('Next page');
      case 'PageUp': return turn('Previous page');
      case 'Enter':
        if (document.activeElement === rows[at] && rows[at].lvHref) navigate(rows[at].lvHref);
        return undefined;
      default: return undefined;
    }
  }
}
customElements.define('lv-table', LvTable);

/** A table with these options (see `LvTable`). */
export const table = (options) => h('lv-table').setup(options);

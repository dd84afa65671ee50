// The parts that every view is made of: its head with the way back and what can be done, cards, lists of facts, and
// tabs that stand in the address.

import { h } from '../core/dom.js';
import { navigate } from '../core/router.js';

/**
 * The head of a view. `crumbs` are pairs of text and address that lead here, `badges` stand beside the title, `actions`
 * are buttons and links.
 */
export function head({ title, crumbs = [], badges = [], actions = [], note = null }) {
  const trail = crumbs.map(([text, href]) => h('li', h('a', { href }, text)));
  return h('header.head',
    h('div',
      trail.length > 0 && h('nav', { 'aria-label': 'Breadcrumb' }, h('ol.crumbs', trail)),
      h('h1', { tabindex: -1 }, h('span.name', title), badges),
      note && h('p.quiet', note)),
    actions.length > 0 && h('div.actions', actions));
}

/** A card with a title. Options: `actions`, `wide` (all columns of a grid), `level` (of the heading, 2). */
export function card(title, content, { actions = [], wide = false, level = 2, note = null } = {}) {
  return h('section.card', { class: wide ? 'wide' : '' },
    (title || actions.length > 0) && h('div.card-head', title && h(`h${level}`, title), actions.length > 0 && h('div.actions', actions)),
    note && h('p.quiet', note),
    content);
}

/** A list of facts: pairs of a name and a text or element; those whose value is null are left out. */
export function facts(pairs) {
  const shown = pairs.filter((pair) => pair && pair[1] !== null && pair[1] !== undefined);
  return h('dl.facts', shown.map(([name, value]) => h('div', h('dt', name), h('dd', value))));
}

/** A large figure with its name; `link` makes it lead somewhere. `fill(text, note)` changes what it shows. */
export function figure(name, { link = null, accent = null } = {}) {
  const value = h('span.value', '\u2013');
  const note = h('span.note');
  const element = h(link ? 'a.figure' : 'div.figure', { href: link, class: accent ?? '' }, h('span.label', name), value, note);
  return {
    element,
    fill(text, more = '', kind = '') {
      if (value.textContent !== text) value.textContent = text;
      if (note.textContent !== more) note.textContent = more;
      element.dataset.kind = kind;
    },
  };
}

/** A button. `kind` is primary, danger, quiet or nothing. */
export const button = (label, onclick, { kind = '', type = 'button', ...more } = {}) =>
  h('button', { type, onclick, class: kind, ...more }, label);

/** A link that looks like a button. */
export const linkButton = (label, href, { kind = '' } = {}) => h('a.button', { href, class: kind }, label);

/** Tabs as links, the present one by the address: `tabs(ctx, 'tab', [['overview', 'Overview'], ...])`. */
export function tabs(ctx, key, names, label) {
  const present = ctx.query.get(key) ?? names[0][0];
  const links = names.map(([name, text]) => {
    const query = new URLSearchParams();
    if (ctx.query.get('range')) query.set('range', ctx.query.get('range'));
    if (name !== names[0][0]) query.set(key, name);
    const search = query.toString();
    const href = location.pathname + (search && `?${search}`);
    const onclick = (event) => {
      event.preventDefault();
      navigate(href);
    };
    return h('a', { href, onclick, 'aria-current': name === present ? 'page' : null }, text);
  });
  return { element: h('nav.tabs', { 'aria-label': label }, links), present };
}

/** Menu of further actions behind a button, as a native popover-like `details`. */
export function more(label, ...items) {
  const element = h('details.more', h('summary.button', label), h('div.menu', items));
  const close = (event) => { if (!element.contains(event.target)) element.open = false; };
  element.addEventListener('toggle', () => {
    document[element.open ? 'addEventListener' : 'removeEventListener']('click', close);
  });
  element.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    element.open = false;
    element.firstChild.focus();
  });
  element.addEventListener('click', (event) => {
    if (event.target.closest('.menu button, .menu a')) element.open = false;
  });
  return element;
}

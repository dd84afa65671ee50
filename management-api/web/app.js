// The page: log-in, menu, and the view that the address names. Views are in `views/`, one file each; `views/index.js`
// lists them. How to write one stands in ARCHITECTURE.md.

import { api, isAbort, watchers } from './core/api.js';
import { append, h, replace } from './core/dom.js';
import { setUtc, showsUtc, zoneName } from './core/format.js';
import { live } from './core/live.js';
import { match, navigate, setQuery, start } from './core/router.js';
import { find, logOut, may, user } from './core/user.js';
import { errorNotice, place } from './components/notice.js';
import { logInForm } from './views/log-in.js';
import { views } from './views/index.js';

const main = h('main', { id: 'main', tabindex: -1 });
const side = h('nav.side', { 'aria-label': 'Menu', id: 'menu' });
const away = h('div.away', { role: 'alert', hidden: true }, h('strong', 'The broker does not answer.'), ' Trying again\u2026');
let controller = new AbortController();

function shell() {
  const menuButton = h('button.quiet.menu-button', { type: 'button', 'aria-controls': 'menu', 'aria-expanded': 'false', onclick: toggle }, 'Menu');
  function toggle() {
    const open = side.classList.toggle('open');
    menuButton.setAttribute('aria-expanded', String(open));
  }
  window.addEventListener('lv-leave', () => {
    side.classList.remove('open');
    menuButton.setAttribute('aria-expanded', 'false');
  });
  const zone = h('button.quiet.zone', { type: 'button', onclick: () => { setUtc(!showsUtc()); nameZone(); } });
  const nameZone = () => {
    replace(zone, h('span.zone-label', 'Times: '), showsUtc() ? 'UTC' : `local (${zoneName()})`);
    zone.title = showsUtc() ? 'Show times in local time' : 'Show times in UTC';
  };
  nameZone();
  const leave = async () => {
    await logOut().catch(() => {});
    showLogIn();
  };
  const top = h('header.top',
    menuButton,
    h('a.brand', { href: '/' }, h('img', { src: '/icon.svg', alt: '', width: 28, height: 28 }), h('span', 'Leveret'), h('span.node', user.cluster_name)),
    h('span.space'), zone,
    h('span.user', { title: `Tags: ${user.tags.join(', ') || 'none'}` }, user.name),
    h('button.quiet', { type: 'button', onclick: leave }, 'Log out'));
  return [h('a.skip', { href: '#main', onclick: skip }, 'Skip to the content'), away, top, h('div.body', side, main),
    h('footer.foot', `Leveret ${user.product_version} on ${user.node}`, h('span.space'), h('a', { href: '/api/docs' }, 'HTTP API'))];
}

function skip(event) {
  event.preventDefault();
  main.focus();
}

function showMenu() {
  const groups = new Map();
  for (const view of views) {
    if (!view.menu || !may(view.tag)) continue;
    const group = view.group ?? '';
    if (!groups.has(group)) groups.set(group, []);
    // A view of one thing belongs to the list of such things.
    const here = location.pathname === view.path || (view.path !== '/' && location.pathname.startsWith(`${view.path}/`));
    groups.get(group).push(h('li', h('a', { href: view.path, 'aria-current': here ? 'page' : null }, view.menu)));
  }
  replace(side, [...groups].map(([group, items]) => [group && h('h2', group), h('ul', items)]));
}

/** What a view gets: see ARCHITECTURE.md. */
function context(params, signal, notices) {
  const failed = (error) => notices.fail(error);
  const withSignal = (options) => ({ signal, ...options });
  return {
    params,
    signal,
    user,
    may,
    navigate,
    setQuery,
    get query() { return new URLSearchParams(location.search); },
    api: {
      get: (path, options) => api.get(path, withSignal(options)),
      // What was begun is carried out, though nobody looks any more.
      put: api.put,
      post: api.post,
      delete: api.delete,
    },
    fail: failed,
    title: (text) => { document.title = `${text} \u2013 Leveret`; },
    live: (seconds, work, onError = failed) => live(seconds, async () => {
      await work();
      if (onError === failed) notices.clear();
    }, { signal, failed: onError }),
  };
}

function found() {
  for (const view of views) {
    const params = match(view.path, location.pathname);
    if (params) return { view, params };
  }
  return { view: null, params: {} };
}

let first = true;

async function open() {
  controller.abort();
  window.dispatchEvent(new CustomEvent('lv-leave'));
  if (!user) return;
  controller = new AbortController();
  const { signal } = controller;
  const { view, params } = found();
  const notices = place();
  const ctx = context(params, signal, notices);
  showMenu();
  let element;
  let title = 'That did not work';
  try {
    if (!view) element = h('div.blank', h('h1', { tabindex: -1 }, 'Not here'), h('p', 'There is no such page. ', h('a', { href: '/' }, 'To the overview')));
    else if (!may(view.tag)) element = h('div.blank', h('h1', { tabindex: -1 }, 'Not for you'), h('p', `This needs a user with the tag ${view.tag}.`));
    else {
      title = typeof view.title === 'function' ? view.title(params) : view.title;
      ctx.title(title);
      element = await view.render(ctx);
    }
  } catch (error) {
    if (isAbort(error) || signal.aborted) return;
    element = h('div.blank', h('h1', { tabindex: -1 }, title), errorNotice(error));
  }
  if (signal.aborted) return;
  const samePlace = main.dataset.path === location.pathname;
  main.dataset.path = location.pathname;
  replace(main, notices.element, element);
  if (samePlace || first) {
    first = false;
    return;
  }
  // As after the loading of a page: at its top, and screen readers say where one is.
  scrollTo(0, 0);
  main.querySelector('h1')?.focus({ preventScroll: true });
}

function showLogIn(reason = null) {
  controller.abort();
  window.dispatchEvent(new CustomEvent('lv-leave'));
  document.title = 'Log in \u2013 Leveret';
  replace(document.body, away, logInForm({ reason, done: showPage }));
  document.body.className = 'logged-out';
  document.querySelector('input')?.focus();
}

function showPage() {
  document.body.className = '';
  first = true;
  delete main.dataset.path;
  replace(main);
  replace(document.body);
  append(document.body, shell());
  return open();
}

watchers.away = (is) => { if (away.hidden === is) away.hidden = !is; };
watchers.ended = () => {
  if (document.body.classList.contains('logged-out')) return;
  showLogIn('Your session is over. Log in again to go on where you were.');
};

document.addEventListener('keydown', (event) => {
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.target.closest('input, textarea, select, dialog')) return;
  const search = main.querySelector('input[type="search"]');
  if (!search) return;
  event.preventDefault();
  search.focus();
  search.select();
});

start(open);
const begin = () => live(2, async () => {
  if (user) return;
  try {
    await find();
  } catch (error) {
    if (error.status !== 401) throw error;
    showLogIn();
    starting.abort();
    return;
  }
  starting.abort();
  showPage();
}, { signal: starting.signal, failed: (error) => replace(document.body, errorNotice(error)) });
const starting = new AbortController();
document.body.append(away);
begin();

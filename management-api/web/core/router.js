// Addresses of views. `/queues/:vhost/:name` matches the path with any two parts, percent-decoded. The address has all
// of a view's state: filters, order and page stand in its query, so that it can be sent to somebody, and the browser's
// back button does what it says.

const compiled = new Map();

function parse(pattern) {
  if (!compiled.has(pattern)) compiled.set(pattern, pattern.split('/').slice(1));
  return compiled.get(pattern);
}

/** The names in `path` by the keys of `pattern`; null if it does not match. */
export function match(pattern, path) {
  const wanted = parse(pattern);
  const parts = path.replace(/(.)\/$/, '$1').split('/').slice(1);
  if (wanted.length !== parts.length) return null;
  const params = {};
  for (const [at, part] of parts.entries()) {
    if (wanted[at].startsWith(':')) {
      try {
        params[wanted[at].slice(1)] = decodeURIComponent(part);
      } catch {
        return null;
      }
    } else if (wanted[at] !== part) return null;
  }
  return params;
}

/** Goes to an address of the page; with `replace` the back button does not come back to the present one. */
export function navigate(address, { replace = false } = {}) {
  history[replace ? 'replaceState' : 'pushState'](null, '', address);
  window.dispatchEvent(new CustomEvent('lv-navigate'));
}

/**
 * Changes keys of the present address's query; null and '' take a key out. Says so to nobody: who changes the query shows
 * it. With `push` the back button comes back to what there was.
 */
export function setQuery(changes, { push = false } = {}) {
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === '') query.delete(key);
    else query.set(key, value);
  }
  const text = query.toString();
  const address = location.pathname + (text && `?${text}`);
  if (address === location.pathname + location.search) return;
  history[push ? 'pushState' : 'replaceState'](null, '', address);
}

/** Calls `changed` for every address that is gone to: by links, by `navigate`, and by the browser's buttons. */
export function start(changed) {
  window.addEventListener('popstate', changed);
  window.addEventListener('lv-navigate', changed);
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest?.('a[href]');
    if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
    if (/^\/(api|metrics)(\/|$)/.test(link.pathname) || (link.hash && link.pathname === location.pathname)) return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}

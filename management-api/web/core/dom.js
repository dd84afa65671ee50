// Makes and changes elements. Text is always put in as text, so nothing that a queue's name or a message says can become
// markup; the page's Content-Security-Policy forbids the other way altogether.

const SVG = 'http://www.w3.org/2000/svg';

/**
 * Makes an element: h('a.quiet', { href: '/x', onclick: f }, 'text', child, [more], null).
 *
 * Properties: `on...` functions are listeners, `class` adds to the classes of the tag, `style` is an object of CSS
 * properties, `data` an object of data attributes, `value`, `checked`, `disabled`, `hidden` and the like are set as
 * properties. Everything else is an attribute; null, undefined and false leave it out, true writes it without a value.
 * Children that are null, undefined or false are left out; lists are flattened.
 */
export function h(tag, properties = null, ...children) {
  const [name, ...classes] = tag.split('.');
  return fill(document.createElement(name || 'div'), classes, properties, children);
}

/** The same for elements of SVG. */
export function svg(tag, properties = null, ...children) {
  const [name, ...classes] = tag.split('.');
  return fill(document.createElementNS(SVG, name), classes, properties, children);
}

const AS_PROPERTIES = new Set(['value', 'checked', 'disabled', 'hidden', 'selected', 'indeterminate', 'open']);

function fill(element, classes, properties, children) {
  // The second argument may be left out: h('p', 'text').
  if (properties !== null && (typeof properties !== 'object' || properties instanceof Node || Array.isArray(properties))) {
    children.unshift(properties);
    properties = null;
  }
  if (classes.length) element.classList.add(...classes);
  for (const [name, value] of Object.entries(properties ?? {})) set(element, name, value);
  append(element, children);
  return element;
}

/** Sets one property as `h` does. */
export function set(element, name, value) {
  if (name.startsWith('on') && typeof value === 'function') element.addEventListener(name.slice(2), value);
  else if (name === 'class') { if (value) element.classList.add(...value.split(' ').filter(Boolean)); }
  else if (name === 'style') for (const [key, it] of Object.entries(value)) element.style.setProperty(key, it);
  else if (name === 'data') Object.assign(element.dataset, value);
  else if (AS_PROPERTIES.has(name) && name in element) element[name] = value ?? '';
  else if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? '' : value);
}

/** Adds children as `h` does. */
export function append(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Puts these children in the place of all that there are. */
export function replace(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

/**
 * Shows `value` (a text or an element) in an element, and touches nothing if it shows that already: what has not
 * changed does not flicker, and a selection in it stays.
 */
export function show(element, value) {
  if (value instanceof Node) {
    const shown = element.firstChild;
    if (element.childNodes.length !== 1 || shown.nodeType !== value.nodeType || !shown.isEqualNode(value)) {
      element.replaceChildren(value);
    }
  } else {
    const text = value === null || value === undefined ? '' : String(value);
    if (element.textContent !== text || element.childElementCount) element.textContent = text;
  }
  return element;
}

/**
 * Makes the children of `parent` those of `items`, in their order: an element is made once for each key and then only
 * updated, so that rows keep their focus and do not flicker. `make(item)` gives the element, `update(element, item)`
 * fills it.
 */
export function keyed(parent, items, keyOf, make, update) {
  const known = new Map();
  for (const child of parent.children) if (child.lvKey !== undefined) known.set(child.lvKey, child);
  let place = parent.firstChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = known.get(key);
    if (child) known.delete(key);
    else {
      child = make(item);
      child.lvKey = key;
    }
    update?.(child, item);
    if (child === place) place = place.nextSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
  while (place) {
    const next = place.nextSibling;
    if (place.lvKey === undefined) place.remove();
    place = next;
  }
}

let lastId = 0;

/** An id that no other element of the page has. */
export function uniqueId(prefix = 'lv') {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

// Values as people read them: JSON with its structure, tables of headers, and bytes.

import { h } from '../core/dom.js';

/** Values nested deeper than this are closed at first. */
const OPEN_DEPTH = 2;

const KINDS = { string: 'string', number: 'number', boolean: 'word' };

function scalar(value) {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return h('span', { class: `json-${value === null ? 'word' : KINDS[typeof value]}` }, text);
}

/** A value of JSON; objects and lists can be closed. */
export function jsonView(value, depth = 0) {
  if (value === null || typeof value !== 'object') return scalar(value);
  const list = Array.isArray(value);
  const entries = Object.entries(value);
  const [open, close] = list ? '[]' : '{}';
  if (!entries.length) return h('span', open + close);
  const items = entries.map(([key, item]) => h('li', !list && [h('span.json-key', JSON.stringify(key)), ': '], jsonView(item, depth + 1)));
  return h('details.json', { open: depth < OPEN_DEPTH },
    h('summary', open, h('span.quiet', ` ${entries.length} `), close), h('ul', items));
}

/** The value that a payload is as JSON; undefined if it is none, or only a word. */
export function parsed(text) {
  if (!/^\s*[[{"]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A field table (headers, arguments) as a list of names and values. */
export function tableView(table) {
  const entries = Object.entries(table ?? {});
  if (!entries.length) return h('span.quiet', 'none');
  return h('dl.table-pairs', entries.map(([key, value]) => h('div', h('dt', key), h('dd', value !== null && typeof value === 'object' ? jsonView(value, 1) : scalar(value)))));
}

/** A value of an argument or setting in one line. */
export const inline = (value) => h('code', typeof value === 'string' ? value : JSON.stringify(value));

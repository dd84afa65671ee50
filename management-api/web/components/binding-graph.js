// `lv-graph`: what is bound to an exchange and what it is bound to, drawn. Exchanges stand in columns by their distance
// from the one in question; every binding has a line and its key at the end of it. A list beside it says the same in words.

import { h, replace, svg } from '../core/dom.js';
import { argumentsText, exchangeAddress, exchangeName, queueAddress } from './names.js';

const WIDTH = 176;
const CURVE = 50;
const LABEL = 160;
const ROW = 24;
const GAP = 14;
const LONGEST_LABEL = 22;
const LONGEST_NAME = 20;

/** A text that fits, and the whole of it when pointed at. */
const cut = (text, longest) => (text.length > longest ? [`${text.slice(0, longest - 1)}\u2026`, svg('title', text)] : text);

/** What a node is known by. */
export const nodeKey = (type, name) => `${type}\n${name}`;

/** What a binding is known by: its ends and what it matches. */
export const edgeKey = (binding) =>
  [binding.source, binding.destination_type, binding.destination, binding.routing_key, JSON.stringify(binding.arguments ?? {})].join('\n');

function labelOf(binding, kinds) {
  if (binding.alternate) return 'if nothing matches';
  const table = argumentsText(binding.arguments);
  if (kinds.get(binding.source) === 'fanout') return table || 'every message';
  return [binding.routing_key, table].filter(Boolean).join(' \u00b7 ') || '(empty key)';
}

/**
 * `draw({ vhost, root, bindings, kinds, hits })`: `root` is the exchange in question, `bindings` are the API's objects (with
 * `alternate: true` for an alternate exchange), `kinds` a Map from exchanges to their types, `hits` null or a Set of the
 * keys of nodes and bindings that a message takes.
 */
class LvGraph extends HTMLElement {
  #shown = '';

  draw(given) {
    const { vhost, root, bindings, kinds, hits = null } = given;
    const signature = JSON.stringify([vhost, root, bindings, [...kinds], hits && [...hits].sort()]);
    if (signature === this.#shown) return;
    this.#shown = signature;
    const nodes = place(root, bindings);
    const columns = [...new Set([...nodes.values()].map((node) => node.column))].sort((one, other) => one - other);
    for (const node of nodes.values()) node.x = 1 + columns.indexOf(node.column) * (WIDTH + CURVE + LABEL);
    const height = stack(nodes, columns);
    const width = columns.length * WIDTH + (columns.length - 1) * (CURVE + LABEL) + 2;
    const title = `Bindings of ${exchangeName(root)}: ${bindings.length}`;
    const image = svg('svg', { width, height, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': title, class: hits ? 'traced' : '' },
      bindings.map((binding) => line(binding, nodes, kinds, hits)),
      [...nodes.values()].map((node) => box(node, vhost, kinds, root, hits)));
    replace(this, h('div.graph-scroll', { tabindex: 0, role: 'region', 'aria-label': 'Graph of bindings' }, image));
  }
}
customElements.define('lv-graph', LvGraph);

/** Gives every exchange and queue a column: what is before the root to its left, what is behind it to its right. */
function place(root, bindings) {
  const nodes = new Map();
  const add = (type, name, column) => {
    const key = nodeKey(type, name);
    if (!nodes.has(key)) nodes.set(key, { key, type, name, column, rows: 0 });
    return nodes.get(key);
  };
  add('exchange', root, 0);
  let frontier = [root];
  for (let column = 1; frontier.length; column += 1) {
    const next = [];
    for (const binding of bindings.filter((it) => frontier.includes(it.source))) {
      const known = nodes.has(nodeKey(binding.destination_type, binding.destination));
      const node = add(binding.destination_type, binding.destination, column);
      if (!known && node.type === 'exchange') next.push(node.name);
    }
    frontier = next;
  }
  for (const binding of bindings) add('exchange', binding.source, -1);
  for (const binding of bindings) {
    const target = nodes.get(nodeKey(binding.destination_type, binding.destination));
    if (target) binding.row = target.rows++;
  }
  return nodes;
}

/** Stacks the nodes of each column, each tall enough for the lines that end there; gives the height of all. */
function stack(nodes, columns) {
  const heights = columns.map((column) => {
    let y = 1;
    for (const node of nodes.values()) {
      if (node.column !== column) continue;
      node.y = y;
      node.height = Math.max(38, node.rows * ROW + 10);
      y += node.height + GAP;
    }
    return y - GAP + 1;
  });
  const height = Math.max(...heights);
  columns.forEach((column, at) => {
    const space = (height - heights[at]) / 2;
    for (const node of nodes.values()) if (node.column === column) node.y += space;
  });
  return height;
}

function line(binding, nodes, kinds, hits) {
  const from = nodes.get(nodeKey('exchange', binding.source));
  const to = nodes.get(nodeKey(binding.destination_type, binding.destination));
  if (!from || !to) return null;
  const [x1, y1] = [from.x + WIDTH, from.y + from.height / 2];
  const [x2, y2] = [to.x, to.y + to.height / 2 + (binding.row - (to.rows - 1) / 2) * ROW];
  const bend = x2 - LABEL;
  const half = Math.max(30, (bend - x1) / 2);
  const path = `M${x1} ${y1}C${x1 + half} ${y1} ${bend - half} ${y2} ${bend} ${y2}H${x2}`;
  const label = labelOf(binding, kinds);
  const state = !hits ? '' : hits.has(edgeKey(binding)) ? 'hit' : 'missed';
  return svg('g.edge', { class: [state, binding.alternate ? 'alternate' : ''].join(' ') },
    svg('path', { d: path }),
    svg('path.tip', { d: `M${x2 - 7} ${y2 - 4}L${x2} ${y2}L${x2 - 7} ${y2 + 4}` }),
    svg('text', { x: x2 - 12, y: y2 - 5, 'text-anchor': 'end' }, cut(label, LONGEST_LABEL)));
}

function box(node, vhost, kinds, root, hits) {
  const isQueue = node.type === 'queue';
  const name = isQueue ? node.name : exchangeName(node.name);
  const kind = isQueue ? 'queue' : kinds.get(node.name) ?? 'exchange';
  const state = !hits ? '' : hits.has(node.key) ? 'hit' : 'missed';
  const middle = node.y + node.height / 2;
  const content = [
    svg('rect', { x: node.x, y: node.y, width: WIDTH, height: node.height, rx: isQueue ? 6 : 16 }),
    svg('text.node-name', { x: node.x + 14, y: middle - 2 }, cut(name, LONGEST_NAME)),
    svg('text.node-kind', { x: node.x + 14, y: middle + 12 }, kind),
  ];
  const classes = [node.type, state, node.type === 'exchange' && node.name === root ? 'root' : ''].join(' ');
  const href = isQueue ? queueAddress(vhost, node.name) : exchangeAddress(vhost, node.name);
  return svg('a.node', { href, class: classes }, content);
}

/** A graph. */
export const bindingGraph = () => h('lv-graph');

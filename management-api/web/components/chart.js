// `lv-chart`: lines over time. Values are read by pointing at the chart, or with the arrow keys; what is not known is a
// gap in the line, not a zero.

import { h, replace, svg, uniqueId } from '../core/dom.js';
import { clock, compact, moment } from '../core/format.js';

const HEIGHT = 150;
const LEFT = 46;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 22;

/** Round spans of time, in seconds; both they and their halves are read at a glance. */
const SPANS = [2, 4, 10, 20, 40, 60, 120, 240, 600, 1200, 2400, 3600, 7200, 14_400, 43_200, 86_400];

/** A round number that is at least `value`: 1, 2, 2.5 or 5 times a power of ten, or of 1024 for bytes. */
function roundUp(value, { binary, span }) {
  if (!(value > 0)) return 1;
  const round = span && value > 1000 && SPANS.find((seconds) => seconds * 1000 >= value);
  if (round) return round * 1000;
  const base = binary ? 1024 : 10;
  let unit = base ** Math.floor(Math.log(value) / Math.log(base));
  // Powers of 1024 are far apart.
  while (binary && unit * 10 <= value) unit *= 10;
  const step = [1, 2, 2.5, 5, 10].find((it) => it * unit >= value * 0.9999);
  return (step ?? 10) * unit;
}

/**
 * Options of `setup`: `title`; `series`: `{ key, label, color }` with a colour from 1 to 6; `format(value)` for texts and
 * `axis(value)` for the scale (`compact` unless said); `binary` for bytes, `span` for milliseconds; `whole` where there is nothing between 0 and 1.
 */
class LvChart extends HTMLElement {
  #options;
  #points = {};
  #times = [];
  #svg = svg('svg', { 'aria-hidden': 'true' });
  #cursor = null;
  #tip = h('div.tip', { hidden: true });
  #summary = h('p.hidden', { id: uniqueId('chart') });
  #legend = h('div.legend', { 'aria-hidden': 'true' });
  #observer = new ResizeObserver(() => this.#draw());

  setup(options) {
    this.#options = { format: compact, axis: compact, ...options };
    const plot = h('div.plot', { tabindex: 0, role: 'img', 'aria-label': options.title, 'aria-describedby': this.#summary.id }, this.#svg, this.#tip);
    plot.addEventListener('pointermove', (event) => this.#point(event));
    plot.addEventListener('pointerleave', () => this.#setCursor(null));
    plot.addEventListener('blur', () => this.#setCursor(null));
    plot.addEventListener('keydown', (event) => this.#key(event));
    this.replaceChildren(h('div.chart-head', h('h3', options.title), this.#legend), plot, this.#summary);
    return this;
  }

  connectedCallback() {
    this.#observer.observe(this);
  }

  disconnectedCallback() {
    this.#observer.disconnect();
  }

  /** Shows points by the keys of the series: lists of [milliseconds, value or null], in the order of time. */
  fill(points) {
    this.#points = points;
    const longest = Object.values(points).reduce((one, other) => (other.length > one.length ? other : one), []);
    this.#times = longest.map(([at]) => at);
    this.#draw();
  }

  get #scale() {
    const times = this.#times;
    const width = Math.max(160, this.clientWidth);
    const [from, to] = [times[0] ?? 0, times.at(-1) ?? 1];
    let highest = 0;
    for (const { key } of this.#options.series) for (const [, value] of this.#points[key] ?? []) if (value > highest) highest = value;
    const top = roundUp(Math.max(highest, this.#options.whole && highest < 2 ? 2 : 0), this.#options);
    return {
      width, from, to, top,
      x: (at) => LEFT + ((at - from) / Math.max(1, to - from)) * (width - LEFT - RIGHT),
      y: (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM),
    };
  }

  #draw() {
    if (!this.#options || !this.isConnected) return;
    const scale = this.#scale;
    this.#svg.setAttribute('viewBox', `0 0 ${scale.width} ${HEIGHT}`);
    this.#svg.setAttribute('width', scale.width);
    this.#svg.setAttribute('height', HEIGHT);
    const lines = this.#options.series.map(({ key, color }) => this.#line(this.#points[key] ?? [], color, scale));
    replace(this.#svg, this.#grid(scale), lines, svg('g.cursor'));
    const latest = this.#options.series.map((it) => [it, this.#latest(it.key)]);
    replace(this.#legend, latest.map(([{ label, color }, value]) => h('span', { class: `series-${color}` }, h('i'), label, h('b', value))));
    const text = latest.map(([{ label }, value]) => `${label}: ${value}`).join(', ');
    if (this.#summary.textContent !== text) this.#summary.textContent = text;
    this.#showCursor();
  }

  #latest(key) {
    const value = (this.#points[key] ?? []).at(-1)?.[1];
    return value === undefined || value === null ? '\u2013' : this.#options.format(value);
  }

  #grid({ width, from, to, top, x, y }) {
    const rows = [0, 0.5, 1].map((part) => [
      svg('line', { x1: LEFT, x2: width - RIGHT, y1: y(part * top), y2: y(part * top), class: part ? 'grid' : 'base' }),
      svg('text', { x: LEFT - 6, y: y(part * top) + 4, 'text-anchor': 'end' }, this.#options.axis(part * top)),
    ]);
    if (!this.#times.length) return [rows, svg('text', { x: width / 2, y: HEIGHT / 2, 'text-anchor': 'middle' }, 'Nothing is known yet')];
    const seconds = to - from <= 300_000;
    const marks = (width < 420 ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1]).map((part) => {
      const at = from + part * (to - from);
      const anchor = part === 0 ? 'start' : part === 1 ? 'end' : 'middle';
      return svg('text', { x: x(at), y: HEIGHT - 5, 'text-anchor': anchor }, clock(at, seconds));
    });
    return [rows, marks];
  }

  #line(points, color, { x, y }) {
    let path = '';
    let open = false;
    const dots = [];
    for (const [at, [time, value]] of points.entries()) {
      if (value === null || value === undefined) {
        open = false;
        continue;
      }
      path += `${open ? 'L' : 'M'}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
      // A point alone between two gaps is no line.
      if (!open && (points[at + 1]?.[1] ?? null) === null) dots.push(svg('circle', { cx: x(time), cy: y(value), r: 2 }));
      open = true;
    }
    return svg('g', { class: `series-${color}` }, svg('path', { d: path }), dots);
  }

  #point(event) {
    const { x } = this.#scale;
    const left = event.clientX - this.#svg.getBoundingClientRect().left;
    let nearest = null;
    this.#times.forEach((at, place) => {
      if (nearest === null || Math.abs(x(at) - left) < Math.abs(x(this.#times[nearest]) - left)) nearest = place;
    });
    this.#setCursor(nearest === null ? null : this.#times[nearest]);
  }

  #key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === 'Escape') this.#setCursor(null);
    if (!by || !this.#times.length) return;
    event.preventDefault();
    const last = this.#times.length - 1;
    const now = this.#cursor === null ? (by < 0 ? last + 1 : -1) : this.#times.indexOf(this.#cursor);
    this.#setCursor(this.#times[Math.max(0, Math.min(last, now + by))]);
  }

  #setCursor(at) {
    this.#cursor = at;
    this.#showCursor();
  }

  #showCursor() {
    const mark = this.#svg.querySelector('.cursor');
    const at = this.#cursor;
    // Time goes on, and the moment may be out of sight now.
    if (at === null || at < this.#times[0]) {
      this.#tip.hidden = true;
      if (mark) replace(mark);
      return;
    }
    const scale = this.#scale;
    const x = scale.x(at);
    const values = this.#options.series.map((it) => [it, (this.#points[it.key] ?? []).find(([time]) => time === at)?.[1] ?? null]);
    replace(mark, svg('line', { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
      values.filter(([, value]) => value !== null).map(([{ color }, value]) => svg('circle', { cx: x, cy: scale.y(value), r: 3, class: `series-${color}` })));
    replace(this.#tip, h('div.quiet', moment(at)), values.map(([{ label, color }, value]) => h('div', { class: `series-${color}` },
      h('i'), label, h('b', value === null ? 'not known' : this.#options.format(value)))));
    this.#tip.hidden = false;
    const leftSide = x > scale.width / 2;
    this.#tip.style.insetInlineStart = leftSide ? 'auto' : `${x + 10}px`;
    this.#tip.style.insetInlineEnd = leftSide ? `${scale.width - x + 10}px` : 'auto';
    const plot = this.#tip.parentElement;
    if (document.activeElement === plot) plot.setAttribute('aria-label', `${this.#options.title}. ${this.#tip.innerText.replaceAll('\n', ' ')}`);
  }
}
customElements.define('lv-chart', LvChart);

/** A chart with these options (see `LvChart`). */
export const chart = (options) => h('lv-chart').setup(options);

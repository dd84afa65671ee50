// The choice of a chart's range: minute, hour or day. It stands in the address as `range`.

import { RANGES, rangeOf } from '../core/samples.js';
import { h } from '../core/dom.js';

/** Buttons of the ranges; `changed(range)` is called for another choice, `value()` is the present one. */
export function rangePicker(ctx, changed) {
  const value = () => rangeOf(ctx.query);
  const buttons = Object.entries(RANGES).map(([range, { label }]) => h('button', {
    type: 'button', 'aria-pressed': String(range === value()), onclick: () => {
      ctx.setQuery({ range: range === 'minute' ? null : range }, { push: false });
      for (const button of buttons) button.setAttribute('aria-pressed', String(button === buttons[Object.keys(RANGES).indexOf(range)]));
      changed(range);
    },
  }, label));
  return { element: h('div.segments', { role: 'group', 'aria-label': 'Range of the charts' }, buttons), value };
}

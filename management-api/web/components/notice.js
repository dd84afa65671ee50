// Notices in the place that they are about: errors, warnings, what an empty list means; and badges for states.

import { h } from '../core/dom.js';

const ROLES = { error: 'alert', warning: 'status', info: 'note', good: 'status' };

/** A notice: `kind` is error, warning, info or good. */
export const notice = (kind, ...content) => h(`div.notice.${kind}`, { role: ROLES[kind] }, h('div', ...content));

/** An error in words, where it happened. `doing` says what failed: "The queue was not declared." */
export const errorNotice = (error, doing = null) =>
  notice('error', doing && h('strong', `${doing} `), error?.message ?? String(error));

/** A small label: `kind` is good, warning, bad, accent or nothing. */
export const badge = (text, kind = '', title = null) => h('span.badge', { class: kind, title }, text);

/** A place for one notice at a time, announced to screen readers when it comes. */
export function place() {
  const element = h('div.notices');
  return {
    element,
    show: (...notices) => element.replaceChildren(...notices),
    fail: (error, doing) => element.replaceChildren(errorNotice(error, doing)),
    clear: () => element.replaceChildren(),
  };
}

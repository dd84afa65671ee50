// Setting a policy. While somebody types, the broker says what the pattern matches, which policies are in force there now,
// and whether this one would come before them.

import { url } from '../core/api.js';
import { h, replace } from '../core/dom.js';
import { count } from '../core/format.js';
import { openForm } from './dialog.js';
import { exchangeLink, queueLink } from './names.js';
import { badge, errorNotice, notice } from './notice.js';
import { toast } from './toast.js';

/** How long a pause in typing has to be before the broker is asked, in milliseconds. */
const TYPING = 250;
/** How many matches are shown. */
const SHOWN = 12;

const FOR = [['queues', 'queues'], ['classic_queues', 'classic queues'], ['quorum_queues', 'quorum queues'], ['exchanges', 'exchanges'], ['all', 'queues and exchanges']];

/** Settings to begin with: name, example, what it is. */
const SETTINGS = {
  policy: [
    ['max-length', 10000, 'messages'], ['max-length-bytes', 1073741824, 'bytes'], ['overflow', 'reject-publish', 'when it is full'],
    ['message-ttl', 86400000, 'milliseconds'], ['expires', 3600000, 'milliseconds'], ['dead-letter-exchange', 'dead', 'name'],
    ['dead-letter-routing-key', 'key', 'key'], ['delivery-limit', 20, 'failures'], ['alternate-exchange', 'unrouted', 'for exchanges'],
  ],
  operator: [['max-length', 10000, 'messages'], ['max-length-bytes', 1073741824, 'bytes'], ['message-ttl', 86400000, 'milliseconds'], ['expires', 3600000, 'milliseconds'], ['delivery-limit', 20, 'failures']],
};

/** The API's paths of the two sorts. */
export const PATHS = { policy: '/policies', operator: '/operator-policies' };

/** Sets a policy: `known` is one to change, or null. Resolves to true when it is set. */
export function setPolicy(ctx, { sort, vhosts, vhost, known = null }) {
  const preview = h('div.preview', { 'aria-live': 'polite' });
  let inputs = null;
  let timer = 0;
  let asked = 0;
  const present = () => {
    const values = { name: known?.name ?? inputs.name.value, vhost: known?.vhost ?? inputs.vhost?.value ?? vhosts[0] };
    let definition = null;
    try {
      definition = inputs.definition.value.trim() ? JSON.parse(inputs.definition.value) : null;
    } catch { /* half typed; the button says what is wrong with it */ }
    const priority = Number(inputs.priority.value || 0);
    return { ...values, body: { name: values.name, pattern: inputs.pattern.value, 'apply-to': inputs.apply_to.value, priority, definition, limit: SHOWN } };
  };
  const ask = async () => {
    const mine = asked += 1;
    const { vhost: of, body } = present();
    const show = (...content) => mine === asked && replace(preview, ...content);
    try {
      const found = await ctx.api.post(url`/leveret` + PATHS[sort] + url`/${of}/preview`, body);
      show(matches(of, found, sort));
    } catch (error) {
      show(errorNotice(error, 'No preview.'));
    }
  };
  const changed = () => {
    clearTimeout(timer);
    timer = setTimeout(ask, TYPING);
  };
  const insert = h('div.chips', h('span.quiet', 'Add: '), SETTINGS[sort].map(([key, example, unit]) => h('button.chip', {
    type: 'button', title: unit, onclick: () => {
      const area = inputs.definition;
      let settings = {};
      try {
        settings = JSON.parse(area.value || '{}');
      } catch {
        return;
      }
      area.value = JSON.stringify({ [key]: example, ...settings }, null, 2);
      changed();
    },
  }, key)));
  const what = sort === 'operator' ? 'operator policy' : 'policy';
  const shown = openForm({
    title: known ? `Change ${what} ${known.name}` : `Add ${sort === 'operator' ? 'an' : 'a'} ${what}`,
    wide: true,
    doing: 'The policy was not set.',
    submitLabel: known ? 'Change' : 'Add',
    fields: [
      !known && vhosts.length > 1 && { name: 'vhost', label: 'Virtual host', type: 'select', options: vhosts, value: vhost || vhosts[0], onchange: changed },
      !known && { name: 'name', label: 'Name', required: true, oninput: changed },
      { name: 'pattern', label: 'Pattern', required: true, value: known?.pattern ?? '', placeholder: '^orders\\.', hint: 'A regular expression for names', oninput: changed },
      { name: 'apply_to', label: 'For', type: 'select', options: sort === 'operator' ? FOR.slice(0, 3) : FOR, value: known?.['apply-to'] ?? 'queues', onchange: changed },
      { name: 'priority', label: 'Priority', type: 'number', value: known?.priority ?? 0, hint: 'Of several that match, the highest counts', oninput: changed },
      { name: 'definition', label: 'Settings', type: 'json', rows: 5, required: true, value: JSON.stringify(known?.definition ?? { 'max-length': 10000 }, null, 2), oninput: changed },
      insert,
      h('section.field.wide', { 'aria-label': 'What it matches' }, h('h3', 'What it matches'), preview),
    ],
    submit: async ({ pattern, apply_to, priority, definition }) => {
      const { name, vhost: of } = present();
      await ctx.api.put(PATHS[sort] + url`/${of}/${name}`, { pattern, 'apply-to': apply_to, priority: priority ?? 0, definition });
      toast(`Policy ${name} ${known ? 'changed' : 'added'}`);
    },
  });
  const form = preview.closest('form');
  inputs = Object.fromEntries([...form.elements].filter((it) => it.name).map((it) => [it.name, it]));
  replace(preview, h('p.quiet', 'Type a pattern to see what it is for.'));
  if (known) ask();
  return shown.finally(() => clearTimeout(timer));
}

function matches(vhost, found, sort) {
  const total = found.queues + found.exchanges;
  const passed = total - found.takes_effect;
  const summary = [found.queues || !found.exchanges ? count(found.queues, 'queue') : null, found.exchanges ? count(found.exchanges, 'exchange') : null].filter(Boolean).join(' and ');
  const key = sort === 'operator' ? 'operator_policy' : 'policy';
  const row = (it) => h('li',
    it.type === 'queue' ? queueLink(vhost, it.name) : [exchangeLink(vhost, it.name), ' ', badge('exchange')], ' ',
    it[key] && h('span.quiet', `has ${it[key]}`), ' ',
    !it.takes_effect && badge('keeps it', 'warning', 'Its policy has a higher priority'));
  const rest = total - found.matches.length;
  return h('div',
    h('p', h('strong', total === 0 ? 'Nothing' : summary), total === 0 ? ' matches now. It will hold for what is declared later.' : ' match now.'),
    passed > 0 && notice('warning', `For ${count(passed, 'of them another policy', 'of them other policies')} of a higher priority ${passed === 1 ? 'counts' : 'count'}.`),
    found.lost > 0 && notice('warning', `${count(found.lost, 'queue or exchange', 'queues or exchanges')} would lose this policy.`),
    found.matches.length > 0 && h('ul.plain.matches', found.matches.map(row)),
    rest > 0 && h('p.quiet', `and ${count(rest, 'more', 'more')}`));
}

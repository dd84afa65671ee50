// A message to try with an exchange: first where it would go and why, then, if wanted, really published.

import { url } from '../core/api.js';
import { h, replace } from '../core/dom.js';
import { count } from '../core/format.js';
import { edgeKey, nodeKey } from './binding-graph.js';
import { form } from './form.js';
import { argumentsText, exchangeLink, exchangePart, queueLink } from './names.js';
import { badge, errorNotice, notice } from './notice.js';
import { button } from './page.js';

/** The card's content for an exchange; `traced(hits)` hears which nodes and bindings of the graph a message takes. */
export function tryMessage(ctx, { vhost, exchange, internal, traced }) {
  const result = h('div.stack', { 'aria-live': 'polite' });
  const path = exchangePart(exchange);
  const ask = ({ routing_key, headers, user }) =>
    ctx.api.post(url`/leveret/exchanges/${vhost}/${path}/explain`, { routing_key, headers, user: user || null });

  const explain = async () => {
    try {
      const found = await ask(made.values());
      made.notices.clear();
      traced(hitsOf(found));
      replace(result, explanation(vhost, found));
    } catch (error) {
      traced(null);
      replace(result);
      made.notices.fail(error);
    }
  };
  const publish = async (values) => {
    const { routing_key, headers, properties, payload, encoding, persistent } = values;
    const sent = { delivery_mode: persistent ? 2 : 1, ...properties, headers: { ...properties.headers, ...headers } };
    const answer = await ctx.api.post(url`/exchanges/${vhost}/${path}/publish`, {
      routing_key, properties: sent, payload, payload_encoding: encoding,
    });
    // Why is only to be had if it is still so.
    const found = await ask({ routing_key, headers: sent.headers }).catch(() => null);
    traced(found && hitsOf(found));
    const text = answer.routed ? notice('good', 'Published: a queue took it.') : notice('warning', 'Published, but no queue took it.');
    replace(result, text, found && explanation(vhost, found));
  };
  const made = form({
    label: 'Try a message',
    doing: 'The message was not published.',
    submitLabel: 'Publish',
    kind: '',
    fields: [
      { name: 'routing_key', label: 'Routing key', oninput: () => traced(null) },
      { name: 'user', label: 'As user', hint: 'Asks also whether this user may publish it' },
      { name: 'headers', label: 'Headers', type: 'json', rows: 2, placeholder: '{"type": "invoice"}' },
      { name: 'properties', label: 'Properties', type: 'json', rows: 2, placeholder: '{"content_type": "application/json"}' },
      { name: 'payload', label: 'Body', type: 'textarea', rows: 3 },
      { name: 'encoding', label: 'The body is', type: 'select', options: [['string', 'text'], ['base64', 'base64']] },
      { name: 'persistent', label: 'Persistent: kept on disk', type: 'checkbox', value: true },
    ],
    submit: publish,
  });
  const buttons = made.element.querySelector('.buttons');
  buttons.prepend(button('Explain where it goes', explain, { kind: 'primary' }));
  if (internal) buttons.lastChild.remove();
  return h('div.try', made.element, result);
}

/** The keys of nodes and bindings in the graph that a message takes. */
function hitsOf(found) {
  const hits = new Set();
  for (const visit of found.path) {
    hits.add(nodeKey('exchange', visit.exchange));
    for (const binding of visit.matched) {
      hits.add(nodeKey(binding.destination_type, binding.destination));
      hits.add(edgeKey({ ...binding, source: visit.exchange }));
    }
    if (visit.reached_by === 'alternate_exchange') {
      hits.add(edgeKey({ source: visit.reached_from, destination_type: 'exchange', destination: visit.exchange, routing_key: '' }));
    }
  }
  for (const queue of found.queues) hits.add(nodeKey('queue', queue.name));
  return hits;
}

function explanation(vhost, found) {
  const queues = found.queues.map((queue) => h('li', queueLink(vhost, queue.name), ' ',
    queue.paused && badge('paused', 'warning'), queue.full && badge('full: refuses publishes', 'bad'),
    queue.consumers === 0 && badge('no consumers')));
  const verdict = found.refused
    ? errorNotice(new Error(found.reason), 'It would be refused.')
    : found.routed ? null : notice('warning', h('strong', 'It would reach no queue: '), found.reason);
  return h('div.explained',
    verdict,
    queues.length > 0 && h('h3', found.refused ? 'Without the refusal it would reach ' : 'It would reach ', count(found.queues.length, 'queue')),
    queues.length > 0 && h('ul.plain', queues),
    h('h3', 'Why'),
    h('ol.path', found.path.map((visit) => step(vhost, visit))));
}

function step(vhost, visit) {
  const how = { binding: 'bound to', alternate_exchange: 'alternate exchange of' }[visit.reached_by];
  const matched = visit.matched.map((binding) => {
    const key = [binding.routing_key && h('code', binding.routing_key), argumentsText(binding.arguments)].filter(Boolean);
    const to = binding.destination_type === 'queue' ? queueLink(vhost, binding.destination) : exchangeLink(vhost, binding.destination);
    return h('li', key, key.length ? ' \u2192 ' : '', binding.destination_type === 'exchange' && 'exchange ', to);
  });
  const alternate = visit.alternate_exchange;
  return h('li',
    exchangeLink(vhost, visit.exchange), ` (${visit.type})`, how && [`, ${how} `, exchangeLink(vhost, visit.reached_from)],
    visit.bindings !== undefined && `: ${matched.length} of ${count(visit.bindings, 'binding')} match`,
    matched.length > 0 && h('ul', matched),
    alternate && !alternate.exists && h('p', badge('missing', 'bad'), ` Its alternate exchange ${alternate.name} does not exist.`));
}

// Which messages of a queue are meant: the conditions that `peek`, `move` and `requeue` of the API know.

/** The fields of a filter, for `form`. */
export const filterFields = () => [
  { name: 'routing_key', label: 'Routing key', placeholder: 'order.#', hint: 'A pattern as in a topic binding' },
  { name: 'exchange', label: 'Published to exchange' },
  { name: 'older', label: 'Waiting for longer than', placeholder: '10m', hint: '90s, 10m, 2h or 3d' },
  { name: 'younger', label: 'Waiting for less than', placeholder: '2h' },
  { name: 'death_reason', label: 'Died because', type: 'select', options: [['', 'any reason, or not at all'], ['rejected', 'rejected'], ['expired', 'expired'], ['maxlen', 'queue too long (maxlen)'], ['delivery_limit', 'delivery limit']] },
  { name: 'death_queue', label: 'Died in queue' },
  { name: 'headers', label: 'Headers', type: 'json', rows: 2, placeholder: '{"tenant": "a", "x-retry": null}', hint: 'Equal values; null for any value' },
];

const UNITS = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** "10m" in milliseconds; undefined for nothing. */
export function milliseconds(text, label) {
  if (text.trim() === '') return undefined;
  const found = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)?\s*$/.exec(text);
  if (!found) throw new Error(`${label}: write a number and s, m, h or d, such as 10m.`);
  return Math.round(Number(found[1]) * UNITS[found[2] ?? 's']);
}

/** The filter of a form's values, as the API takes it; undefined if it means every message. */
export function filterOf(values) {
  const filter = {
    older_than_ms: milliseconds(values.older, 'Waiting for longer than'),
    younger_than_ms: milliseconds(values.younger, 'Waiting for less than'),
  };
  for (const key of ['routing_key', 'exchange', 'death_reason', 'death_queue']) if (values[key]) filter[key] = values[key];
  if (Object.keys(values.headers).length) filter.headers = values.headers;
  return Object.values(filter).some((it) => it !== undefined) ? filter : undefined;
}

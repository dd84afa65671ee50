// What the broker remembers of the last minute, hour and day: which samples to ask for, and how they become the points of
// a chart. A point is [milliseconds, value]; a value of null is a gap, for times of which nothing is known.

import { user } from './user.js';

/** The ranges that a chart can show; `step` is the finest that the broker keeps for it, both in seconds. */
export const RANGES = {
  minute: { label: 'Minute', age: 60, step: 1 },
  hour: { label: 'Hour', age: 3600, step: 10 },
  day: { label: 'Day', age: 86400, step: 300 },
};

/** The range that the address names, or a minute. */
export const rangeOf = (query) => (query.get('range') in RANGES ? query.get('range') : 'minute');

/** Keys of a query that ask for samples: rangeQuery('hour', 'lengths', 'msg_rates'). */
export function rangeQuery(range, ...kinds) {
  const { age, step } = RANGES[range];
  return Object.fromEntries(kinds.flatMap((kind) => [[`${kind}_age`, age], [`${kind}_incr`, step]]));
}

const known = (at) => at >= (user?.started_at ?? 0);

/** The points of a level (`messages_ready_details`): what it was. */
export function levels(details) {
  const samples = [...(details?.samples ?? [])].reverse();
  return samples.map(({ timestamp, sample }) => [timestamp, known(timestamp) ? sample : null]);
}

/** The points of a count that only grows (`publish_details`): by how much it grew in a second. */
export function rates(details) {
  const points = [];
  const samples = [...(details?.samples ?? [])].reverse();
  for (const [at, { timestamp, sample }] of samples.entries()) {
    const before = samples[at - 1];
    if (!before) continue;
    const grown = sample - before.sample;
    // A count that falls has begun anew.
    const value = known(before.timestamp) && grown >= 0 ? grown / ((timestamp - before.timestamp) / 1000) : null;
    points.push([timestamp, value]);
  }
  // The second that is under way is not over.
  if (points.length > 1 && points.at(-1)[0] - points.at(-2)[0] <= 1000) points.pop();
  return points;
}

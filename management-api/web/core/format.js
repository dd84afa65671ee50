// How numbers, bytes, rates, durations and moments are written. Numbers are grouped by a narrow space, bytes are powers
// of 1024, and every moment says whether it is local time or UTC.

import { h } from './dom.js';

const GROUP = '\u202f';
/** What stands where there is nothing to tell. */
export const NOTHING = '\u2013';

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

/** 1234567 as "1 234 567". */
export function number(value, digits = 0) {
  if (!isNumber(value)) return NOTHING;
  const [whole, part] = Math.abs(value).toFixed(digits).split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, GROUP);
  return (value < 0 && Number(value.toFixed(digits)) !== 0 ? '\u2212' : '') + grouped + (part ? `.${part}` : '');
}

/** At most four characters and a letter: 1234567 as "1.23M". For charts and small places. */
export function compact(value) {
  if (!isNumber(value)) return NOTHING;
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 1000) return size < 100 && !Number.isInteger(value) ? trim(value.toFixed(size < 1 ? 2 : 1)) : String(Math.round(value));
  for (const [unit, letter] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    // 999 950 is 1M and not 1000k.
    if (size >= unit * 0.99995) return trim((value / unit).toPrecision(3)) + letter;
  }
  return String(value);
}

const trim = (text) => (text.includes('.') ? text.replace(/\.?0+$/, '') : text);

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** 1536 as "1.5 KiB". */
export function bytes(value) {
  if (!isNumber(value)) return NOTHING;
  let unit = 0;
  let size = value;
  while (Math.abs(size) >= 999.5 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  const text = unit === 0 || Math.abs(size) >= 99.95 ? size.toFixed(0) : size.toFixed(1);
  return `${trim(text)}\u00a0${UNITS[unit]}`;
}

/** Messages in a second: "12/s", "0.4/s", "1 234/s". */
export function rate(value) {
  if (!isNumber(value)) return NOTHING;
  if (value === 0) return '0/s';
  const size = Math.abs(value);
  return `${value < 0 ? '\u2212' : ''}${size < 10 ? trim(size.toFixed(size < 0.1 ? 2 : 1)) : number(size)}/s`;
}

/** Bytes in a second. */
export const byteRate = (value) => (isNumber(value) ? `${bytes(value)}/s` : NOTHING);

/** 0.42 as "42%". */
export const percent = (part) => (isNumber(part) ? `${Math.round(part * 100)}%` : NOTHING);

/** Milliseconds as "850 ms", "4.2 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function duration(ms) {
  if (!isNumber(ms)) return NOTHING;
  if (ms < 0) return `\u2212${duration(-ms)}`;
  if (ms < 1000) return `${Math.round(ms)}\u00a0ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds < 10 ? trim(seconds.toFixed(1)) : Math.floor(seconds)}\u00a0s`;
  const whole = Math.floor(seconds);
  for (const [large, largeName, small, smallName] of [
    [86400, 'd', 3600, 'h'], [3600, 'h', 60, 'min'], [60, 'min', 1, 's'],
  ]) {
    if (whole >= large) {
      const rest = Math.floor((whole % large) / small);
      return `${number(Math.floor(whole / large))}\u00a0${largeName}${rest ? ` ${rest}\u00a0${smallName}` : ''}`;
    }
  }
  return NOTHING;
}

/** "1 queue", "2 queues", "0 queues". */
export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

// --- Time ---

const ZONE = 'leveret.times';
let inUtc = false;
try {
  inUtc = localStorage.getItem(ZONE) === 'utc';
} catch { /* storage may be forbidden; then it is local time */ }

/** Whether moments are shown in UTC. */
export const showsUtc = () => inUtc;

/** Shows all moments in UTC, or all in local time; those on the page change at once. */
export function setUtc(utc) {
  inUtc = utc;
  try {
    localStorage.setItem(ZONE, utc ? 'utc' : 'local');
  } catch { /* then it holds until the page is closed */ }
  for (const element of document.querySelectorAll('time[datetime]')) fillTime(element);
  window.dispatchEvent(new CustomEvent('lv-zone'));
}

/** "UTC", or "UTC+01:00" as the system has it at that moment. */
export function zoneName(date = new Date()) {
  if (inUtc) return 'UTC';
  const minutes = -date.getTimezoneOffset();
  if (minutes === 0) return 'UTC';
  const two = (value) => String(value).padStart(2, '0');
  const size = Math.abs(minutes);
  return `UTC${minutes < 0 ? '\u2212' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

function parts(date) {
  const two = (value, width = 2) => String(value).padStart(width, '0');
  const get = (what) => (inUtc ? date[`getUTC${what}`]() : date[`get${what}`]());
  return {
    date: `${get('FullYear')}-${two(get('Month') + 1)}-${two(get('Date'))}`,
    minutes: `${two(get('Hours'))}:${two(get('Minutes'))}`,
    seconds: two(get('Seconds')),
    millis: two(get('Milliseconds'), 3),
  };
}

/** Only the time of day, for axes: "14:05", or "14:05:09" with `seconds`. */
export function clock(ms, seconds = false) {
  const it = parts(new Date(ms));
  return seconds ? `${it.minutes}:${it.seconds}` : it.minutes;
}

/** A moment in words: "2026-11-21 14:05:09 UTC+01:00". */
export function moment(ms) {
  const date = new Date(ms);
  if (!isNumber(date.getTime())) return NOTHING;
  const it = parts(date);
  return `${it.date} ${it.minutes}:${it.seconds} ${zoneName(date)}`;
}

/**
 * A moment as an element that follows the choice between local time and UTC, and tells both when pointed at. `value` is
 * milliseconds since 1970, or a text that `Date` understands.
 */
export function time(value) {
  const date = new Date(value ?? Number.NaN);
  if (!isNumber(date.getTime())) return h('span', NOTHING);
  return fillTime(h('time', { datetime: date.toISOString() }));
}

function fillTime(element) {
  const date = new Date(element.dateTime);
  const it = parts(date);
  const iso = date.toISOString().replace('T', ' ').replace('Z', ' UTC');
  element.textContent = `${it.date} ${it.minutes}:${it.seconds} ${zoneName(date)}`;
  element.title = `${iso} \u2013 ${date.toString()}`;
  return element;
}

/** How long ago a moment was: "4.2 s ago", with the moment itself when pointed at. */
export function ago(value, now = Date.now()) {
  const date = new Date(value ?? Number.NaN);
  if (!isNumber(date.getTime())) return h('span', NOTHING);
  return h('span', { title: moment(date.getTime()) }, `${duration(Math.max(0, now - date.getTime()))} ago`);
}

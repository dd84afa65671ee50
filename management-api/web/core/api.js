// Asks the broker's HTTP API. Every answer that is not a success becomes an `ApiError` with a text for people; a broker
// that does not answer becomes `Away`. The user is known by a cookie that this script cannot see.

/** The API refused: `status`, the API's `error` and `reason`, and `message` in words. */
export class ApiError extends Error {
  constructor(status, error, reason) {
    super(readable(status, error, reason));
    this.name = 'ApiError';
    Object.assign(this, { status, error, reason });
  }
}

/** The broker does not answer: it stopped, or the network is gone. */
export class Away extends Error {
  constructor() {
    super('The broker does not answer.');
    this.name = 'Away';
  }
}

/** A request that nobody waits for any more, because its view was left. */
export const isAbort = (error) => error?.name === 'AbortError';

const text = (reason) => (typeof reason === 'string' ? reason : JSON.stringify(reason));

function readable(status, error, reason) {
  const why = reason === undefined || reason === null || reason === '' ? '' : text(reason);
  if (status === 401 && error === 'not_authorized') return 'You are not logged in any more.';
  if (status === 401) return why === 'Access refused.' ? 'You do not have the permission for this.' : why || 'You may not do this.';
  if (status === 404) return why && why !== 'Not Found' ? why : 'It does not exist (any more), or you may not see it.';
  if (status === 405) return 'The broker does not know this request.';
  if (status >= 500 && status !== 501) return `The broker could not do it: ${why || error}`;
  return why || error || `The broker answered with ${status}.`;
}

/**
 * A path of the API with every value percent-encoded: url`/queues/${vhost}/${name}` is below `/api`. The default
 * exchange, whose name is empty, goes by `amq.default` there; say that yourself.
 */
export function url(strings, ...values) {
  return strings.reduce((path, part, at) => path + encodeURIComponent(values[at - 1]) + part);
}

/** A query with those values that are not null, undefined or empty; with its question mark. */
export function query(values) {
  const pairs = new URLSearchParams();
  for (const [key, value] of Object.entries(values ?? {})) {
    if (value !== null && value !== undefined && value !== '') pairs.append(key, value);
  }
  const text = pairs.toString();
  return text && `?${text}`;
}

/** What listens to the fate of requests: `ended()` when the session is over, `away(bool)` when the broker is or was. */
export const watchers = { ended: () => {}, away: () => {} };

/**
 * Sends a request; the answer's JSON, or null if it has no body. Options: `query` (an object), `body` (becomes JSON),
 * `signal`, `headers`, `raw` (gives the Response instead), `form` (a FormData).
 */
export async function request(method, path, { query: values, body, signal, headers, raw, form } = {}) {
  let response;
  try {
    response = await fetch(`/api${path}${query(values)}`, {
      method,
      signal,
      body: form ?? (body === undefined ? undefined : JSON.stringify(body)),
      headers: { 'X-Leveret-CSRF': '1', ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
      credentials: 'same-origin',
      cache: 'no-store',
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    watchers.away(true);
    throw new Away();
  }
  watchers.away(false);
  if (response.ok && raw) return response;
  let answer = null;
  try {
    const received = await response.text();
    answer = received ? JSON.parse(received) : null;
  } catch (error) {
    if (isAbort(error)) throw error;
    // Cut off in the middle: the broker stopped meanwhile.
    if (response.ok) throw new Away();
  }
  if (response.ok) return answer;
  const failed = new ApiError(response.status, answer?.error, answer?.reason);
  if (failed.status === 401 && failed.error === 'not_authorized' && path !== '/leveret/session') watchers.ended();
  throw failed;
}

/** The API by its methods: `api.get(path, { query })`, `api.put(path, body)`, `api.post(path, body)`, `api.delete(path)`. */
export const api = {
  get: (path, options) => request('GET', path, options),
  put: (path, body = {}, options) => request('PUT', path, { ...options, body }),
  post: (path, body = {}, options) => request('POST', path, { ...options, body }),
  delete: (path, options) => request('DELETE', path, options),
};

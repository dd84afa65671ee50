// Repeats a request while somebody looks: it stops when the tab is hidden, waits longer while the broker is away, and
// goes on as soon as it is back.

import { Away, isAbort } from './api.js';

/** The longest pause between two attempts while the broker is away, in milliseconds. */
const LONGEST = 5000;

/**
 * Does `work` now and then every `seconds`, until `signal` is aborted. Two runs never overlap. `failed(error)` hears of
 * errors, except that the broker is away: the page says that by itself. The answer has `refresh()`, which does it at
 * once, and resolves when it is done.
 */
export function live(seconds, work, { signal, failed = () => {} }) {
  let timer = 0;
  let running = null;
  let again = false;
  let away = 0;
  const plan = () => {
    clearTimeout(timer);
    if (signal.aborted || document.hidden) return;
    timer = setTimeout(run, away ? Math.min(LONGEST, 500 * 2 ** away) : seconds * 1000);
  };
  const run = () => {
    clearTimeout(timer);
    if (signal.aborted) return Promise.resolve();
    // What is asked for meanwhile has to see what changed meanwhile.
    if (running) {
      again = true;
      return running;
    }
    running = attempt().finally(() => {
      running = null;
      if (again) {
        again = false;
        return run();
      }
      plan();
      return undefined;
    });
    return running;
  };
  const attempt = async () => {
    try {
      await work();
      away = 0;
    } catch (error) {
      if (isAbort(error) || signal.aborted) return;
      away = error instanceof Away ? Math.min(away + 1, 6) : 0;
      if (!(error instanceof Away)) failed(error);
    }
  };
  document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(timer) : run()), { signal });
  signal.addEventListener('abort', () => clearTimeout(timer));
  run();
  return { refresh: run };
}

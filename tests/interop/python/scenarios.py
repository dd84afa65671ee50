"""Names for the scenarios of a client program, and what they all need.

Each program is run as `program.py SCENARIO`, with the broker's URI in AMQP_URL.
"""

import asyncio
import inspect
import os
import sys
import time
import uuid

URL = os.environ["AMQP_URL"]
PATIENCE = 60  # seconds until a step has failed; far more than any step takes

_scenarios = {}


def scenario(function):
    """Makes a function runnable by its name."""
    _scenarios[function.__name__] = function
    return function


def unique(name):
    """A name that no other test uses: they may share a broker."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def equal(actual, expected):
    assert actual == expected, f"expected {expected!r}, got {actual!r}"


def until(condition, step=lambda: time.sleep(0.01)):
    """Repeats `step` until the condition holds, and returns what it gave."""
    deadline = time.monotonic() + PATIENCE
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {inspect.getsource(condition)}"
        step()


def with_time_enough(times, attempt):
    """Tries it with the first of the times, and with a longer one if that fails: a busy machine may have been too slow."""
    *shorter, longest = times
    for time_for_it in shorter:
        try:
            return attempt(time_for_it)
        except Exception as error:
            print(f"not within {time_for_it} s: {error!r}", file=sys.stderr)
    return attempt(longest)


def main():
    function = _scenarios[sys.argv[1]]
    if inspect.iscoroutinefunction(function):
        asyncio.run(asyncio.wait_for(function(), 4 * PATIENCE))
    else:
        function()

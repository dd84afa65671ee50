"""celery: a real worker process, and this program that sends it tasks."""

import os
import subprocess
import sys

from scenarios import PATIENCE, equal, main, scenario, unique

os.environ["CELERY_QUEUE"] = unique("celery")


@scenario
def runs_retries_and_reports_tasks():
    from celery import group
    from celery_tasks import add, app, fail, succeed_at_the_third_attempt

    folder = os.path.dirname(os.path.abspath(__file__))
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--concurrency=1", "--pool=solo", "-l", "INFO"],
        cwd=folder,
    )
    try:
        equal(add.delay(2, 3).get(timeout=2 * PATIENCE), 5)
        equal(succeed_at_the_third_attempt.delay().get(timeout=PATIENCE), 2)
        equal(add.apply_async((1, 1), countdown=0.2).get(timeout=PATIENCE), 2)
        try:
            fail.delay().get(timeout=PATIENCE)
            raise AssertionError("the task did not fail")
        except ValueError as error:
            equal(str(error), "on purpose")
        equal(sorted(group(add.s(n, n) for n in range(10))().get(timeout=PATIENCE)), list(range(0, 20, 2)))
        # Remote control goes through fanout exchanges and reply queues of celery's own.
        replies = app.control.ping(timeout=PATIENCE, limit=1)
        equal(len(replies), 1)
    finally:
        worker.terminate()
        worker.wait(timeout=PATIENCE)
    with app.connection() as connection:
        connection.default_channel.queue_delete(os.environ["CELERY_QUEUE"])


main()

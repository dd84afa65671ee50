"""The tasks that the celery worker of the test runs."""

import os

from celery import Celery

app = Celery("interop", broker=os.environ["AMQP_URL"].replace("amqp://", "pyamqp://"), backend="rpc://")
app.conf.update(
    broker_connection_retry_on_startup=False,
    task_acks_late=True,
    task_default_queue=os.environ["CELERY_QUEUE"],
    task_publish_retry=False,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
)


@app.task
def add(x, y):
    return x + y


@app.task(bind=True, max_retries=3)
def succeed_at_the_third_attempt(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.2)
    return self.request.retries


@app.task
def fail():
    raise ValueError("on purpose")

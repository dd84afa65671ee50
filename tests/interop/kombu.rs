//! kombu (Python, on py-amqp) and celery with a real worker process.

mod library {
    use crate::clients::{run_python, scenarios};

    scenarios!(
        run_python,
        "kombu_client.py",
        [
            produces_and_consumes_serialised_messages,
            uses_its_simple_queue,
            revives_a_channel_after_an_exception,
            keeps_heartbeats_and_pools,
            binds_headers_and_priorities,
        ]
    );
}

mod celery {
    use crate::clients::{run_python, scenarios};

    scenarios!(
        run_python,
        "celery_client.py",
        [runs_retries_and_reports_tasks,]
    );
}

//! pika (Python): the blocking adapter, and the select adapter with everything by callback.

mod blocking {
    use crate::clients::{run_python, scenarios};

    scenarios!(
        run_python,
        "pika_blocking.py",
        [
            announces_itself_and_its_capabilities,
            declares_binds_purges_and_deletes,
            confirms_and_returns,
            refuses_what_a_full_queue_rejects,
            consumes_with_prefetch_and_requeues,
            gives_back_what_a_closed_channel_held,
            recovers_unacknowledged_messages,
            gets_messages_with_all_their_properties,
            keeps_exclusive_queues_to_their_connection,
            tells_consumers_that_their_queue_is_gone,
            routes_by_topic_headers_and_fanout,
            commits_and_rolls_back_transactions,
            answers_through_direct_reply_to,
            dead_letters_expired_rejected_and_surplus_messages,
            negotiates_heartbeats_and_keeps_idle_connections,
            reopens_a_channel_after_an_exception,
            carries_large_messages,
            accepts_unicode_names,
            registers_blocked_callbacks_and_closes_cleanly,
            refuses_wrong_credentials_and_vhosts,
            publishes_from_a_thread_while_another_consumes,
        ]
    );
}

mod select {
    use crate::clients::{run_python, scenarios};

    scenarios!(
        run_python,
        "pika_select.py",
        [
            publishes_with_confirms_and_consumes,
            returns_mandatory_messages_before_their_confirm,
            survives_a_channel_exception,
            hears_that_its_consumer_is_cancelled,
        ]
    );
}

//! The task that has the core keep its statistics, once a second.

use std::{sync::Arc, time::Duration};

use broker_core::broker::Broker;
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use crate::clock::Clock;

/// Looks once a second, for ever.
pub async fn run(broker: Arc<Broker>, clock: Clock) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let broker = Arc::clone(&broker);
        let now = clock.now();
        // With very many busy queues this takes a while, which no connection is to wait for.
        let sampled = spawn_blocking(move || broker.sample_statistics(now));
        if let Err(error) = sampled.await {
            tracing::error!("statistics are no longer kept: {error}");
            return;
        }
    }
}

//! The task that lets messages expire when their time has come, also where no consumer looks.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use broker_core::broker::Broker;
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;

/// Sleeps until the next expiry and carries it out, for ever.
pub async fn run(broker: Arc<Broker>, clock: Clock) {
    loop {
        until_due(&broker, clock).await;
        broker.run_expiries(clock.now());
        // Very many expire in slices: others get their turn between two of them.
        tokio::task::yield_now().await;
    }
}

/// Returns when an expiry is due.
async fn until_due(broker: &Broker, clock: Clock) {
    let mut timer = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        let Some(next) = broker.expiries().poll_next(cx.waker()) else {
            return Poll::Pending;
        };
        if next <= clock.now() {
            return Poll::Ready(());
        }
        timer.as_mut().reset(Instant::from_std(clock.instant(next)));
        timer.as_mut().poll(cx)
    })
    .await;
}

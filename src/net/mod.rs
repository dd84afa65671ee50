//! Sockets: where the broker listens, and how connections are accepted.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "AMQP connections are the next step")
)]
pub mod accept;
pub mod listen;

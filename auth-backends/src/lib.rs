//! Who may log in to the broker and do what, as others know it: by tokens that an OAuth 2 server has signed
//! ([`oauth2`]), and by asking a service over HTTP ([`http`]).
//!
//! Both speak as RabbitMQ's plugins `rabbitmq_auth_backend_oauth2` and `rabbitmq_auth_backend_http` do. They are
//! [`Backend`](broker_core::authentication::Backend)s of the core: what they can say at once they say at once, from keys
//! and answers that they remember; for the rest they wait for the network, and are asked where nobody else waits.

mod cache;
mod client;
pub mod error;
pub mod http;
pub mod oauth2;

pub use error::Error;

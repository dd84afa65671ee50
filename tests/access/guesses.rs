//! Guesses that come together: checking a login takes time here, and many begin before the first one has failed.

use std::{
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Instant,
};

use crate::{
    leveret_only,
    support::{Broker, Login, PATIENCE, Peer, connection, handshake::plain, http::Http},
    web,
};

/// Guesses at the same time.
const GUESSES: usize = 300;

/// Logins that are asked about at the same time.
const TOGETHER: usize = 64;

/// A service that refuses everybody, but not before it is told to answer.
#[derive(Default)]
struct Gate {
    /// How often it was asked, and whether it answers.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        self.changed.notify_all();
        let waited = self
            .changed
            .wait_timeout_while(state, PATIENCE, |(_, open)| !*open);
        drop(waited.unwrap());
    }

    fn wait_for(&self, asked: usize) {
        let state = self.state.lock().unwrap();
        let waited = self
            .changed
            .wait_timeout_while(state, PATIENCE, |(count, _)| *count < asked);
        let (state, _) = waited.unwrap();
        assert!(state.0 >= asked, "asked {} times", state.0);
    }

    fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    fn asked(&self) -> usize {
        self.state.lock().unwrap().0
    }
}

fn scene() -> (Broker, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let asked = Arc::clone(&gate);
    let address = web::serve(move |_| {
        asked.pass();
        (200, "deny".to_owned())
    });
    let path = format!("http://{address}/auth");
    let broker = Broker::start_with_options(&[
        ("LEVERET_AUTH_BACKENDS", "http"),
        ("LEVERET_AUTH_HTTP_USER_PATH", &path),
        ("LEVERET_AUTH_HTTP_VHOST_PATH", &path),
        ("LEVERET_AUTH_HTTP_RESOURCE_PATH", &path),
        ("LEVERET_AUTH_HTTP_TOPIC_PATH", &path),
        ("LEVERET_AUTH_HTTP_REQUEST_TIMEOUT_SECONDS", "300"),
        ("LEVERET_AMQP_LOGIN_TIMEOUT_SECONDS", "300"),
    ]);
    (broker, gate)
}

/// Only those that were begun before the first failure were looked at, the few that cost nothing, and on a slow machine some
/// for whom those before them have waited long enough.
fn are_bounded(gate: &Gate) {
    let asked = gate.asked();
    assert!(asked < GUESSES / 2, "{asked} of {GUESSES} looked at");
}

#[test]
fn guesses_that_come_together_are_not_all_looked_at() {
    leveret_only!("the service is configured");
    let (broker, gate) = scene();
    let mut peers: Vec<Peer> = (0..GUESSES)
        .map(|number| {
            let mut peer = Peer::tcp_to(broker.amqp_address());
            peer.greet();
            let login = Login {
                response: plain("ann", &format!("guess {number}")),
                ..Login::default()
            };
            peer.send(0, login.start_ok());
            peer
        })
        .collect();
    gate.wait_for(TOGETHER);
    gate.open();
    for peer in &mut peers {
        // Told that it is refused, or just closed.
        if peer
            .read_frame(Instant::now() + PATIENCE, "a refusal")
            .is_some()
        {
            peer.send(0, connection::CloseOk {});
        }
    }
    are_bounded(&gate);
}

#[test]
fn guesses_over_http_that_come_together_are_not_all_looked_at() {
    leveret_only!("the service is configured");
    let (broker, gate) = scene();
    let guesses: Vec<_> = (0..GUESSES)
        .map(|number| Http::user(&broker, "ann", &format!("guess {number}")))
        .map(|ann| thread::spawn(move || ann.send("GET", "/api/whoami", None).status))
        .collect();
    gate.wait_for(TOGETHER);
    gate.open();
    for guess in guesses {
        assert_eq!(guess.join().unwrap(), 401);
    }
    are_bounded(&gate);
}

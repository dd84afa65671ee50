//! A broker in this process, over stores in memory, that listens on a port of its own.

use std::{net::SocketAddr, sync::Arc};

use broker_core::{
    broker::Broker,
    definitions::{MemoryDefinitions, PermissionDefinition},
    store::MemoryStore,
    users::{NewPassword, SHA_256},
};
use leveret::{
    clock::Clock,
    net::connection::{self, Serving},
    protocol::{Settings, server_properties::Greeting},
};
use tokio::runtime::{Builder, Runtime};

use crate::support::{Login, Peer, handshake::plain};

/// Who the tests are in the audit log.
pub const TEST: &str = "test";

/// A running broker; it ends with the value.
pub struct Served {
    pub broker: Arc<Broker>,
    pub address: SocketAddr,
    pub serving: Serving,
    pub runtime: Runtime,
}

/// What connections are allowed, if the test does not say otherwise.
pub fn settings() -> Settings {
    Settings {
        greeting: Greeting::new("test"),
        heartbeat: 0,
        channel_max: 2047,
        frame_max: 131_072,
        max_message_size: 16 << 20,
        consumer_timeout: 0,
        login_timeout: 300_000,
        connection_max: 0,
        loopback_users: vec!["guest".to_owned()],
    }
}

impl Served {
    pub fn start() -> Self {
        Self::start_with(settings())
    }

    /// A broker whose users those know that these environment variables name.
    pub fn start_configured(options: Vec<(String, String)>) -> Self {
        let loaded = leveret::config::load(None, options, &[]).expect("a good configuration");
        let chain = leveret::authentication::configured(&loaded.config);
        let served = Self::start();
        let set = served
            .broker
            .set_authentication(chain.expect("good options"));
        assert!(set);
        served
    }

    pub fn start_with(settings: Settings) -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = Clock::start();
        let broker = Broker::start(store, Arc::new(MemoryDefinitions::new()), clock.now());
        let broker = broker.expect("a broker over memory");
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("its address");
        let serving = Serving {
            broker: Arc::clone(&broker),
            settings: Arc::new(settings),
            clock,
        };
        let plain = serving.clone();
        runtime.spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                tokio::spawn(connection::run(stream, (peer, address), plain.clone()));
            }
        });
        Self {
            broker,
            address,
            serving,
            runtime,
        }
    }

    /// Creates a user whose password is its name, with these permissions to configure, write and read in `/`. The
    /// password is hashed as RabbitMQ does it, for that is quick.
    pub fn user(&self, name: &str, [configure, write, read]: [&str; 3]) {
        self.user_without_permissions(name);
        self.permit(name, "/", [configure, write, read]);
    }

    pub fn user_without_permissions(&self, name: &str) {
        let hash = quick_hash(name);
        let password = NewPassword::Hash {
            hash: &hash,
            algorithm: SHA_256,
        };
        let created = self.broker.put_user(name, password, &[], TEST);
        created.expect("a user");
    }

    pub fn permit(&self, user: &str, vhost: &str, [configure, write, read]: [&str; 3]) {
        let permission = PermissionDefinition {
            user: user.to_owned(),
            vhost: vhost.to_owned(),
            configure: configure.to_owned(),
            write: write.to_owned(),
            read: read.to_owned(),
        };
        let set = self.broker.set_permissions(&permission, TEST);
        set.expect("permissions");
    }

    /// A TCP connection, nothing said yet.
    pub fn tcp(&self) -> Peer {
        Peer::tcp_to(self.address)
    }

    /// A connection of this user, whose password is its name, with channel 1 open.
    pub fn connect(&self, user: &str) -> Peer {
        let mut peer = self.connect_without_channel(user, "/");
        peer.open_channel(1);
        peer
    }

    pub fn connect_without_channel(&self, user: &str, vhost: &'static str) -> Peer {
        self.tcp().opened(&Login {
            response: plain(user, user),
            vhost,
            ..Login::default()
        })
    }
}

/// The salted SHA-256 of a password, as RabbitMQ writes it.
pub fn quick_hash(password: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use sha2::{Digest as _, Sha256};
    let mut salted = b"salt".to_vec();
    salted.extend(Sha256::digest(format!("salt{password}")));
    BASE64_STANDARD.encode(salted)
}

//! The ports of the broker: taken before it reads its data, listened on once it can serve, each with its protocol.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::{Extension, Router, serve::Listener};
use tokio::net::TcpStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Config, ProxyProtocol},
    error::Error,
    net::{
        accept,
        connection::{self, Serving},
        http,
        listen::{self, Bound},
        proxy::{Arrival, Ends},
        secure,
        secure_http::SecureListener,
        sources::Sources,
    },
    tls::Tls,
};

/// The ports that the broker has taken, and does not listen on yet.
pub struct Ports {
    amqp: Vec<Bound>,
    amqps: Vec<Bound>,
    http: Vec<Bound>,
    https: Vec<Bound>,
}

impl Ports {
    /// Takes the ports that the configuration names.
    ///
    /// # Errors
    /// [`Error::Listen`] for the first one that cannot be had.
    pub fn bind(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            amqp: listen::bind("AMQP 0-9-1", &config.amqp.listen)?,
            amqps: listen::bind("AMQP 0-9-1 over TLS", &config.tls.listen)?,
            http: listen::bind("HTTP", &config.http.listen)?,
            https: listen::bind("HTTP over TLS", &config.http.tls_listen)?,
        })
    }

    /// Admits connections; they wait until somebody serves them.
    ///
    /// # Errors
    /// [`Error::Listen`] when another process was faster.
    pub fn listen(self) -> Result<Listening, Error> {
        let listen = |bound: Vec<Bound>| -> Result<Vec<TcpListener>, Error> {
            bound.into_iter().map(Bound::listen).collect()
        };
        Ok(Listening {
            amqp: listen(self.amqp)?,
            amqps: listen(self.amqps)?,
            http: listen(self.http)?,
            https: listen(self.https)?,
        })
    }
}

/// The ports that the broker listens on.
pub struct Listening {
    amqp: Vec<TcpListener>,
    amqps: Vec<TcpListener>,
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
}

impl Listening {
    /// What the HTTP API says of them, in RabbitMQ's words.
    ///
    /// # Errors
    /// The system does not know an address.
    pub fn describe(&self) -> io::Result<Vec<management_api::Listener>> {
        let all = [
            ("amqp", &self.amqp),
            ("amqp/ssl", &self.amqps),
            ("http", &self.http),
            ("https", &self.https),
        ];
        let each = all.iter().flat_map(|(protocol, listeners)| {
            listeners.iter().map(|listener| (*protocol, listener))
        });
        each.map(|(protocol, listener)| {
            let address = listener.local_addr()?;
            Ok(management_api::Listener { protocol, address })
        })
        .collect()
    }

    /// Serves them all until the broker stops. Without `tls` nothing listens for it.
    ///
    /// # Errors
    /// The runtime cannot take a listener.
    pub fn serve(self, house: &House, router: &Router, tls: Option<&Arc<Tls>>) -> io::Result<()> {
        for listener in self.amqp {
            let serving = house.serving.clone();
            let serve = move |stream, ends| connection::run(stream, ends, serving.clone());
            house.serve_amqp(listener, serve)?;
        }
        for listener in self.http {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            house.serve_http(listener, router.clone());
        }
        let Some(tls) = tls else {
            return Ok(());
        };
        for listener in self.amqps {
            let (serving, tls) = (house.serving.clone(), Arc::clone(tls));
            let serve =
                move |stream, ends| secure::run(stream, ends, Arc::clone(&tls), serving.clone());
            house.serve_amqp(listener, serve)?;
        }
        for listener in self.https {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let listener = SecureListener::start(listener, Arc::clone(tls))?;
            let router = router.clone().layer(Extension(management_api::Secure));
            house.serve_http(listener, router);
        }
        Ok(())
    }
}

/// What all listeners and connections share.
pub struct House {
    /// The tasks of listeners and connections.
    pub tasks: TaskTracker,
    /// Whether the broker stops.
    pub stopping: CancellationToken,
    /// What connections work with.
    pub serving: Serving,
    arrival: Arrival,
    sources: Arc<Sources>,
}

impl House {
    /// A house without tasks.
    pub fn new(config: &Config, serving: Serving, stopping: CancellationToken) -> Self {
        Self {
            tasks: TaskTracker::new(),
            stopping,
            serving,
            arrival: Arrival {
                proxied: config.amqp.proxy_protocol == ProxyProtocol::Required,
                patience: Duration::from_secs(config.amqp.login_timeout_seconds),
            },
            sources: Sources::new(config.amqp.connection_max_per_address),
        }
    }

    fn serve_amqp<Connection>(
        &self,
        listener: TcpListener,
        serve: impl Fn(TcpStream, Ends) -> Connection + Send + Sync + 'static,
    ) -> io::Result<()>
    where
        Connection: Future<Output = ()> + Send + 'static,
    {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (arrival, serve) = (self.arrival, Arc::new(serve));
        let (connections, sources) = (self.tasks.clone(), Arc::clone(&self.sources));
        let on_connection = move |mut stream: TcpStream, peer| {
            let (sources, serve) = (Arc::clone(&sources), Arc::clone(&serve));
            connections.spawn(async move {
                let Some(ends) = arrival.ends(&mut stream, peer).await else {
                    return;
                };
                let peer = ends.0;
                match sources.count(peer.ip()) {
                    Some(_counted) => serve(stream, ends).await,
                    None => {
                        tracing::warn!(target: "audit", %peer, "connection refused: too many from this address");
                    }
                }
            });
        };
        let stopping = self.stopping.clone();
        self.tasks
            .spawn(accept::accept(listener, stopping, on_connection));
        Ok(())
    }

    fn serve_http(&self, listener: impl Listener<Addr = SocketAddr>, router: Router) {
        let (stopping, connections) = (self.stopping.clone(), self.tasks.clone());
        let serving = http::serve(listener, router, stopping, connections);
        self.tasks.spawn(serving);
    }
}

//! TLS with real certificates, and logging in with those of clients.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Instant,
};

use broker_core::users::NewPassword;
use leveret::{
    config::{ClientCertificates, LoginName, Tls as Options},
    net::secure,
    tls::Tls,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        version::{TLS12, TLS13},
    },
};

use crate::{
    leveret_only,
    served::{Served, TEST, settings},
    support::{
        Broker, Login, PATIENCE, Peer,
        certificates::{Authority, Pair},
        connection,
    },
};

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn options(authority: &Authority, server: &Pair) -> Options {
    Options {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        certificate: text(&server.certificate),
        key: text(&server.key),
        client_certificates: ClientCertificates::None,
        client_ca: text(&authority.root()),
        login_name: LoginName::CommonName,
        versions: vec!["1.3".to_owned(), "1.2".to_owned()],
        ciphers: Vec::new(),
    }
}

/// A broker that speaks TLS, the certificates around it, and clients.
struct Scene {
    served: Served,
    authority: Authority,
    address: SocketAddr,
}

impl Scene {
    fn start(change: impl FnOnce(&mut Options)) -> Self {
        let authority = Authority::new();
        let mut options = options(&authority, &authority.server("server"));
        change(&mut options);
        let served = Served::start();
        let address = listen(&served, &options);
        Self {
            served,
            authority,
            address,
        }
    }

    /// A connection over TLS, nothing said yet.
    fn tcp(&self, own: Option<&Pair>, versions: &[&'static SupportedProtocolVersion]) -> Peer {
        let config = client(&self.authority.root(), own, versions);
        Peer::tcp_to(tunnel(&self.served, self.address, config))
    }

    fn attempt(
        &self,
        own: Option<&Pair>,
        mechanism: &'static str,
        response: &str,
    ) -> (String, Peer) {
        let mut peer = self.tcp(own, &BOTH);
        let start = peer.greet();
        let login = Login {
            mechanism,
            response: response.as_bytes().to_vec().into(),
            ..Login::default()
        };
        peer.send(0, login.start_ok());
        (start.mechanisms.to_string(), peer)
    }
}

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

fn listen(served: &Served, options: &Options) -> SocketAddr {
    let tls = Tls::open(options).unwrap();
    let serving = served.serving.clone();
    let listener = served.runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap();
    let address = listener.local_addr().unwrap();
    served.runtime.spawn(Arc::clone(&tls).watch());
    served.runtime.spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let ends = (peer, address);
            tokio::spawn(secure::run(stream, ends, Arc::clone(&tls), serving.clone()));
        }
    });
    address
}

fn client(
    root: &Path,
    own: Option<&Pair>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(root).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = vec![CertificateDer::from_pem_file(&own.certificate).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

/// Where a peer that knows no TLS reaches `to` over TLS. The stream ends when the handshake fails.
fn tunnel(served: &Served, to: SocketAddr, config: ClientConfig) -> SocketAddr {
    let listener = served.runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap();
    let address = listener.local_addr().unwrap();
    served.runtime.spawn(async move {
        let (mut peer, _) = listener.accept().await?;
        let stream = TcpStream::connect(to).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await?;
        copy_bidirectional(&mut peer, &mut stream).await
    });
    address
}

#[test]
fn messages_travel_over_each_version_of_tls() {
    let scene = Scene::start(|_| {});
    for version in BOTH {
        let mut peer = scene.tcp(None, &[version]).opened(&Login::default());
        peer.open_channel(1);
        let queue = peer.fresh_queue(1, "tls");
        peer.consume_no_ack(1, &queue, "consumer");
        let body = "large ".repeat(1_000_000);
        peer.publish(1, "", &queue, &body);
        assert!(peer.expect_delivery(1).text() == body);
        for number in 0..1000 {
            peer.publish(1, "", &queue, &format!("small {number}"));
        }
        for number in 0..1000 {
            assert_eq!(peer.expect_delivery(1).text(), format!("small {number}"));
        }
        peer.close();
    }
}

#[test]
fn a_version_or_cipher_that_is_not_admitted_is_not_spoken() {
    let scene = Scene::start(|options| options.versions = vec!["1.3".to_owned()]);
    scene.tcp(None, &[&TLS12]).time_to_end();
    scene.tcp(None, &[&TLS13]).opened(&Login::default());
    let scene = Scene::start(|options| options.ciphers = vec!["TLS_AES_128_GCM_SHA256".to_owned()]);
    scene.tcp(None, &[&TLS12]).time_to_end();
    scene.tcp(None, &[&TLS13]).opened(&Login::default());
}

#[test]
fn a_client_that_speaks_no_tls_or_nothing_is_dropped() {
    let authority = Authority::new();
    let options = options(&authority, &authority.server("server"));
    let mut settings = settings();
    settings.login_timeout = 500;
    let served = Served::start_with(settings);
    let address = listen(&served, &options);
    let mut plain = Peer::tcp_to(address);
    plain.send_bytes(b"AMQP\x00\x00\x09\x01");
    plain.time_to_end();
    Peer::tcp_to(address).time_to_end();
}

#[test]
fn a_client_whose_handshake_does_not_end_is_dropped_before_it_costs_much() {
    let scene = Scene::start(|_| {});
    // The first message is announced as the longest that there can be, and comes in pieces.
    let mut message = vec![1, 0, 0xff, 0xfb];
    message.resize(0xffff, b'x');
    let mut half_open = Peer::tcp_to(scene.address);
    for piece in message.chunks(16_384).take(3) {
        let mut record = vec![22, 3, 1];
        record.extend(u16::try_from(piece.len()).unwrap().to_be_bytes());
        record.extend(piece);
        // The last one perhaps finds the socket closed.
        half_open.try_send_bytes(&record);
    }
    let waited = half_open.time_to_end();
    assert!(waited < PATIENCE, "{waited:?}");
    scene.tcp(None, &BOTH).opened(&Login::default());
}

#[test]
fn a_client_logs_in_with_the_name_in_its_certificate() {
    let scene = Scene::start(|options| options.client_certificates = ClientCertificates::Optional);
    let broker = &scene.served.broker;
    let put = broker.put_user("somebody", NewPassword::None, &[], TEST);
    put.unwrap();
    let somebody = scene.authority.client("somebody");
    let (mechanisms, mut peer) = scene.attempt(Some(&somebody), "EXTERNAL", "");
    assert_eq!(mechanisms, "PLAIN AMQPLAIN EXTERNAL");
    peer.expect::<connection::Tune>(0);
    // Another mechanism works with a certificate too.
    let (_, mut peer) = scene.attempt(Some(&somebody), "PLAIN", "\0guest\0guest");
    peer.expect::<connection::Tune>(0);
    let nobody = scene.authority.client("nobody");
    let (_, mut peer) = scene.attempt(Some(&nobody), "EXTERNAL", "");
    let close = peer.expect_close_with_code(403);
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. For details see the broker \
                logfile.";
    assert_eq!(close.reply_text.as_str(), text);
    // Without a certificate the mechanism is neither offered nor there.
    let (mechanisms, mut peer) = scene.attempt(None, "EXTERNAL", "somebody");
    assert_eq!(mechanisms, "PLAIN AMQPLAIN");
    peer.expect_close_with_code(503);
}

#[test]
fn a_certificate_can_be_required_and_has_to_come_from_the_right_authority() {
    let scene = Scene::start(|options| options.client_certificates = ClientCertificates::Required);
    let mut peer = scene.tcp(None, &BOTH);
    peer.try_send_bytes(b"AMQP\x00\x00\x09\x01");
    peer.time_to_end();
    let stranger = Authority::new();
    let stranger = stranger.client("guest");
    let mut peer = scene.tcp(Some(&stranger), &BOTH);
    peer.try_send_bytes(b"AMQP\x00\x00\x09\x01");
    peer.time_to_end();
    let guest = scene.authority.client("guest");
    let (_, mut peer) = scene.attempt(Some(&guest), "EXTERNAL", "");
    peer.expect::<connection::Tune>(0);
}

#[test]
fn new_certificate_files_are_for_new_connections() {
    let scene = Scene::start(|_| {});
    let mut open = scene.tcp(None, &BOTH).opened(&Login::default());
    let renewed = Authority::new();
    let pair = renewed.server("server");
    let ours = scene.authority.root();
    let folder = ours.parent().unwrap();
    // A certificate that does not fit the key yet is left alone.
    fs::copy(&pair.certificate, folder.join("server.pem")).unwrap();
    scene.tcp(None, &BOTH).opened(&Login::default());
    fs::copy(&pair.key, folder.join("server.key")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let config = client(&renewed.root(), None, &BOTH);
        let mut peer = Peer::tcp_to(tunnel(&scene.served, scene.address, config));
        peer.try_send_bytes(b"AMQP\x00\x00\x09\x01");
        let answer = peer.read_frame(Instant::now() + PATIENCE, "start");
        if answer.is_some() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "the certificate is not read again"
        );
        crate::support::pause();
    }
    open.round_trip();
}

#[test]
fn what_is_wrong_with_the_files_is_one_clear_line() {
    let authority = Authority::new();
    let server = authority.server("server");
    let good = options(&authority, &server);
    let error = |change: &dyn Fn(&mut Options)| {
        let mut options = good.clone();
        change(&mut options);
        Tls::open(&options).unwrap_err().to_string()
    };
    let missing = error(&|options| options.certificate = String::new());
    let expected =
        "TLS: tls.certificate: must name a file, for there are addresses to listen for TLS";
    assert_eq!(missing, expected);
    let unreadable = error(&|options| options.key = "/nowhere".to_owned());
    let start = "TLS: /nowhere: holds no private key: ";
    assert!(unreadable.starts_with(start), "{unreadable}");
    let no_certificate = error(&|options| options.certificate = options.key.clone());
    assert!(
        no_certificate.contains("holds no certificates"),
        "{no_certificate}"
    );
    let other = authority.client("other");
    let mismatch = error(&|options| options.key = text(&other.key));
    assert!(mismatch.contains("server.pem and "), "{mismatch}");
    let expired = authority.expired();
    let expired = error(&|options| {
        options.certificate = text(&expired.certificate);
        options.key = text(&expired.key);
    });
    assert!(
        expired.contains("the certificate is valid from Jan  1 00:00:00 2000"),
        "{expired}"
    );
    let cipher = error(&|options| options.ciphers = vec!["RC4".to_owned()]);
    let start = "TLS: tls.ciphers: unknown cipher suite RC4; there are ";
    assert!(cipher.starts_with(start), "{cipher}");
    let roots = error(&|options| {
        options.client_certificates = ClientCertificates::Required;
        options.client_ca = String::new();
    });
    let expected =
        "TLS: tls.client_ca: must name a file, for there are addresses to listen for TLS";
    assert_eq!(roots, expected);
}

#[test]
fn the_http_api_is_served_over_tls_too() {
    leveret_only!("its certificates are the test's own");
    let authority = Authority::new();
    let server = authority.server("server");
    let broker = Broker::start_with_options(&[
        ("LEVERET_HTTP_TLS_LISTEN", "127.0.0.1:0"),
        ("LEVERET_TLS_CERTIFICATE", &text(&server.certificate)),
        ("LEVERET_TLS_KEY", &text(&server.key)),
    ]);
    let line = broker.await_line("where it listens", |line| {
        line.contains("HTTP over TLS on ")
    });
    let (_, address) = line.rsplit_once(' ').unwrap();
    let runtime = Served::start();
    let config = client(&authority.root(), None, &BOTH);
    let tunnel = tunnel(&runtime, address.parse().unwrap(), config);
    let mut stream = std::net::TcpStream::connect(tunnel).unwrap();
    // guest:guest, who may do this from this machine only: the API sees where the client is.
    let request = "GET /api/overview HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
                   Connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("\"protocol\":\"https\""), "{answer}");
}

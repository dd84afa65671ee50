//! Debian's RabbitMQ, in a folder and on ports of its own.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CTL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";

/// A running RabbitMQ, stopped when the value is dropped.
pub struct RabbitMq {
    process: Child,
    folder: tempfile::TempDir,
    node: String,
    ports: [u16; 3],
}

impl RabbitMq {
    /// Starts one with these plugins, as an Erlang term: `[rabbitmq_management].`
    pub fn start(plugins: &str) -> Self {
        assert!(
            Path::new(SERVER).exists(),
            "no {SERVER}: apt-get install rabbitmq-server"
        );
        // Its ports are free when they are chosen, and may even so be somebody else's when it takes them.
        let started = Self::try_start(plugins).or_else(|_| Self::try_start(plugins));
        started.unwrap()
    }

    /// What waiting for it said if it does not start.
    fn try_start(plugins: &str) -> Result<Self, Output> {
        let folder = tempfile::tempdir().unwrap();
        let ports = free_ports();
        let node = format!("leveret-test-{}@localhost", ports[0]);
        fs::write(folder.path().join("plugins"), plugins).unwrap();
        let management = format!("management.tcp.port = {}\n", ports[2]);
        let configured = plugins.contains("management").then_some(management);
        let configured = configured.unwrap_or_default();
        fs::write(folder.path().join("rabbitmq.conf"), configured).unwrap();
        let out = fs::File::create(folder.path().join("out")).unwrap();
        let process = command(SERVER, folder.path(), &node, ports)
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let started = Self {
            process,
            folder,
            node,
            ports,
        };
        let pid = started.folder().join("pid");
        let waited = started.ctl(&["wait", "--timeout", "120", pid.to_str().unwrap()]);
        match waited.status.success() {
            true => Ok(started),
            false => Err(waited),
        }
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it listens for AMQP.
    pub fn amqp(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports[0]).into()
    }

    /// Where the management plugin listens.
    pub fn http(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports[2]).into()
    }

    /// Runs rabbitmqctl.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = command(CTL, self.folder(), &self.node, self.ports);
        command.args(arguments).output().unwrap()
    }
}

/// Three ports that nobody has. It takes RabbitMQ seconds until it listens: a port that the kernel chooses might be some
/// connection's by then, so these are below the ones that it chooses from.
fn free_ports() -> [u16; 3] {
    let first = 20_000 + (std::process::id() % 1_000) as u16 * 10;
    let mut listeners =
        (first..32_000).filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    // Kept until all are chosen, so that they differ.
    let listeners = [(); 3].map(|()| listeners.next().unwrap());
    listeners.map(|it| it.local_addr().unwrap().port())
}

fn command(program: &str, folder: &Path, node: &str, [amqp, distribution, _]: [u16; 3]) -> Command {
    let mut command = Command::new(program);
    command
        .env("RABBITMQ_NODENAME", node)
        .env("RABBITMQ_NODE_PORT", amqp.to_string())
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_PID_FILE", folder.join("pid"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
        .env("HOME", folder)
        .stdin(Stdio::null());
    command
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.ctl(&["stop"]);
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

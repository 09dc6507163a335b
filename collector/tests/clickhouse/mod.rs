//! Real servers on loopback for the tests: two nodes of Debian's ClickHouse with one cluster over
//! both, and the engine of a current one. Killed when dropped.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::skipped;

/// Debian puts it where an ordinary user does not look.
const SERVER: &str = "/usr/sbin/clickhouse-server";
const CHDB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/chdb");
const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clickhouse/engine.py");
/// How long one may take to start beside other work.
const START: Duration = Duration::from_secs(120);

/// Some that run.
pub(crate) struct Servers {
    running: Vec<Child>,
    /// The HTTP address of each.
    pub(crate) urls: Vec<String>,
    /// The cluster over all of them, where they are one.
    pub(crate) cluster: Option<&'static str>,
    folders: Vec<TempDir>,
}

impl Servers {
    /// Two nodes, each with a half of the hosts; `None` where it is not installed.
    pub(crate) fn two_nodes() -> Option<Self> {
        if !Path::new(SERVER).is_file() {
            skipped("clickhouse-server is not installed (ci/deps)");
            return None;
        }
        let nodes: [([u16; 3], TempDir); 2] =
            std::array::from_fn(|_| (free(), TempDir::new().expect("a folder")));
        let shards: String = nodes
            .iter()
            .map(|([_, tcp, _], _)| {
                format!(
                    "<shard><internal_replication>true</internal_replication><replica>
                     <host>127.0.0.1</host><port>{tcp}</port></replica></shard>"
                )
            })
            .collect();
        for (ports, dir) in &nodes {
            write_config(dir.path(), ports, &shards);
        }
        let url = |([http, ..], _): &([u16; 3], TempDir)| format!("http://127.0.0.1:{http}");
        let mut servers = Self {
            running: Vec::new(),
            urls: nodes.iter().map(url).collect(),
            cluster: Some("both"),
            folders: nodes.into_iter().map(|(_, dir)| dir).collect(),
        };
        servers.start();
        Some(servers)
    }

    /// The engine of a current one; `None` where it is not installed.
    pub(crate) fn current() -> Option<Self> {
        if !Path::new(CHDB).join("chdb").is_dir() {
            skipped("chDB is not installed (ci/deps)");
            return None;
        }
        let ([port], dir) = (free(), TempDir::new().expect("a folder"));
        let mut engine = Command::new("python3");
        engine.env("PYTHONPATH", CHDB).arg(SHIM);
        engine.arg(dir.path()).arg(port.to_string());
        let servers = Self {
            running: vec![quiet(&mut engine)],
            urls: vec![format!("http://127.0.0.1:{port}")],
            cluster: None,
            folders: vec![dir],
        };
        servers.wait();
        Some(servers)
    }

    /// Starts the nodes, with what was stored before.
    pub(crate) fn start(&mut self) {
        for dir in &self.folders {
            let mut server = Command::new(SERVER);
            server
                .arg("--config-file")
                .arg(dir.path().join("config.xml"))
                .current_dir(dir.path());
            self.running.push(quiet(&mut server));
        }
        self.wait();
    }

    /// Ends them at once.
    pub(crate) fn kill(&mut self) {
        for mut child in self.running.drain(..) {
            // It may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// The processes.
    #[allow(dead_code, reason = "a bench looks at them")]
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.running.iter().map(Child::id).collect()
    }

    fn wait(&self) {
        let deadline = Instant::now() + START;
        for url in &self.urls {
            let at = url.trim_start_matches("http://");
            while TcpStream::connect(at).is_err() {
                assert!(Instant::now() < deadline, "{url} does not answer");
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.kill();
    }
}

fn quiet(command: &mut Command) -> Child {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

/// Ports of loopback on which nobody listens.
fn free<const N: usize>() -> [u16; N] {
    let listeners: [_; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

fn write_config(dir: &Path, [http, tcp, other]: &[u16; 3], shards: &str) {
    let shown = dir.display();
    let users = "<yandex><profiles><default><max_memory_usage>1000000000</max_memory_usage>
        </default></profiles><users><default><password></password><networks><ip>127.0.0.1</ip>
        </networks><profile>default</profile><quota>default</quota></default></users>
        <quotas><default></default></quotas></yandex>";
    std::fs::write(dir.join("users.xml"), users).expect("written");
    let config = format!(
        "<yandex><logger><level>warning</level><log>{shown}/log</log>
         <errorlog>{shown}/errors</errorlog></logger>
         <http_port>{http}</http_port><tcp_port>{tcp}</tcp_port>
         <interserver_http_port>{other}</interserver_http_port>
         <interserver_http_host>127.0.0.1</interserver_http_host>
         <listen_host>127.0.0.1</listen_host><mark_cache_size>16777216</mark_cache_size>
         <path>{shown}/data/</path><tmp_path>{shown}/tmp/</tmp_path>
         <users_config>users.xml</users_config><default_profile>default</default_profile>
         <default_database>default</default_database>
         <remote_servers><both>{shards}</both></remote_servers></yandex>"
    );
    std::fs::write(dir.join("config.xml"), config).expect("written");
}

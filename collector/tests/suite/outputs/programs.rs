//! Programs that outputs are for, on loopback. Where one is not installed, a trial says so and ends:
//! `ci/deps` installs them.

#[path = "../../../../wire/tests/skipped/mod.rs"]
mod skipped;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::pki::Authority;
use crate::support::until;

pub(crate) use skipped::skipped;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// With TLS by an authority of its own.
    Prometheus,
    /// Without.
    VictoriaMetrics,
}

/// One that runs; killed when dropped.
pub(super) struct Program {
    child: Child,
    dir: TempDir,
    at: String,
    authority: Option<Authority>,
}

impl Program {
    /// Starts it; `None` where it is not installed.
    pub(super) fn start(wanted: Wanted) -> Option<Self> {
        Self::start_with(wanted, &[])
    }

    /// The same with further arguments.
    pub(super) fn start_with(wanted: Wanted, arguments: &[&str]) -> Option<Self> {
        let name = match wanted {
            Wanted::Prometheus => "prometheus",
            Wanted::VictoriaMetrics => "victoria-metrics",
        };
        let path = std::env::var("PATH").unwrap_or_default();
        if !path
            .split(':')
            .any(|folder| PathBuf::from(folder).join(name).is_file())
        {
            skipped(&format!("{name} is not installed (ci/deps)"));
            return None;
        }
        let dir = TempDir::new().expect("directory");
        let at = free();
        let mut command = Command::new(name);
        let authority = match wanted {
            Wanted::Prometheus => Some(prometheus(&mut command, &dir, &at)),
            Wanted::VictoriaMetrics => {
                command
                    .arg(format!("-storageDataPath={}", dir.path().display()))
                    .arg(format!("-httpListenAddr={at}"))
                    .arg("-search.latencyOffset=0s")
                    .arg("-memory.allowedBytes=64MiB");
                None
            }
        };
        let child = command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start");
        let program = Self {
            child,
            dir,
            at,
            authority,
        };
        until("it answers", || {
            program.query("vector(7)").filter(|n| *n == 7.0)
        });
        Some(program)
    }

    /// The address of a path.
    pub(super) fn url(&self, path: &str) -> String {
        let scheme = if self.authority.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}{path}", self.at)
    }

    /// What an output's configuration says of whom it trusts.
    pub(super) fn trust(&self) -> String {
        match &self.authority {
            None => String::new(),
            Some(_) => format!("ca_file = \"{}/ca.crt\"\n", self.dir.path().display()),
        }
    }

    /// Whether it has an address for OTLP, which answers an empty request.
    pub(super) fn takes_otlp(&self) -> bool {
        let url = self.url("/opentelemetry/v1/metrics");
        let output = Command::new("curl")
            .args([
                "-s",
                "--max-time",
                "5",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
            ])
            .args([
                "-H",
                "Content-Type: application/x-protobuf",
                "-X",
                "POST",
                &url,
            ])
            .output()
            .expect("curl");
        output.stdout.starts_with(b"2")
    }

    /// The number that a query gives; `None` for none.
    pub(super) fn query(&self, query: &str) -> Option<f64> {
        let answer = self.ask("/api/v1/query", &format!("query={query}"))?;
        let value = &answer["data"]["result"][0]["value"][1];
        value.as_str()?.parse().ok()
    }

    /// The values that a label has.
    pub(super) fn labels(&self, label: &str) -> Vec<String> {
        let answer = self.ask(&format!("/api/v1/label/{label}/values"), "start=0");
        let values = answer.expect("an answer")["data"].clone();
        serde_json::from_value(values).expect("values")
    }

    fn ask(&self, path: &str, parameter: &str) -> Option<Value> {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-G", "--max-time", "5", "--data-urlencode", parameter])
            .arg(self.url(path));
        if self.authority.is_some() {
            curl.arg("--cacert").arg(self.dir.path().join("ca.crt"));
        }
        let output = curl.output().expect("curl");
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Lets Prometheus scrape a collector from now on.
    pub(super) fn scrape(&self, at: SocketAddr, ca: &Path, token: &str) {
        let config = self.dir.path().join("prometheus.yml");
        std::fs::write(config, job(at, ca, token)).expect("write");
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", "HUP", &pid]).status();
        assert!(sent.expect("kill").success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What Prometheus, and who reads its configuration, scrapes: a collector, every second.
pub(super) fn job(at: SocketAddr, ca: &Path, token: &str) -> String {
    format!(
        "scrape_configs:\n- job_name: waybill\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  \
         scheme: https\n  tls_config:\n    ca_file: {}\n  authorization:\n    credentials: {token}\n  \
         static_configs:\n  - targets: ['{at}']\n",
        ca.display()
    )
}

fn prometheus(command: &mut Command, dir: &TempDir, at: &str) -> Authority {
    let authority = Authority::new("metrics authority");
    let server = authority.server();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("write");
        path
    };
    write("ca.crt", &authority.pem);
    write("server.crt", &server.certificate);
    write("server.key", &server.key);
    let web = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    let web = write("web.yml", web);
    let config = write("prometheus.yml", "global: {}\n");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--web.config.file={}", web.display()))
        .arg(format!("--storage.tsdb.path={}/data", dir.path().display()))
        .arg(format!("--web.listen-address={at}"))
        .arg("--web.enable-remote-write-receiver");
    authority
}

/// An address of loopback that nobody listens on.
pub(crate) fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("address").to_string()
}

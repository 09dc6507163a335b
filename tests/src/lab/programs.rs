//! Real programs as traffic: nginx, python's http server, curl, iperf3, and the lab's own server.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::host::{Host, lines};
use super::process::Running;
use super::wait::wait_until;
use crate::program::serve::Served;

/// How long a server may take to listen.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// A server and where it logs.
#[derive(Debug)]
pub struct Server {
    /// The program.
    pub running: Running,
    /// Its log, one line per request or connection.
    pub log: PathBuf,
}

impl Server {
    /// The connections that the lab's own server logged so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn served(&self) -> Result<Vec<Served>> {
        lines(&self.text()?)
    }

    /// The raw log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn text(&self) -> Result<String> {
        if !self.log.exists() {
            return Ok(String::new());
        }
        std::fs::read_to_string(&self.log).context("read server log")
    }

    /// Waits until the lab's own server has logged `count` connections and returns all.
    ///
    /// # Errors
    /// When fewer are logged in time.
    pub fn wait_served(&self, count: usize, deadline: Duration) -> Result<Vec<Served>> {
        wait_until(deadline, &format!("{count} served connections"), || {
            let served = self.served()?;
            Ok((served.len() >= count).then_some(served))
        })
    }
}

/// Starts the lab's own server on IPv4 and IPv6.
///
/// # Errors
/// When it does not listen in time.
pub fn serve(host: &Host, port: u16, options: &[&str]) -> Result<Server> {
    let log = host.stem("served").with_extension("log");
    let mut command = host.lab_program("serve");
    // One dual-stack socket: IPv4 clients arrive as v4-mapped, as with most servers.
    command
        .args(["--listen", &format!("[::]:{port}"), "--log"])
        .arg(&log)
        .args(options);
    let mut running = host.start("serve", command)?;
    running.wait_for_output("listening", START_DEADLINE)?;
    Ok(Server { running, log })
}

/// Starts nginx on IPv4 and IPv6 with `files` as its root and one access-log line per request.
///
/// # Errors
/// When it does not listen in time.
pub fn nginx(host: &Host, port: u16, files: &Path, listen_options: &str) -> Result<Server> {
    let root = format!("root {};", files.display());
    start_nginx(host, (port, listen_options), ["", &root])
}

/// Starts nginx on IPv4 and IPv6 before these servers, each with a weight. It says of every request
/// what became of it (502 where a server gave none), never leaves a server out, and each of its two
/// workers has a queue of its own.
///
/// # Errors
/// When it does not listen in time.
pub fn nginx_before(host: &Host, port: u16, servers: &[(SocketAddr, u32)]) -> Result<Server> {
    let mut upstream = String::from("upstream all { zone all 64k;");
    for (server, weight) in servers {
        write!(upstream, " server {server} weight={weight} max_fails=0;")?;
    }
    upstream += " }";
    let pass = "location / { proxy_pass http://all; proxy_next_upstream off; }";
    start_nginx(host, (port, "reuseport"), [&upstream, pass])
}

/// Gives nginx, started by [`nginx_before`], another weight for one of its servers.
///
/// # Errors
/// Those of the file system, and when it does not run.
pub fn nginx_weigh(nginx: &Server, server: SocketAddr, weight: u32) -> Result<()> {
    let file = nginx.log.with_extension("conf");
    let (begin, text) = (
        format!("server {server} weight="),
        std::fs::read_to_string(&file)?,
    );
    let (before, behind) = text.split_once(&begin).context("no such server")?;
    let (_, rest) = behind.split_once(' ').context("a weight")?;
    std::fs::write(&file, format!("{before}{begin}{weight} {rest}"))?;
    nginx.running.signal(Signal::SIGHUP)
}

fn start_nginx(
    host: &Host,
    (port, listen_options): (u16, &str),
    [http, server]: [&str; 2],
) -> Result<Server> {
    let stem = host.stem("nginx");
    let shown = stem.display();
    let log = stem.with_extension("log");
    let config = format!(
        "worker_processes 2;\npid {shown}.pid;\nerror_log {shown}.err;\ndaemon off;\nuser root;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ log_format lab '$remote_addr $remote_port $status $bytes_sent $connection';\n\
           access_log {} lab;\nkeepalive_requests 1000000;\n\
           client_body_temp_path {shown}.body;\nproxy_temp_path {shown}.proxy;\n\
           fastcgi_temp_path {shown}.fcgi;\nuwsgi_temp_path {shown}.uwsgi;\n\
           scgi_temp_path {shown}.scgi;\n{http}\n\
           server {{ listen {port} {listen_options}; listen [::]:{port} {listen_options};\n\
             {server} }} }}\n",
        log.display(),
    );
    let file = stem.with_extension("conf");
    std::fs::write(&file, config)?;
    let mut command = host.command("nginx");
    command.args([
        OsStr::new("-e"),
        stem.with_extension("err").as_os_str(),
        OsStr::new("-c"),
    ]);
    command.arg(&file);
    let running = Running::start(command, &stem)?;
    wait_listening(host, port)?;
    Ok(Server { running, log })
}

/// Starts python's http server on IPv4 and IPv6 with `files` as its root; logs to standard error.
///
/// # Errors
/// When it does not listen in time.
pub fn python_http(host: &Host, port: u16, files: &Path) -> Result<Server> {
    let mut command = host.command(python());
    command.args(["-u", "-m", "http.server", "--bind", "::", "--directory"]);
    command.arg(files).arg(port.to_string());
    let stem = host.stem("python");
    let running = Running::start(command, &stem)?;
    wait_listening(host, port)?;
    Ok(Server {
        running,
        log: stem.with_extension("err"),
    })
}

/// Starts an iperf3 server.
///
/// # Errors
/// When it does not listen in time.
pub fn iperf_server(host: &Host, port: u16) -> Result<Running> {
    let mut command = host.command("iperf3");
    command.args(["--server", "--port", &port.to_string()]);
    let running = host.start("iperf3", command)?;
    wait_listening(host, port)?;
    Ok(running)
}

/// Runs an iperf3 client to its end and returns its report.
///
/// # Errors
/// When the transfer fails.
pub fn iperf_client(host: &Host, to: SocketAddr, options: &[&str]) -> Result<Value> {
    let (address, port) = (to.ip().to_string(), to.port().to_string());
    let mut arguments = vec!["--json", "--client", &address, "--port", &port];
    arguments.extend(options);
    serde_json::from_str(&host.run("iperf3", &arguments)?).context("iperf3 report")
}

/// What curl counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Requests answered with status 200.
    pub succeeded: u64,
    /// Body bytes received.
    pub bytes: u64,
}

/// Fetches `path` `count` times with curl, one connection each.
///
/// # Errors
/// When any request fails.
pub fn curl(host: &Host, to: SocketAddr, path: &str, count: u64) -> Result<Fetched> {
    // One process, a fresh connection for each of the numbered requests.
    // The brackets of an IPv6 address are escaped: bare ones are curl's own numbering.
    let to = to.to_string().replace('[', "\\[").replace(']', "\\]");
    let url = format!("http://{to}/{path}?[1-{count}]");
    let text = host.run(
        "curl",
        &[
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--header",
            "Connection: close",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code} %{size_download}\n",
            &url,
        ],
    )?;
    let mut fetched = Fetched::default();
    for line in text.lines() {
        let (code, size) = line.split_once(' ').context("curl's report")?;
        if code == "200" {
            fetched.succeeded += 1;
            fetched.bytes += size.parse::<u64>()?;
        }
    }
    Ok(fetched)
}

/// The system's python before one that a version manager put into PATH.
#[must_use]
pub fn python() -> &'static str {
    const SYSTEM: &str = "/usr/bin/python3";
    if Path::new(SYSTEM).exists() {
        SYSTEM
    } else {
        "python3"
    }
}

/// Waits until something in `host` listens on `port`.
///
/// # Errors
/// When nothing does in time.
pub fn wait_listening(host: &Host, port: u16) -> Result<()> {
    wait_until(START_DEADLINE, &format!("listener on port {port}"), || {
        Ok(listens(host, port)?.then_some(()))
    })
}

/// Whether something in `host` listens on `port`.
///
/// # Errors
/// When the host's sockets cannot be listed.
pub fn listens(host: &Host, port: u16) -> Result<bool> {
    let suffix = format!(":{port:04X}");
    let all = host.read("/proc/net/tcp")? + &host.read("/proc/net/tcp6")?;
    Ok(all.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Column 1 is the local address, column 3 the state; 0A is LISTEN.
        words.get(1).is_some_and(|local| local.ends_with(&suffix)) && words.get(3) == Some(&"0A")
    }))
}

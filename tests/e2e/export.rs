//! Sites without a network: batches leave by hand, and a receipt comes back.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::Collector;
use tests::lab::needs::{Need, Skip};
use tests::lab::site::{Family, Middlebox, Nat, Site};
use tests::lab::topology::Topology;
use tests::lab::wait::wait_for;
use tests::lab::{Lab, command};

use crate::case::{Case, case};
use crate::nat::start_servers;
use crate::scene::{SETTLE, SHOP, STOCK, rule, shop};

pub(crate) const CASES: &[Case] = &[
    case(
        "export::batches_go_by_hand_while_agents_run_and_a_receipt_deletes_them",
        by_hand,
    ),
    case("export::pyarrow_reads_what_was_unpacked", unpacked).needing(&[Need::Program("python3")]),
];

/// Connections of each trial.
const CONNECTIONS: u64 = 20;

/// A site without a way to its collector.
struct Apart {
    site: Site,
    collector: Collector,
    agents: Vec<Agent>,
}

impl Apart {
    /// Connects and waits until both agents have counted it.
    fn new(lab: &Lab) -> Result<Self> {
        let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
        let collector = Collector::start_in(lab)?;
        let mut agents = Vec::new();
        for (host, name) in [(&site.clients[0], SHOP), (&site.backends[0], STOCK)] {
            let settings = Settings::default().with("service", &rule(name))?;
            agents.push(Agent::start_on(lab, host, None, &settings)?);
        }
        let apart = Self {
            site,
            collector,
            agents,
        };
        let _servers = start_servers(&apart.site, &[])?;
        apart.connect()?;
        wait_for(SETTLE, "counted connections", || {
            for agent in &apart.agents {
                agent.flush()?;
                let deleted = agent
                    .status()?
                    .counter("kernel_connections_deleted_total")?;
                ensure!(deleted >= CONNECTIONS, "{deleted} on {}", agent.host.name());
            }
            Ok(())
        })?;
        Ok(apart)
    }

    fn connect(&self) -> Result<()> {
        let to = self.site.backend(0, Family::V4);
        let count = CONNECTIONS.to_string();
        let seen = self.site.clients[0].connect(to, &["--count", &count])?;
        ensure!(seen.iter().all(|one| one.error.is_empty()), "{seen:?}");
        Ok(())
    }

    /// Has an agent export into a folder of its own; the files.
    fn export(&self, agent: &Agent) -> Result<Vec<PathBuf>> {
        let folder = agent.host.directory().join("stick");
        std::fs::create_dir_all(&folder)?;
        let out = folder.display().to_string();
        let report = agent.ask_json(&["export", "--out", &out])?;
        let files = report["files"].as_array().context("files")?.iter();
        let path = |file: &Value| file["file"].as_str().map(PathBuf::from);
        files.map(|file| path(file).context("a path")).collect()
    }

    fn import(&self, files: &[PathBuf]) -> Result<String> {
        let files: Vec<String> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let files = files.iter().map(String::as_str);
        let words: Vec<&str> = ["import", "--trust"].into_iter().chain(files).collect();
        self.collector.ask(&words)
    }
}

fn number(stat: &Value, name: &str) -> Result<u64> {
    stat[name]
        .as_u64()
        .with_context(|| format!("no {name} in {stat}"))
}

fn by_hand(lab: &Lab) -> Result<()> {
    let apart = Apart::new(lab)?;
    let mut by_agent = Vec::new();
    for agent in &apart.agents {
        let own = apart.export(agent)?;
        // One, and another where the agent stored a batch meanwhile.
        ensure!(!own.is_empty(), "nothing was exported");
        by_agent.push(own);
    }
    let files = by_agent.concat();
    apart.import(&files)?;
    let to = apart.site.backend(0, Family::V4);
    let check = |topology: &Topology| {
        let edge = topology.edge(&shop(&apart.site.clients[0]), to)?;
        ensure!(edge.connections == CONNECTIONS, "{}", topology.brief());
        ensure!(
            edge.evidence.iter().any(|one| one.kind == "token"),
            "no token"
        );
        Ok(())
    };
    check(&apart.collector.topology()?)?;
    // Again, it changes nothing.
    let said = apart.import(&files)?;
    ensure!(said.contains(" 0 batches stored"), "{said}");
    check(&apart.collector.topology()?)?;

    for (agent, files) in apart.agents.iter().zip(&by_agent) {
        returned(agent, files)?;
    }
    damaged(&apart, &files[0])
}

/// What arrived is deleted under the running agent, which goes on and counts it.
fn returned(agent: &Agent, files: &[PathBuf]) -> Result<()> {
    let before = agent.ask_json(&["spool", "stat"])?;
    let exported = number(&before, "exported")?;
    ensure!(exported > 0, "nothing is marked: {before}");
    let receipts: Vec<String> = files
        .iter()
        .map(|file| format!("{}.receipt", file.display()))
        .collect();
    let receipts = receipts.iter().map(String::as_str);
    let words: Vec<&str> = ["receipt"].into_iter().chain(receipts).collect();
    let deleted = agent.ask_json(&words)?;
    ensure!(
        number(&deleted, "deleted")? == exported,
        "{deleted} of {exported}"
    );
    let after = agent.ask_json(&["spool", "stat"])?;
    ensure!(number(&after, "exported")? == 0, "still there: {after}");
    agent.flush()?;
    wait_for(SETTLE, "a batch of the agent that goes on", || {
        let now = agent.ask_json(&["spool", "stat"])?;
        let more = number(&now, "batches")? > number(&after, "batches")?;
        ensure!(more, "nothing stored since: {now}");
        Ok(())
    })
}

/// A file with another byte is refused, and the store stays as it was.
fn damaged(apart: &Apart, file: &Path) -> Result<()> {
    let before = apart.collector.query("topology", "json")?;
    let mut bytes = std::fs::read(file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes)?;
    let refused = apart.import(&[file.to_owned()]);
    let why = format!("{:#}", refused.err().context("a damaged file was taken")?);
    ensure!(why.contains("was changed"), "{why}");
    let edges = |text: &str| -> Result<Value> {
        let topology: Value = serde_json::from_str(text)?;
        Ok(topology["edges"].clone())
    };
    let after = apart.collector.query("topology", "json")?;
    ensure!(edges(&before)? == edges(&after)?, "the topology changed");
    Ok(())
}

/// What a person does with it: read, filter, add up.
const READ: &str = "
import json, sys
import pyarrow.feather as feather
import pyarrow.compute as pc
edges = feather.read_table(sys.argv[1] + '/edge.arrow')
hosts = feather.read_table(sys.argv[1] + '/host.arrow')
served = edges.filter(pc.and_(pc.equal(edges['role'], 'client'), pc.equal(edges['remote_port'], 8080)))
print(json.dumps({
    'opened': pc.max(served['opened']).as_py(),
    'remote': served['remote_address'][0].as_py(),
    'hostname': hosts['hostname'][0].as_py(),
    'began': hosts['started_ms'][0].as_py().isoformat(),
    'buckets': len(served['rtt_buckets'][0].as_py()),
    'types': {field.name: str(field.type) for field in edges.schema},
}))
";

fn unpacked(lab: &Lab) -> Result<()> {
    let python = pyarrow()?;
    let apart = Apart::new(lab)?;
    let files = apart.export(&apart.agents[0])?;
    let tables = lab.directory().join("tables");
    let mut unpack = Command::new(&lab.binaries().collector);
    unpack
        .arg("unpack")
        .arg(&files[0])
        .arg("--out")
        .arg(&tables);
    command::run(unpack.args(["--format", "arrow"]))?;
    let read = command::run(Command::new(python).arg("-c").arg(READ).arg(&tables))?;
    let read: Value = serde_json::from_str(&read).with_context(|| read.clone())?;
    let backend = apart.site.backend_ip(0, Family::V4).to_string();
    ensure!(read["opened"] == CONNECTIONS, "{read}");
    ensure!(read["remote"] == backend.as_str(), "{read}");
    ensure!(read["hostname"] == apart.site.clients[0].name(), "{read}");
    ensure!(read["buckets"] == 32, "{read}");
    let types = &read["types"];
    ensure!(types["bytes_sent"] == "uint64", "{types}");
    ensure!(types["local_address"] == "string", "{types}");
    ensure!(types["since_ms"] == "timestamp[ms, tz=UTC]", "{types}");
    Ok(())
}

/// A Python that has pyarrow: its own environment below `target/`, made the first time.
fn pyarrow() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pyarrow");
    let python = root.join("bin/python");
    let has = || command::run(Command::new(&python).args(["-c", "import pyarrow.feather"]));
    if has().is_ok() {
        return Ok(python);
    }
    if !command::exists("python3") {
        return Err(Skip("needs python3".into()).into());
    }
    command::run(Command::new("python3").args(["-m", "venv"]).arg(&root))?;
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--retries",
        "1",
        "pyarrow",
    ]);
    let installed = command::finish(&mut install, "")?;
    let said = String::from_utf8_lossy(&installed.stderr);
    if !installed.status.success() && is_unreachable(&said) {
        return Err(Skip(format!("no package index with pyarrow: {}", said.trim())).into());
    }
    ensure!(installed.status.success(), "pip: {}", said.trim());
    has().context("pyarrow was installed and is not there")?;
    Ok(python)
}

/// Whether pip could not ask, or was told that there is none for this machine: anything else that
/// goes wrong is a failure.
fn is_unreachable(said: &str) -> bool {
    const WORDS: [&str; 4] = [
        "Failed to establish a new connection",
        "Temporary failure in name resolution",
        "Network is unreachable",
        "No matching distribution found",
    ];
    WORDS.iter().any(|words| said.contains(words))
}

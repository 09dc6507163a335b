//! Who may send to the collector, and what agents do when they may not.

use anyhow::{Result, ensure};
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::{self, Collector, write_secret};
use tests::lab::needs::Need;
use tests::lab::process::Running;
use tests::lab::wait::wait_for;
use tests::lab::{Lab, programs};

use crate::case::{Case, SOON, case};
use crate::scene::SETTLE;

pub(crate) const CASES: &[Case] = &[
    case(
        "upload::a_client_certificate_is_as_good_as_a_token",
        certificate,
    ),
    case(
        "upload::an_agent_that_is_not_let_in_keeps_its_batches",
        not_let_in,
    ),
    case(
        "upload::a_collector_with_another_certificate_gets_nothing",
        impostor,
    ),
    case(
        "upload::a_balancer_that_answers_anything_costs_no_batch",
        balancer,
    )
    .needing(&[Need::Program("python3")]),
    case(
        "upload::a_proxy_is_gone_through_and_its_refusal_is_named",
        proxy,
    )
    .needing(&[Need::Program("python3")]),
];

/// Starts what stands between, on the collector's host.
fn between(collector: &Collector, arguments: &[&str]) -> Result<Running> {
    let host = &collector.host;
    let script = host.directory().join("between.py");
    std::fs::write(&script, include_str!("between.py"))?;
    let mut python = host.command_beside(programs::python());
    python.arg(&script).args(arguments);
    let mut running = host.start("between", python)?;
    running.wait_for_output("listening", SOON)?;
    Ok(running)
}

/// In front of the collector stands something that answers each status, then lets through.
fn balancer(lab: &Lab) -> Result<()> {
    const PORT: u16 = 9444;
    const KINDS: [&str; 4] = ["pages", "redirections", "refusals", "failures"];
    const STATUSES: [u16; 8] = [200, 204, 307, 400, 403, 413, 502, 503];
    let collector = Collector::start_in(lab)?;
    let (directory, state) = (collector.host.directory(), lab.directory().join("state"));
    let file = |name: &str| directory.join(name).display().to_string();
    let answer = |what: &str| {
        let fresh = lab.directory().join("state.new");
        std::fs::write(&fresh, what)?;
        std::fs::rename(fresh, &state)
    };
    answer("413")?;
    let _balancer = between(
        &collector,
        &[
            "balancer",
            &PORT.to_string(),
            &file("server.pem"),
            &file("server.key"),
            &collector::ADDRESS.to_string(),
            &state.display().to_string(),
        ],
    )?;
    let url = format!("\"https://{}:{PORT}\"", collector::ADDRESS.ip());
    let settings = Settings::default().with("upload.url", &url)?;
    let host = lab.host("host")?;
    let agent = Agent::start_on(lab, &host, Some(&collector), &settings)?;
    let strangers = || -> Result<u64> {
        let status = agent.status()?;
        let of = |kind: &&str| status.counter(&format!("upload_stranger_{kind}_total"));
        KINDS.iter().map(of).sum()
    };
    for status in STATUSES {
        answer(&status.to_string())?;
        // The first one may have been asked for before.
        for _ in 0..2 {
            let before = strangers()?;
            agent.flush()?;
            wait_for(SETTLE, "answer of a stranger", || {
                ensure!(strangers()? > before, "{status} was not counted");
                Ok(())
            })?;
        }
    }
    let status = agent.status()?;
    ensure!(status.counter("upload_acked_total")? == 0, "acknowledged");
    let doctor = agent.ask_json(&["doctor"])?.to_string();
    ensure!(
        doctor.contains("something between answers in the collector's place"),
        "{doctor}"
    );
    let log = agent.running()?.errors()?;
    ensure!(
        log.contains("something between answers") && log.contains(r#"say \"hello\"\n</html>"#),
        "not named, or not escaped once: {log}"
    );
    answer("open")?;
    agent.flush()?;
    wait_for(SETTLE, "all batches to arrive", || {
        let status = agent.status()?;
        ensure!(
            status.counter("upload_dropped_refused_total")? == 0,
            "refused"
        );
        let sealed = status.counter("batch_sealed_total")?;
        let acked = status.counter("upload_acked_total")?;
        // The last one is sealed with the status.
        ensure!(acked + 1 >= sealed && acked > 0, "{acked} of {sealed}");
        Ok(())
    })
}

/// The collector is reached through a proxy alone, which wants a password.
fn proxy(lab: &Lab) -> Result<()> {
    const PORT: u16 = 3128;
    const SECRET: &str = "me:s3cret-of-the-proxy";
    let collector = Collector::start_in(lab)?;
    let heads = lab.directory().join("heads");
    let _proxy = between(
        &collector,
        &[
            "proxy",
            "0.0.0.0",
            &PORT.to_string(),
            SECRET,
            &heads.display().to_string(),
        ],
    )?;
    let auth = lab.directory().join("proxy-auth");
    write_secret(&auth, &format!("{SECRET}\n"))?;
    let with_proxy = |number: u8| {
        let url = format!("\"http://192.168.{number}.1:{PORT}\"");
        Settings::default().with("upload.proxy", &url)
    };
    let start = |name: &str, settings: &Settings, environment: &[(&str, String)]| {
        let host = lab.host(name)?;
        let mut agent = Agent::prepare(lab, &host, Some(&collector), settings)?;
        host.ip(&format!("route del {}/32\n", collector::ADDRESS.ip()))?;
        for (name, value) in environment {
            agent.set_environment(name, value);
        }
        agent.start()?;
        anyhow::Ok(agent)
    };

    let nobody = start("nobody", &with_proxy(1)?, &[])?;
    keeps(&nobody, "upload_proxy_failed_total")?;
    let log = nobody.running()?.errors()?;
    ensure!(
        log.contains("status 407: it wants a user and a password"),
        "{log}"
    );

    let file = format!("'{}'", auth.display());
    let known = with_proxy(2)?.with("upload.proxy_auth_file", &file)?;
    let known = start(
        "known",
        &known,
        &[("HTTPS_PROXY", "http://192.0.2.1:1".into())],
    )?;
    let environment = [("https_proxy", format!("http://{SECRET}@192.168.3.1:{PORT}"))];
    let told = start("told", &Settings::default(), &environment)?;
    let past = [
        ("HTTPS_PROXY", "http://192.0.2.1:1".into()),
        ("NO_PROXY", "192.168.255.0/24".into()),
    ];
    let past = start("past", &Settings::default(), &past)?;
    past.host.ip(&format!(
        "route add {}/32 via 192.168.4.1\n",
        collector::ADDRESS.ip()
    ))?;
    for (agent, said) in [
        (&known, "by=upload.proxy"),
        (&told, "by=https_proxy"),
        (&past, "by=NO_PROXY"),
    ] {
        wait_for(SETTLE, "acknowledged batch", || {
            agent.flush()?;
            let acked = agent.status()?.counter("upload_acked_total")?;
            ensure!(acked > 0, "none acknowledged");
            Ok(())
        })?;
        let log = agent.running()?.errors()?;
        ensure!(
            log.matches(said).count() == 1,
            "{said} is not said once: {log}"
        );
        ensure!(!log.contains("s3cret"), "the password is in the log: {log}");
    }
    let heads = std::fs::read_to_string(&heads)?;
    let target = format!("CONNECT {} HTTP/1.1", collector::ADDRESS);
    ensure!(heads.matches(&target).count() >= 3, "{heads}");
    Ok(())
}

fn certificate(lab: &Lab) -> Result<()> {
    let collector = Collector::start_in(lab)?;
    let (certificate, key) = collector.client_files();
    let settings = Settings::default()
        .without("upload.token_file")
        .with(
            "upload.client_cert_file",
            &format!("'{}'", certificate.display()),
        )?
        .with("upload.client_key_file", &format!("'{}'", key.display()))?;
    let host = lab.host("host")?;
    let agent = Agent::start_on(lab, &host, Some(&collector), &settings)?;
    agent.flush()?;
    wait_for(SETTLE, "acknowledged batch", || {
        let acked = agent.status()?.counter("upload_acked_total")?;
        ensure!(acked > 0, "none acknowledged");
        let hosts = collector.hosts()?.to_string();
        ensure!(hosts.contains("\"host\""), "no host row in {hosts}");
        Ok(())
    })
}

/// Waits until uploads have failed, and demands that the batches are still there.
fn keeps(agent: &Agent, refused: &str) -> Result<()> {
    agent.flush()?;
    wait_for(SETTLE, "failed upload", || {
        let status = agent.status()?;
        ensure!(
            status.counter(refused)? > 0,
            "{refused} is 0: {:?}",
            status.counters
        );
        Ok(())
    })?;
    let status = agent.status()?;
    ensure!(status.counter("upload_acked_total")? == 0, "acknowledged");
    ensure!(
        status.counter("upload_dropped_refused_total")? == 0,
        "thrown away"
    );
    ensure!(status.counter("spool_depth")? > 0, "not kept");
    Ok(())
}

fn not_let_in(lab: &Lab) -> Result<()> {
    let collector = Collector::start_in(lab)?;
    let wrong = lab.directory().join("wrong-token");
    write_secret(&wrong, "not-a-token-of-this-collector")?;
    let settings =
        Settings::default().with("upload.token_file", &format!("'{}'", wrong.display()))?;
    let host = lab.host("host")?;
    let mut agent = Agent::start_on(lab, &host, Some(&collector), &settings)?;
    keeps(&agent, "upload_unauthorized_total")?;
    // With the right token the same batches go out.
    agent.stop()?;
    write_secret(&wrong, collector::TOKEN)?;
    agent.start()?;
    wait_for(SETTLE, "empty spool", || {
        let status = agent.status()?;
        ensure!(
            status.counter("spool_found_total")? > 0,
            "the old batches are gone"
        );
        ensure!(
            status.counter("upload_acked_total")? > 0,
            "none acknowledged"
        );
        Ok(())
    })
}

fn impostor(lab: &Lab) -> Result<()> {
    let collector = Collector::start_in(lab)?;
    // Agents trust another CA than the one that signed this collector's certificate.
    let other = Lab::new(lab.binaries())?;
    let trusted = Collector::prepare(&other, "")?;
    let settings = Settings::default().with(
        "upload.ca_file",
        &format!("'{}'", trusted.ca_file().display()),
    )?;
    let host = lab.host("host")?;
    let agent = Agent::start_on(lab, &host, Some(&collector), &settings)?;
    keeps(&agent, "upload_retried_total")?;
    let hosts = collector.hosts()?.to_string();
    ensure!(
        !hosts.contains(&format!("\"{}\"", host.name())),
        "it reported: {hosts}"
    );
    other.close()
}

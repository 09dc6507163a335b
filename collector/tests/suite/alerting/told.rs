//! Where alerts are told: the real Alertmanager, a real mail server, a webhook, a file.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use super::{found, take};
use crate::outputs::{free, skipped};
use crate::support::pki::Authority;
use crate::support::site::{self, Site};
use crate::support::until;

/// A program that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn installed(name: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .any(|folder| PathBuf::from(folder).join(name).is_file())
}

/// A collector with an output of alerts.
fn start(site: &Site, output: &str) -> collector::server::Running {
    let file = site.configure(true, false, "");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let page = "[alerts]\npage_url = \"https://waybill.example\"\n";
    site.write(
        "collector.toml",
        &format!("{text}\n{page}[alerts.outputs.told]\n{output}\n"),
    );
    site::start(&collector::config::load(&file).expect("valid"))
}

fn now() -> i64 {
    collector::time::now_ms()
}

/// A name that steers terminals, pages and mails.
const HOSTILE: &str = "<script>alert(1)</script>\r\nBcc: x@evil.example\u{202e}\u{1b}[2J";

/// What Alertmanager at an address has; none while it does not answer.
fn managed(at: &str) -> Option<Vec<Value>> {
    let url = format!("http://{at}/api/v2/alerts");
    let mut curl = Command::new("curl");
    let output = curl.args(["-s", "--max-time", "5", &url]).output();
    serde_json::from_slice(&output.expect("curl").stdout).ok()
}

/// Starts Alertmanager.
fn manager(site: &Site, at: &str) -> Ends {
    site.write(
        "am.yml",
        "route: {receiver: none}\nreceivers: [{name: none}]\n",
    );
    let started = Command::new("prometheus-alertmanager")
        .arg(format!("--config.file={}", site.path("am.yml").display()))
        .arg(format!("--storage.path={}", site.path("am").display()))
        .arg(format!("--web.listen-address={at}"))
        .arg("--cluster.listen-address=")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let manager = Ends(started.expect("starts"));
    until("it answers", || managed(at));
    manager
}

#[test]
fn alertmanager_has_what_fires_and_that_it_is_over() {
    if !installed("prometheus-alertmanager") {
        return skipped("prometheus-alertmanager is not installed (ci/deps)");
    }
    let site = Site::new();
    let at = free();
    let _manager = manager(&site, &at);
    let ask = || managed(&at);
    let output = format!("kind = \"alertmanager\"\nurl = \"http://{at}\"\nevery = \"1s\"");
    let running = start(&site, &output);
    let begun = now();
    take(
        &site.path("alerts.db"),
        &found(begun, &["api", HOSTILE]),
        &[],
    );
    let told = until("it has both", || ask().filter(|all| all.len() == 2));
    let api = told
        .iter()
        .find(|one| one["labels"]["service"] == "api")
        .expect("one");
    assert_eq!(api["labels"]["alertname"], "edge-failing");
    assert_eq!(api["labels"]["severity"], "warning");
    assert_eq!(
        api["annotations"]["summary"],
        "2.5 % of connections to api fail, usual 0."
    );
    assert_eq!(api["status"]["state"], "active");
    let url = api["generatorURL"].as_str().expect("text");
    assert!(
        url.starts_with("https://waybill.example/#/alerts/"),
        "{url}"
    );
    let other = told
        .iter()
        .find(|one| one["labels"]["service"] != "api")
        .expect("one");
    let name = other["labels"]["service"].as_str().expect("text");
    assert!(name.contains("\\u{1b}") && !name.contains('\n'), "{name}");
    // It is told again under the same labels, and is still one.
    let fingerprint = api["fingerprint"].clone();
    let first = api["updatedAt"].clone();
    until("it is told again", || {
        let all = ask()?;
        let again = all.iter().find(|one| one["fingerprint"] == fingerprint)?;
        (again["updatedAt"] != first && all.len() == 2).then_some(())
    });
    take(&site.path("alerts.db"), &found(begun + 1, &[HOSTILE]), &[]);
    until("it is over there", || {
        let all = ask()?;
        all.iter()
            .all(|one| one["fingerprint"] != fingerprint)
            .then_some(())
    });
    assert!(running.metrics().alert_notices_sent_total.get() >= 4);
    assert_eq!(running.metrics().alert_notices_refused_total.get(), 0);
}

/// Python that takes mail over STARTTLS and prints each as it came, between two lines.
const MAIL_SERVER: &str = r#"
import ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
class Prints:
    seen = 0
    async def handle_DATA(self, server, session, envelope):
        Prints.seen += 1
        if Prints.seen == 1:
            return "451 come again"
        print("MAIL", envelope.mail_from, *envelope.rcpt_tos, flush=True)
        sys.stdout.write(envelope.content.decode("utf-8", "replace").replace("\r\n", "\n"))
        print("\nEND", flush=True)
        return "250 taken"
def known(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b"waybill" and data.password == b"a secret")
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(sys.argv[2], sys.argv[3])
Controller(Prints(), hostname="127.0.0.1", port=int(sys.argv[1]), tls_context=context,
    require_starttls=True, authenticator=known, auth_required=True).start()
print("READY", flush=True)
sys.stdin.read()
"#;

type Printed = std::io::Lines<BufReader<ChildStdout>>;

/// Starts a mail server, which prints what it takes.
fn mail_server(site: &Site, at: &str) -> (Ends, Printed) {
    let authority = Authority::new("mail authority");
    let server = authority.server();
    site.write("mail-ca.crt", &authority.pem);
    site.write("mail.crt", &server.certificate);
    site.write("mail.key", &server.key);
    site.write("mail.py", MAIL_SERVER);
    site.write("password", "a secret\n");
    let mut child = Command::new("/usr/bin/python3")
        .arg(site.path("mail.py"))
        .arg(at.rsplit(':').next().expect("a port"))
        .args([site.path("mail.crt"), site.path("mail.key")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "READY");
    (Ends(child), lines)
}

#[test]
fn a_mail_server_gets_one_mail_for_a_group_and_names_stay_text() {
    let python = Command::new("/usr/bin/python3")
        .args(["-c", "import aiosmtpd"])
        .output();
    if !python.is_ok_and(|output| output.status.success()) {
        return skipped("python3-aiosmtpd is not installed (ci/deps)");
    }
    let site = Site::new();
    let at = free();
    let (_server, mut lines) = mail_server(&site, &at);
    let (ca, password) = (site.path("mail-ca.crt"), site.path("password"));
    let running = start(
        &site,
        &format!(
            "kind = \"smtp\"\nserver = \"{at}\"\nca_file = \"{}\"\nuser = \"waybill\"\n\
             password_file = \"{}\"\nfrom = \"Waybill <waybill@example.com>\"\n\
             to = [\"ops@example.com\", \"Night <night@example.com>\"]",
            ca.display(),
            password.display()
        ),
    );
    take(
        &site.path("alerts.db"),
        &found(now(), &["api", "db", HOSTILE]),
        &["told"],
    );
    let mut mail = Vec::new();
    for line in lines.by_ref().map(|line| line.expect("text")) {
        if line == "END" {
            break;
        }
        mail.push(line);
    }
    assert_eq!(
        mail[0],
        "MAIL waybill@example.com ops@example.com night@example.com"
    );
    let head: Vec<&String> = mail
        .iter()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .collect();
    let named = |name: &str| head.iter().filter(|line| line.starts_with(name)).count();
    assert_eq!(
        (named("Subject:"), named("To:"), named("Bcc:")),
        (1, 1, 0),
        "{head:#?}"
    );
    let all = mail.join("\n");
    assert!(all.contains("edge-failing"), "{all}");
    let (_, page) = all.split_once("text/html").expect("a part for HTML");
    assert!(
        !page.contains("<script>") && page.contains("&lt;script&gt;"),
        "{page}"
    );
    assert!(
        !all.contains('\u{1b}') && !all.contains('\u{202e}'),
        "{all}"
    );
    // The first attempt was put off by the server.
    let metrics = running.metrics();
    assert_eq!(metrics.alert_notices_failed_total.get(), 1);
    let sent = || metrics.alert_notices_sent_total.get();
    until("it is counted", || (sent() == 1).then_some(()));
}

/// A server of HTTP that answers with these statuses, one after the other, and gives the requests.
fn webhook(statuses: &'static [u16]) -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("address").to_string();
    let (told, requests) = channel();
    let thread = std::thread::Builder::new().name(String::from("webhook"));
    let serve = move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().expect("a connection");
            let request = read(&mut stream);
            let answer =
                format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).expect("written");
            if told.send(request).is_err() {
                break;
            }
        }
    };
    thread.spawn(serve).expect("a thread");
    (at, requests)
}

fn read(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        let lower = line.to_lowercase();
        if let Some(text) = lower.strip_prefix("content-length:") {
            length = text.trim().parse().expect("a number");
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    (head, body)
}

#[test]
fn a_webhook_gets_a_signed_notice_again_until_it_takes_it() {
    let site = Site::new();
    let (at, requests) = webhook(&[503, 200, 400]);
    site.write("hmac", "0123456789abcdef0123456789abcdef\n");
    let key = site.path("hmac");
    let running = start(
        &site,
        &format!(
            "kind = \"webhook\"\nurl = \"http://{at}/hook\"\nhmac_key_file = \"{}\"",
            key.display()
        ),
    );
    let database = site.path("alerts.db");
    let begun = now();
    take(&database, &found(begun, &["api", "db", HOSTILE]), &["told"]);
    let (_, first) = requests.recv().expect("a request");
    let (head, again) = requests.recv().expect("it again");
    let (one, two): (Value, Value) = (
        serde_json::from_slice(&first).expect("JSON"),
        serde_json::from_slice(&again).expect("JSON"),
    );
    assert_eq!(one, two, "what is sent again is the same");
    assert_eq!(two["version"], 1);
    assert_eq!(two["firing"].as_array().map(Vec::len), Some(3));
    assert!(
        two["url"]
            .as_str()
            .expect("text")
            .starts_with("https://waybill.example/#/alerts/a-")
    );
    assert!(head.starts_with("POST /hook "), "{head}");
    let signature = head
        .lines()
        .find_map(|line| {
            line.split_once(": ")
                .filter(|(name, _)| name.eq_ignore_ascii_case("x-waybill-signature"))
        })
        .expect("a signature")
        .1
        .trim();
    let (time, mac) = signature.split_once(",v1=").expect("two parts");
    let time = time.strip_prefix("t=").expect("a time");
    let checked = Command::new("/usr/bin/python3")
        .args(["-c", "import hmac,sys;print(hmac.new(sys.argv[1].encode(),sys.argv[2].encode()+b'.'+sys.stdin.buffer.read(),'sha256').hexdigest())"])
        .args(["0123456789abcdef0123456789abcdef", time])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut checked = checked.expect("python3");
    checked
        .stdin
        .take()
        .expect("a pipe")
        .write_all(&again)
        .expect("written");
    let checked = checked.wait_with_output().expect("ends");
    assert_eq!(String::from_utf8_lossy(&checked.stdout).trim(), mac);
    // What is refused for good is let go.
    take(&database, &found(begun + 400_000, &[]), &["told"]);
    let (_, over) = requests.recv().expect("a third");
    let over: Value = serde_json::from_slice(&over).expect("JSON");
    assert_eq!(over["resolved"].as_array().map(Vec::len), Some(3));
    until("it is let go", || {
        let metrics = running.metrics();
        (metrics.alert_notices_refused_total.get() == 1).then_some(())
    });
    assert_eq!(running.metrics().alert_notices_sent_total.get(), 1);
    assert_eq!(running.metrics().alert_notices_failed_total.get(), 1);
}

#[test]
fn a_file_gets_a_line_for_each_notice_and_is_put_aside_when_it_is_long() {
    let site = Site::new();
    let file = site.path("alerts.jsonl");
    std::fs::write(&file, "{\"cut").expect("written");
    let _running = start(
        &site,
        &format!(
            "kind = \"file\"\npath = \"{}\"\nmax_bytes = \"2KiB\"",
            file.display()
        ),
    );
    let database = site.path("alerts.db");
    let begun = now();
    take(&database, &found(begun, &[HOSTILE]), &["told"]);
    let lines = until("the first line", || {
        let text = std::fs::read_to_string(&file).ok()?;
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        (!lines.is_empty()).then_some(lines)
    });
    assert_eq!(lines[0]["firing"][0]["rule"], "edge-failing");
    take(&database, &found(begun + 400_000, &[]), &["told"]);
    until("it is put aside", || {
        let aside = std::fs::read_to_string(site.path("alerts.jsonl.1")).ok()?;
        let text = std::fs::read_to_string(&file).ok()?;
        let last: Value = serde_json::from_str(text.lines().last()?).ok()?;
        (last["resolved"].as_array()?.len() == 1 && aside.lines().count() == 2).then_some(())
    });
}

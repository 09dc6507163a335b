use std::time::Duration;

use super::alertmanager::Alertmanager;
use super::mail::Mail;
use super::text::{Words, html};
use super::webhook::sign;
use crate::alert::finding::{Finding, RuleName, Said, Severity, Span, Subject, Terms};
use crate::alert::mute::Mutes;
use crate::alert::notify::{Notice, Shown};
use crate::alert::state::{Alert, Phase, alert_id};
use crate::alert::store::Kept;
use crate::config::{Http, Smtp, Tls};

const NOW: i64 = 1_800_000_000_000;
const HOSTILE: &str =
    "a\r\nBcc: x@evil.example\r\n\r\n<img src=x onerror=alert(1)>\u{202e}\u{1b}[2J\0";

fn alert(name: &str, phase: Phase) -> Alert {
    let rule = RuleName::new("host-wrong").expect("a name");
    let subject = Subject::Host {
        host: String::from("aa"),
        name: name.to_owned(),
    };
    Alert {
        id: alert_id(&rule, &subject),
        finding: Finding {
            rule,
            subject,
            severity: Severity::Critical,
            value: 2.0,
            unit: String::from("%"),
            usual: None,
            numbers: Default::default(),
            window: Span::default(),
            terms: Terms::default(),
            evidence: Vec::new(),
            confidence: None,
            through: Vec::new(),
            declared: false,
            summary: Said {
                en: format!("{name} is wrong"),
                zh: format!("{name} 异常"),
            },
        },
        phase,
        began_ms: NOW - 60_000,
        found_ms: NOW,
        fired_ms: Some(NOW - 30_000),
        resolved_ms: (phase == Phase::Resolved).then_some(NOW),
        held_ms: 0,
        clear_ms: 0,
        unknown_since_ms: None,
        unknown_why: None,
        fired: Vec::new(),
        flapping: false,
    }
}

fn notice(name: &str) -> Notice {
    let alert = alert(name, Phase::Firing);
    Notice {
        version: 1,
        at_ms: NOW,
        group: String::from("g-1"),
        headline: alert.finding.summary.clone(),
        severity: Severity::Critical,
        firing: vec![Shown::from(&alert)],
        escalated: Vec::new(),
        resolved: Vec::new(),
        left_out: 0,
        still_firing: 1,
        candidates: Vec::new(),
    }
}

fn mail(chinese: bool) -> Mail {
    let smtp = Smtp {
        host: String::from("localhost"),
        port: 25,
        tls: Tls::None,
        ca_file: None,
        login: None,
        from: String::from("waybill@example.com"),
        to: vec![String::from("ops@example.com")],
        timeout: Duration::from_secs(1),
    };
    let words = Words {
        is_chinese: chinese,
        page_url: None,
    };
    Mail::new(smtp, words)
}

#[test]
fn names_put_no_header_into_a_mail_and_no_element_into_its_page() {
    for chinese in [false, true] {
        let message = mail(chinese).message(7, &notice(HOSTILE)).expect("a mail");
        let text = String::from_utf8_lossy(&message.formatted()).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
        for name in ["Bcc", "Cc"] {
            let begins = head
                .lines()
                .any(|line| line.starts_with(&format!("{name}:")));
            assert!(!begins, "{head}");
        }
        assert_eq!(head.matches("Subject:").count(), 1);
        assert!(head.contains("<waybill-7-g-1@example.com>"), "{head}");
        let (_, page) = body.split_once("text/html").expect("a page");
        assert!(!page.contains("<img"), "{page}");
        assert!(!text.contains('\u{1b}') && !text.contains('\0'));
        assert_eq!(message.envelope().to().len(), 1);
    }
}

#[test]
fn words_are_of_one_language_and_lines_are_bounded() {
    let long = "x".repeat(100_000);
    for (chinese, severity) in [(false, "critical"), (true, "严重")] {
        let words = Words {
            is_chinese: chinese,
            page_url: Some(String::from("https://w.example/")),
        };
        let notice = notice(&long);
        let subject = words.subject(&notice);
        assert!(
            subject.contains(severity) && subject.chars().count() <= 150,
            "{subject}"
        );
        let body = words.body(&notice);
        assert!(body.lines().all(|line| line.chars().count() <= 520));
        assert!(body.contains("https://w.example/#/alerts/a-"), "{body}");
    }
    assert_eq!(
        html("<a href=\"x\">&'"),
        "&lt;a href=&quot;x&quot;&gt;&amp;&#39;"
    );
}

#[test]
fn a_signature_is_that_of_the_standard() {
    // Checked with Python's hmac.
    let signed = sign("key", 1, b"body");
    let expected = "t=1,v1=91b5374b153842ad05b2c4eab9349b8321b14703165bd3fb8b034dfb8be98ae5";
    assert_eq!(signed, expected);
}

#[test]
fn alertmanager_is_told_until_when_it_may_believe_it() {
    let http = Http {
        url: String::from("http://127.0.0.1:1"),
        timeout: Duration::from_secs(1),
        ca_file: None,
        token_file: None,
        client: None,
        max_series: 1,
    };
    let every = Duration::from_secs(60);
    let manager = Alertmanager::new(http, every, Severity::Warning, Words::default());
    let kept = |phase| Kept {
        alert: alert("h\n1", phase),
        group: None,
        acknowledged: None,
    };
    let mutes = Mutes::default();
    let told = |phase| manager.posted(&kept(phase), &mutes, NOW);
    let firing = told(Phase::Firing).expect("told");
    assert_eq!(firing.ends_at, crate::time::rfc3339(NOW + 240_000));
    assert_eq!(firing.starts_at, crate::time::rfc3339(NOW - 30_000));
    assert_eq!(firing.labels["host"], "h\\n1");
    let over = told(Phase::Resolved).expect("told");
    assert_eq!(over.ends_at, crate::time::rfc3339(NOW));
    assert_eq!(over.labels, firing.labels, "its identity there");
    assert_eq!(told(Phase::Pending), None);
}

//! Mail by SMTP.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::SmtpTransportBuilder;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport as _};

use super::feed::{Sent, Sink};
use super::text::{Words, html};
use crate::alert::notify::Notice;
use crate::config::{self, Smtp};
use crate::files;
use crate::outputs::Later;

/// A mail server.
pub(super) struct Mail {
    config: Smtp,
    words: Words,
}

impl Mail {
    pub(super) fn new(config: Smtp, words: Words) -> Self {
        Self { config, words }
    }

    /// The mail. `id` stands in its number, so that one that arrives twice is known.
    pub(super) fn message(&self, id: i64, notice: &Notice) -> anyhow::Result<Message> {
        let mailbox = |text: &str| -> anyhow::Result<Mailbox> {
            text.parse().with_context(|| format!("address {text:?}"))
        };
        let from = mailbox(&self.config.from)?;
        let domain = from.email.domain().to_owned();
        let mut message = Message::builder()
            .from(from)
            .subject(self.words.subject(notice))
            .message_id(Some(format!("<waybill-{id}-{}@{domain}>", notice.group)));
        for to in &self.config.to {
            message = message.to(mailbox(to)?);
        }
        let text = self.words.body(notice);
        let page = format!(
            "<!doctype html><html><body><pre style=\"white-space:pre-wrap\">{}</pre></body></html>",
            html(&text)
        );
        let body = MultiPart::alternative_plain_html(text, page);
        message.multipart(body).context("make the mail")
    }

    fn transport(&self) -> anyhow::Result<SmtpTransport> {
        let config = &self.config;
        let builder: SmtpTransportBuilder = SmtpTransport::builder_dangerous(&config.host);
        let tls = match config.tls {
            config::Tls::None => Tls::None,
            config::Tls::Starttls => Tls::Required(self.tls()?),
            config::Tls::Tls => Tls::Wrapper(self.tls()?),
        };
        let mut builder = builder
            .port(config.port)
            .tls(tls)
            .timeout(Some(config.timeout.max(Duration::from_secs(1))));
        if let Some((user, file)) = &config.login {
            let text = files::text(file).with_context(|| format!("read {}", file.display()))?;
            let password = text.lines().next().unwrap_or_default().to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(builder.build())
    }

    fn tls(&self) -> anyhow::Result<TlsParameters> {
        let mut parameters = TlsParameters::builder(self.config.host.clone());
        if let Some(file) = &self.config.ca_file {
            let pem = files::read(file, files::MAX_SMALL);
            let pem = pem.with_context(|| format!("read {}", file.display()))?;
            let certificate = Certificate::from_pem(&pem);
            let certificate = certificate.with_context(|| file.display().to_string())?;
            parameters = parameters
                .certificate_store(CertificateStore::None)
                .add_root_certificate(certificate);
        }
        parameters.build_rustls().context("set TLS up")
    }
}

impl Sink for Mail {
    fn send(&mut self, id: i64, notice: &Notice) -> Result<Sent, Later> {
        let message = match self.message(id, notice) {
            Ok(message) => message,
            Err(why) => return Ok(Sent::Refused(format!("{why:#}"))),
        };
        // A connection for each: notices are few, and files are read again with each attempt.
        match self.transport()?.send(&message) {
            Ok(_) => Ok(Sent::Taken),
            // 5xx: the server will never take it (RFC 5321, 4.2.1), unless it is about who asks.
            Err(error) if error.is_permanent() && !about_login(&error) => {
                Ok(Sent::Refused(error.to_string()))
            }
            Err(error) => {
                let server = format!("{}:{}", self.config.host, self.config.port);
                Err(anyhow!(error).context(server).into())
            }
        }
    }
}

/// Greets a mail server as a mail would be brought, and brings none.
///
/// # Errors
/// It does not answer, is not whom it says, or does not know us.
pub fn reach(config: &Smtp) -> anyhow::Result<()> {
    let words = Words {
        is_chinese: false,
        page_url: None,
    };
    let greeted = Mail::new(config.clone(), words)
        .transport()?
        .test_connection();
    let server = format!("{}:{}", config.host, config.port);
    match greeted {
        Ok(true) => Ok(()),
        Ok(false) => Err(anyhow!("{server}: it hangs up")),
        Err(error) => Err(anyhow!(error).context(server)),
    }
}

/// Whether a server does not know who asks: an operator can mend that.
fn about_login(error: &lettre::transport::smtp::Error) -> bool {
    let code = error.status().map(u16::from);
    matches!(code, Some(530 | 534 | 535 | 538))
}

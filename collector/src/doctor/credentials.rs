//! Files with secrets: nobody else may read them, and what decides is nobody else's to write.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Part};
use crate::config::{AlertKind, Config, Http, Kind};

const PART: Part = Part("credentials");

/// What a file is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Whoever reads it can use it.
    Secret,
    /// Whoever writes it decides whom the collector believes.
    Trusted,
}

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let files = named(config);
    let found = files
        .iter()
        .map(|(key, file, content)| judge(key, file, *content));
    found.collect()
}

/// Every file of a configuration that is one of these.
fn named(config: &Config) -> Vec<(String, &Path, Content)> {
    use Content::{Secret, Trusted};
    let (listen, auth) = (&config.listen, &config.auth);
    let enroll = config.enroll.as_ref();
    let own = [
        ("listen.cert_file", Some(&listen.cert_file), Trusted),
        ("listen.key_file", Some(&listen.key_file), Secret),
        (
            "listen.client_ca_file",
            listen.client_ca_file.as_ref(),
            Trusted,
        ),
        (
            "auth.agent_token_file",
            auth.agent_token_file.as_ref(),
            Secret,
        ),
        (
            "auth.reader_token_file",
            auth.reader_token_file.as_ref(),
            Secret,
        ),
        ("auth.token_file", auth.token_file.as_ref(), Secret),
        (
            "enroll.ca_cert_file",
            enroll.map(|e| &e.ca_cert_file),
            Trusted,
        ),
        ("enroll.ca_key_file", enroll.map(|e| &e.ca_key_file), Secret),
    ];
    let own = own.into_iter();
    let mut files: Vec<_> = own
        .filter_map(|(key, file, content)| Some((key.to_owned(), file?.as_path(), content)))
        .collect();
    // Made by `serve`.
    if auth.database.exists() {
        files.push(("auth.database".into(), auth.database.as_path(), Secret));
    }
    for output in &config.outputs {
        let of = match &output.kind {
            Kind::RemoteWrite(http) | Kind::Otlp(http, _) => of_http(http),
            Kind::Kafka(kafka) => of_tls(kafka.ca_file.as_ref(), kafka.client.as_ref()),
            Kind::File(_) | Kind::Prometheus(_) => continue,
        };
        let name = |(key, file, content)| (format!("outputs.{}.{key}", output.name), file, content);
        files.extend(of.into_iter().map(name));
    }
    for output in &config.alerts.outputs {
        let of = match &output.kind {
            AlertKind::Alertmanager(http, _) => of_http(http),
            AlertKind::Webhook(http, key) => {
                let key = key
                    .iter()
                    .map(|key| ("hmac_key_file", key.as_path(), Secret));
                of_http(http).into_iter().chain(key).collect()
            }
            AlertKind::Smtp(smtp) => {
                let login = smtp.login.iter();
                let password = login.map(|(_, file)| ("password_file", file.as_path(), Secret));
                let ca_file = of_tls(smtp.ca_file.as_ref(), None);
                ca_file.into_iter().chain(password).collect()
            }
            AlertKind::File(..) => continue,
        };
        let name = |(key, file, content)| {
            let key = format!("alerts.outputs.{}.{key}", output.name);
            (key, file, content)
        };
        files.extend(of.into_iter().map(name));
    }
    files
}

type Files<'c> = Vec<(&'static str, &'c Path, Content)>;

fn of_http(http: &Http) -> Files<'_> {
    let token = http.token_file.iter();
    let token = token.map(|file| ("token_file", file.as_path(), Content::Secret));
    let of_tls = of_tls(http.ca_file.as_ref(), http.client.as_ref());
    of_tls.into_iter().chain(token).collect()
}

fn of_tls<'c>(ca_file: Option<&'c PathBuf>, client: Option<&'c (PathBuf, PathBuf)>) -> Files<'c> {
    use Content::{Secret, Trusted};
    let of = [
        ("ca_file", ca_file, Trusted),
        ("client_cert_file", client.map(|(chain, _)| chain), Trusted),
        ("client_key_file", client.map(|(_, key)| key), Secret),
    ];
    let of = of.into_iter();
    of.filter_map(|(key, file, content)| Some((key, file?.as_path(), content)))
        .collect()
}

fn judge(key: &str, file: &Path, content: Content) -> Finding {
    let shown = file.display();
    let found = match file.metadata() {
        Ok(found) => found,
        Err(error) => {
            let advice = "name a file that is there and that the collector's account may reach";
            return PART.failed(key, format!("{shown}: {error}"), advice);
        }
    };
    let mode = found.mode() & 0o7777;
    let what = format!("{shown}: mode {mode:04o}, of account {}", found.uid());
    if mode & 0o022 != 0 {
        let advice = "take the right to write from group and others: `chmod go-w FILE`";
        PART.failed(key, what, advice)
    } else if content == Content::Secret && mode & 0o007 != 0 {
        PART.failed(
            key,
            what,
            "everybody on this host may read it: `chmod o-rwx FILE`, and make a new secret",
        )
    } else {
        PART.ok(key, what)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::doctor::State;

    #[test]
    fn secrets_are_read_by_nobody_else_and_nothing_is_written() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "secret").unwrap();
        let of = |mode, content| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            judge("auth.token_file", &file, content).state
        };
        for mode in [0o600, 0o640, 0o400] {
            assert_eq!(of(mode, Content::Secret), State::Ok, "{mode:o}");
        }
        for mode in [0o644, 0o604, 0o660, 0o666] {
            assert_eq!(of(mode, Content::Secret), State::Failed, "{mode:o}");
        }
        assert_eq!(of(0o644, Content::Trusted), State::Ok);
        assert_eq!(of(0o664, Content::Trusted), State::Failed);
        fs::remove_file(&file).unwrap();
        let gone = judge("auth.token_file", &file, Content::Secret);
        assert_eq!(gone.state, State::Failed);
    }
}

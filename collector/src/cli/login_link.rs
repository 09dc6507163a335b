//! `user login-link`: a link that logs a user in once.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use notation::parse_duration;
use serde::Serialize;

use super::audit;
use super::output::show;
use super::people::{Common, Opened, name};
use crate::access::{Actor, secret};
use crate::config::Config;
use crate::exit::Failure;
use crate::time;

/// For how long a link may be valid.
const LONGEST_LINK: Duration = Duration::from_secs(86_400);

/// Whom, and for how long.
#[derive(Debug, Args)]
pub(super) struct LinkArgs {
    /// The user
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// For how long it can be used, up to 24h
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = lasting)]
    expires: Duration,
    /// The collector's address as a browser reaches it; by default this host and the port of
    /// [listen] address
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    common: Common,
}

fn lasting(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|duration| !duration.is_zero() && *duration <= LONGEST_LINK)
        .ok_or_else(|| String::from("expected a duration such as \"5m\", at most \"24h\""))
}

#[derive(Debug, Serialize)]
struct Link {
    user: String,
    url: String,
    /// What the page sends to `POST /api/v1/login`.
    link: String,
    expires_ms: i64,
}

/// Runs the command.
pub(super) fn run(args: &LinkArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let LinkArgs {
        name,
        expires,
        url,
        common,
    } = args;
    let opened = Opened::new(common)?;
    let now_ms = time::now_ms();
    let link = secret("").map_err(|error| audit::failed(&opened.config, error))?;
    let expires_ms = now_ms.saturating_add(time::whole_ms(*expires));
    let made = opened
        .access
        .make_link(name, &link, expires_ms, &Actor::command(), now_ms);
    made.map_err(|why| opened.failed(why, name))?;
    let url = url.clone().unwrap_or_else(|| here(&opened.config));
    let made = Link {
        user: name.clone(),
        // Behind the #, which a browser sends to nobody: it stays out of every log.
        url: format!("{}/#login={link}", url.trim_end_matches('/')),
        link,
        expires_ms,
    };
    show(out, common.format, &made, |out, made| {
        writeln!(out, "{}", made.url)
    })
}

/// The address of this collector for a browser on this host or beside it.
fn here(config: &Config) -> String {
    let address = config.listen.address;
    match address.ip() {
        ip if ip.is_unspecified() => {
            let name = crate::files::text("/etc/hostname".as_ref()).unwrap_or_default();
            let name = name.trim();
            let name = if name.is_empty() { "localhost" } else { name };
            format!("https://{name}:{}", address.port())
        }
        _ => format!("https://{address}"),
    }
}

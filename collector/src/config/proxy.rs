//! `[auth.proxy]`: proxies that say who asks, and by which headers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::http::HeaderName;
use axum::http::header::{AUTHORIZATION, COOKIE, HOST};

use super::mistake::{Mistake, wrong};
use super::raw;
use crate::network::Network;
use crate::rank::Rank;

/// `[auth.proxy]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where they are; of those elsewhere nothing is believed. Empty: anywhere.
    pub networks: Vec<Network>,
    /// DNS names of their client certificates; one of them is needed. Empty: none is.
    pub certificate_names: Vec<String>,
    /// Who asks, where proxies say it. Without it they are believed the address of their client alone.
    pub says: Option<Says>,
}

/// By what a proxy says who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// The header with the name.
    pub user: HeaderName,
    /// The header with groups, or with a role.
    pub groups: Option<HeaderName>,
    /// What members of a group may do.
    pub roles: BTreeMap<String, Rank>,
    /// What others may do; `None`: nothing.
    pub default: Option<Rank>,
}

impl Proxy {
    /// Whether a peer of this address can be one.
    #[must_use]
    pub fn is_at(&self, address: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.has(address))
    }
}

impl Says {
    /// What somebody in these groups may do: the most that one of them may.
    #[must_use]
    pub fn rank<'a>(&self, groups: impl IntoIterator<Item = &'a str>) -> Option<Rank> {
        let ranks = groups.into_iter().filter_map(|group| self.roles.get(group));
        ranks.copied().max().or(self.default)
    }
}

pub(super) fn validate(raw: raw::Proxy) -> Result<Option<Proxy>, Mistake> {
    let is_set = !raw.networks.is_empty() || !raw.certificate_names.is_empty();
    let has_more = raw.user_header.is_some()
        || raw.groups_header.is_some()
        || !raw.roles.is_empty()
        || raw.default_role.is_some();
    if !is_set {
        if has_more {
            return wrong(
                "auth.proxy.networks",
                "missing, and so is auth.proxy.certificate_names: without one of them anybody could \
                 say who they are",
            );
        }
        return Ok(None);
    }
    let networks = raw
        .networks
        .iter()
        .map(|text| network(text))
        .collect::<Result<_, _>>()?;
    let says = match raw.user_header {
        Some(user) => Some(Says {
            user: header("auth.proxy.user_header", &user)?,
            groups: raw
                .groups_header
                .map(|groups| header("auth.proxy.groups_header", &groups))
                .transpose()?,
            roles: raw
                .roles
                .into_iter()
                .map(|(group, word)| Ok((group, role("auth.proxy.roles", &word)?)))
                .collect::<Result<_, Mistake>>()?,
            default: raw
                .default_role
                .map(|word| role("auth.proxy.default_role", &word))
                .transpose()?,
        }),
        None if has_more => {
            return wrong(
                "auth.proxy.user_header",
                "missing, expected the header in which the proxy names who asks",
            );
        }
        None => None,
    };
    if let Some(says) = &says {
        check(says)?;
    }
    Ok(Some(Proxy {
        networks,
        certificate_names: raw.certificate_names,
        says,
    }))
}

fn network(text: &str) -> Result<Network, Mistake> {
    let key = "auth.proxy.networks";
    let network = Network::parse(text).or_else(|why| wrong(key, format!("{text:?}: {why}")))?;
    if network.is_everything() {
        return wrong(
            key,
            format!("{text:?} is every address: anybody could say who they are"),
        );
    }
    Ok(network)
}

fn check(says: &Says) -> Result<(), Mistake> {
    if says.groups.as_ref() == Some(&says.user) {
        return wrong(
            "auth.proxy.groups_header",
            "the header of auth.proxy.user_header: expected another one",
        );
    }
    if says.groups.is_none() && !says.roles.is_empty() {
        return wrong(
            "auth.proxy.groups_header",
            "missing, and auth.proxy.roles are those of groups",
        );
    }
    if says.roles.is_empty() && says.default.is_none() {
        return wrong(
            "auth.proxy.roles",
            "missing, and so is auth.proxy.default_role: nobody could do anything",
        );
    }
    Ok(())
}

fn header(key: &'static str, text: &str) -> Result<HeaderName, Mistake> {
    let taken = [AUTHORIZATION, COOKIE, HOST];
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if taken.contains(&name) => wrong(key, format!("{text:?} is for something else")),
        Ok(name) => Ok(name),
        Err(_) => wrong(key, format!("{text:?}: expected the name of a header")),
    }
}

fn role(key: &'static str, word: &str) -> Result<Rank, Mistake> {
    let expected = || {
        let expected = "expected \"viewer\", \"operator\" or \"admin\"";
        wrong(key, format!("{word:?}: {expected}"))
    };
    Rank::of(word).map_or_else(expected, Ok)
}

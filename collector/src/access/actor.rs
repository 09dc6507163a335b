//! Who changes something, and from where.

use std::net::IpAddr;

use nix::unistd::Uid;

/// Longest name that is kept, in characters.
const NAME_CHARS: usize = 128;

/// Who changes something, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// A name that says of what kind it is: `user:NAME`, `token:NAME`, `proxy:NAME`, `agent:NAME`,
    /// `account:NAME` of this machine, or `collector`.
    pub who: String,
    /// An address, or `command`.
    pub source: String,
}

impl Actor {
    /// Somebody who asks over the network.
    #[must_use]
    pub fn remote(kind: &str, name: &str, source: Option<IpAddr>) -> Self {
        let name: String = name.chars().take(NAME_CHARS).collect();
        Self {
            who: format!("{kind}:{name}"),
            source: source.map_or_else(|| String::from("unknown"), |source| source.to_string()),
        }
    }

    /// The collector itself.
    #[must_use]
    pub fn collector() -> Self {
        Self {
            who: String::from("collector"),
            source: String::from("collector"),
        }
    }

    /// Who runs this command: the account, and the one that logged in where that is another.
    #[must_use]
    pub fn command() -> Self {
        let uid = Uid::effective().as_raw();
        let accounts = crate::files::text("/etc/passwd".as_ref()).unwrap_or_default();
        // The kernel keeps it over su and sudo; 4294967295 where nobody logged in. A file of /proc.
        let login = std::fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
        let login = login.trim().parse().ok().filter(|login| *login != u32::MAX);
        Self {
            who: account(uid, login, &accounts),
            source: String::from("command"),
        }
    }
}

fn account(uid: u32, login: Option<u32>, accounts: &str) -> String {
    let name = |uid: u32| {
        let of = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let number: u32 = fields.nth(1)?.parse().ok()?;
            (number == uid).then(|| name.to_owned())
        };
        accounts
            .lines()
            .find_map(of)
            .unwrap_or_else(|| uid.to_string())
    };
    match login.filter(|login| *login != uid) {
        Some(login) => format!("account:{} (logged in as {})", name(uid), name(login)),
        None => format!("account:{}", name(uid)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Actor, account};

    #[test]
    fn an_account_is_named_with_the_one_that_logged_in() {
        let accounts = "root:x:0:0::/root:/bin/sh\nbroken\nann:x:1000:1000::/:/bin/sh\n";
        assert_eq!(account(0, None, accounts), "account:root");
        assert_eq!(
            account(0, Some(1000), accounts),
            "account:root (logged in as ann)"
        );
        assert_eq!(account(7, Some(7), accounts), "account:7");
    }

    #[test]
    fn a_name_of_a_stranger_is_cut() {
        let actor = Actor::remote("user", &"x".repeat(9999), None);
        assert_eq!(actor.who.len(), "user:".len() + 128);
    }
}

//! Accounts of the host.

use std::path::Path;

use crate::files;

/// Far above every host's list.
const MAX_BYTES: u64 = 4 << 20;

/// The account that has this number in `/etc/passwd`: it could read what the agent writes, and the
/// agent's number is one that no account should have. Those of directory services are not seen.
#[must_use]
pub fn account(uid: u32) -> Option<String> {
    let text = files::read(Path::new("/etc/passwd"), MAX_BYTES).ok()?;
    named(&String::from_utf8_lossy(&text), uid)
}

/// `passwd(5)`: name, password, number, and more.
fn named(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.escape_debug().collect())
    })
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn an_account_is_found_by_its_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\nodd\nmallory:x:60742:100::/:/bin/sh\n";
        assert_eq!(named(passwd, 60_742).as_deref(), Some("mallory"));
        assert_eq!(named(passwd, 0).as_deref(), Some("root"));
        assert_eq!(named(passwd, 100), None, "that is a group");
    }
}

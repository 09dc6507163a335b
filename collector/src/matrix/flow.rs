//! Declared flows: one line of a communication matrix.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::selector::Selector;
use crate::escape::shorten;

/// Most flows of a matrix.
pub const MAX_FLOWS: usize = 10_000;
/// Longest text of a field, bytes.
pub(super) const MAX_TEXT: usize = 4096;
/// Most ports and ranges of a flow.
const MAX_PORTS: usize = 256;
/// Characters of a refused text that are shown.
const SHOWN: usize = 60;

/// What may talk to what, or must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where it stands in the matrix: its `id`, else its line.
    pub id: String,
    /// Line, row or number of it in its file, from 1.
    pub line: u64,
    /// Who begins the connections.
    pub source: Selector,
    /// Who accepts them.
    pub destination: Selector,
    /// At which ports.
    pub ports: Ports,
    /// Over which protocol.
    pub protocol: Protocol,
    /// Whether it may be.
    pub action: Action,
    /// Up to when, Unix milliseconds, inclusive; for ever without.
    pub valid_until_ms: Option<i64>,
    /// The fields as they are written, by the names of columns.
    pub text: Fields,
}

/// The fields of a flow, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fields {
    /// `id`
    pub id: String,
    /// `source`
    pub source: String,
    /// `destination`
    pub destination: String,
    /// `port`
    pub port: String,
    /// `protocol`
    pub protocol: String,
    /// `action`
    pub action: String,
    /// `owner`
    pub owner: String,
    /// `valid_until`
    pub valid_until: String,
    /// `comment`
    pub comment: String,
}

/// The columns of a matrix, with the other names that they have in files of operators.
pub const COLUMNS: [(&str, &[&str]); 9] = [
    ("id", &["no", "number", "编号", "序号"]),
    (
        "source",
        &[
            "src",
            "from",
            "client",
            "源",
            "源地址",
            "源端",
            "访问方",
            "来源",
        ],
    ),
    (
        "destination",
        &[
            "dst",
            "dest",
            "to",
            "server",
            "目的",
            "目标",
            "目的地址",
            "目标地址",
            "目的端",
            "被访问方",
        ],
    ),
    (
        "port",
        &["ports", "dst_port", "端口", "目的端口", "目标端口"],
    ),
    ("protocol", &["proto", "协议"]),
    ("action", &["动作", "策略"]),
    ("owner", &["负责人", "责任人", "所有者"]),
    (
        "valid_until",
        &[
            "valid",
            "expires",
            "until",
            "有效期",
            "有效期至",
            "截止日期",
        ],
    ),
    (
        "comment",
        &["note", "remark", "description", "备注", "说明", "用途"],
    ),
];

/// The column that a heading means.
#[must_use]
pub(super) fn column(heading: &str) -> Option<&'static str> {
    let plain = heading.trim().to_lowercase().replace([' ', '-'], "_");
    let known = |(name, others): &&(&str, &[&str])| *name == plain || others.contains(&&*plain);
    COLUMNS.iter().find(known).map(|(name, _)| *name)
}

impl Fields {
    /// The field of a column.
    ///
    /// # Panics
    /// For a name that is none of [`COLUMNS`].
    pub fn field(&mut self, column: &str) -> &mut String {
        match column {
            "id" => &mut self.id,
            "source" => &mut self.source,
            "destination" => &mut self.destination,
            "port" => &mut self.port,
            "protocol" => &mut self.protocol,
            "action" => &mut self.action,
            "owner" => &mut self.owner,
            "valid_until" => &mut self.valid_until,
            "comment" => &mut self.comment,
            other => unreachable!("{other} is no column of a matrix"),
        }
    }

    /// In the order of [`COLUMNS`].
    #[must_use]
    pub fn all(&self) -> [&str; 9] {
        [
            &self.id,
            &self.source,
            &self.destination,
            &self.port,
            &self.protocol,
            &self.action,
            &self.owner,
            &self.valid_until,
            &self.comment,
        ]
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all().iter().all(|text| text.trim().is_empty())
    }
}

/// Whether connections may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// They may.
    #[default]
    Allow,
    /// They must not.
    Deny,
}

/// A protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// Any other: nothing is seen of it.
    Other,
}

/// Ports of a destination, as ranges; all without any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(Vec<(u16, u16)>);

impl Ports {
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if matches!(text, "" | "*" | "any" | "ANY") {
            return Ok(Self::default());
        }
        let parts = text.split([',', ';', ' ', '，', '；', '、']);
        let mut ranges = Vec::new();
        for part in parts.filter(|part| !part.is_empty()) {
            let (low, high) = part.split_once(['-', '~']).unwrap_or((part, part));
            let port = |text: &str| match text.trim().parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => None,
            };
            match port(low).zip(port(high)) {
                Some((low, high)) if low <= high => ranges.push((low, high)),
                _ => {
                    let shown = shorten(part, SHOWN);
                    return Err(format!(
                        "{shown}: expected a port from 1 to 65535, or a range such as 8000-8999"
                    ));
                }
            }
        }
        if ranges.len() > MAX_PORTS {
            return Err(format!("expected at most {MAX_PORTS} ports and ranges"));
        }
        Ok(Self(ranges))
    }

    /// Whether a port is meant.
    #[must_use]
    pub fn has(&self, port: u16) -> bool {
        let within = |(low, high): &(u16, u16)| (*low..=*high).contains(&port);
        self.0.is_empty() || self.0.iter().any(within)
    }

    /// Whether all ports of a range are meant, and whether one is.
    pub(super) fn cover(&self, (low, high): (u16, u16)) -> (bool, bool) {
        if self.0.is_empty() {
            return (true, true);
        }
        let mut next = u32::from(low);
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let mut some = false;
        for (begin, end) in sorted {
            some |= begin <= high && low <= end;
            if u32::from(begin) <= next {
                next = next.max(u32::from(end) + 1);
            }
        }
        (next > u32::from(high), some)
    }

    /// The ports one by one, where there are few.
    pub(super) fn single(&self) -> Option<impl Iterator<Item = u16> + '_> {
        let few = !self.0.is_empty() && self.0.iter().all(|(low, high)| low == high);
        few.then(|| self.0.iter().map(|(port, _)| *port))
    }
}

impl Flow {
    /// Reads the fields of a line.
    ///
    /// # Errors
    /// Every mistake: the column, and a sentence that says what was expected there.
    pub fn parse(text: Fields, line: u64) -> Result<Self, Vec<(&'static str, String)>> {
        let mut mistakes = Vec::new();
        for ((column, _), field) in COLUMNS.iter().zip(text.all()) {
            if field.len() > MAX_TEXT {
                let why = format!("{} bytes; at most {MAX_TEXT} are read", field.len());
                mistakes.push((*column, why));
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let mut note = |column: &'static str, why: String| mistakes.push((column, why));
        let source = Selector::parse(&text.source).map_err(|why| note("source", why));
        let destination =
            Selector::parse(&text.destination).map_err(|why| note("destination", why));
        let ports = Ports::parse(&text.port).map_err(|why| note("port", why));
        let protocol = protocol(&text.protocol).map_err(|why| note("protocol", why));
        let action = action(&text.action).map_err(|why| note("action", why));
        let valid = valid_until(&text.valid_until).map_err(|why| note("valid_until", why));
        let id = match text.id.trim() {
            "" => line.to_string(),
            id => String::from(id),
        };
        match (source, destination, ports, protocol, action, valid) {
            (Ok(source), Ok(destination), Ok(ports), Ok(protocol), Ok(action), Ok(valid)) => {
                Ok(Self {
                    id,
                    line,
                    source,
                    destination,
                    ports,
                    protocol,
                    action,
                    valid_until_ms: valid,
                    text,
                })
            }
            _ => Err(mistakes),
        }
    }

    /// Whether it says that something may not be.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.action == Action::Deny
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.valid_until_ms.is_some_and(|until| until < now_ms)
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.trim().to_lowercase().as_str() {
        // Whatever else runs over IP is not seen, and these names do not exclude TCP.
        "" | "tcp" | "any" | "*" | "ip" => Ok(Protocol::Tcp),
        "udp" | "icmp" | "icmpv6" | "sctp" | "gre" | "esp" | "ah" => Ok(Protocol::Other),
        other => Err(format!(
            "{}: expected tcp, or another protocol such as udp",
            shorten(other, SHOWN)
        )),
    }
}

fn action(text: &str) -> Result<Action, String> {
    match text.trim().to_lowercase().as_str() {
        "" | "allow" | "permit" | "accept" | "允许" | "放行" => Ok(Action::Allow),
        "deny" | "drop" | "reject" | "block" | "拒绝" | "禁止" => Ok(Action::Deny),
        other => Err(format!("{}: expected allow or deny", shorten(other, SHOWN))),
    }
}

/// The last moment of a day, or a point in time.
fn valid_until(text: &str) -> Result<Option<i64>, String> {
    let text = text.trim();
    if matches!(text, "" | "-" | "never" | "永久" | "长期") {
        return Ok(None);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Some(at.as_millisecond()));
    }
    let plain = text.replace(['/', '.'], "-");
    let day = plain.parse::<Date>().ok();
    let after = day.and_then(|day| day.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok());
    match after {
        Some(after) => Ok(Some(after.timestamp().as_millisecond() - 1)),
        None => Err(format!(
            "{}: expected a day such as 2027-03-31 (its end in UTC), or a time such as \
             2027-03-31T12:00:00Z",
            shorten(text, SHOWN)
        )),
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;

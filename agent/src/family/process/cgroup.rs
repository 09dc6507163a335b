//! What a cgroup path tells: container and systemd unit.

use std::borrow::Cow;

/// Managers inside of one another that are named: containers in containers.
const MAX_MANAGERS: usize = 8;
/// Hex digits by which a container with a random id is named.
const SHORT_ID: usize = 12;

/// Who named what of a path: units and containers are unique only within their manager.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place<'p> {
    /// Containers, and users' own managers, from the outermost to the innermost.
    managers: Vec<Manager<'p>>,
    /// The innermost unit that is not outside of the innermost container; empty where there is none.
    pub(super) unit: &'p str,
    /// The outermost unit of that container, or of the host, which the system's manager named:
    /// what is below one may be delegated to a user, who names cgroups as he likes.
    pub(super) system_unit: &'p str,
    /// The outermost unit of the innermost manager.
    own_unit: &'p str,
    /// Below a user's own manager, where even containers are named by that user.
    pub(super) is_of_user: bool,
}

/// Whoever gives names that are unique below it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Manager<'p> {
    /// A container or machine, by its name or id.
    Container(Cow<'p, str>),
    /// A pod whose container is not told, by its uid.
    Pod(String),
    /// The manager of a user's units: `user@1000`.
    User(&'p str),
}

impl Manager<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Container(name) => name,
            Self::Pod(uid) => uid,
            Self::User(name) => name,
        }
    }

    /// For service names: as container tools show it.
    fn short(&self) -> &str {
        let name = self.name();
        match is_id(name) {
            true => name.get(..SHORT_ID).unwrap_or(name),
            false => name,
        }
    }
}

impl Place<'_> {
    /// The innermost container's id or name; empty where there is none.
    pub(super) fn container(&self) -> &str {
        let containers = self.managers.iter().rev();
        let mut containers = containers.filter(|one| !matches!(one, Manager::User(_)));
        containers.next().map_or("", Manager::name)
    }

    /// The name of a service, unique on its host as far as managers know: what is around it, then
    /// its unit, or the program where a user's manager has no unit for it. `None` where that is the
    /// program itself.
    pub(super) fn service(&self, program: &str) -> Option<String> {
        let unit = self.own_unit.strip_suffix(".service");
        let mut names: Vec<&str> = self.managers.iter().map(Manager::short).collect();
        match (unit, self.managers.last()) {
            (Some(unit), _) => names.push(unit),
            (None, None) => return None,
            (None, Some(Manager::User(_))) => names.push(program),
            (None, Some(Manager::Container(_) | Manager::Pod(_))) => {}
        }
        Some(names.join("/"))
    }
}

/// Chooses the path that says most: of the most containers, and the cgroup2 tree before others. Where a
/// runtime keeps its containers in trees of version 1, the cgroup2 one shows the runtime's own unit.
///
/// `cgroup2` is the path of the record's cgroup id, `proc` the text of `/proc/<tgid>/cgroup`.
pub(super) fn path(cgroup2: Option<&str>, proc: Option<&str>) -> Option<String> {
    let lines = proc.map(lines).unwrap_or_default();
    let of = |controllers: &str| {
        let line = lines.iter().find(|line| line.controllers == controllers);
        line.map(|line| line.path)
    };
    // systemd's own v1 tree names units; others may only hold containers.
    let trees = cgroup2.into_iter().chain(of("")).chain(of("name=systemd"));
    let mut others: Vec<&str> = lines.iter().map(|line| line.path).collect();
    others.sort_by_key(|path| path.len());
    // The last one of those that tell most, so the first tree is put last.
    let mut all: Vec<&str> = trees.chain(others.into_iter().rev()).collect();
    all.reverse();
    let most = |path: &&str| (place(path).managers.len(), *path != "/");
    all.into_iter().max_by_key(most).map(str::to_owned)
}

struct Line<'t> {
    controllers: &'t str,
    path: &'t str,
}

/// `4:memory:/docker/0123`, and `0::/system.slice` for cgroup2.
fn lines(text: &str) -> Vec<Line<'_>> {
    let parse = |line| {
        let (_, rest) = str::split_once(line, ':')?;
        let (controllers, path) = rest.split_once(':')?;
        path.starts_with('/').then_some(Line { controllers, path })
    };
    text.lines().filter_map(parse).collect()
}

/// The cgroup2 line of `/proc/<tgid>/cgroup`.
pub(super) fn cgroup2_line(proc: &str) -> Option<&str> {
    lines(proc)
        .into_iter()
        .find(|line| line.controllers.is_empty())
        .map(|line| line.path)
}

/// Whether the text of `/proc/<tgid>/cgroup` names the cgroup2 tree alone.
pub(super) fn is_only(proc: &str) -> bool {
    lines(proc).iter().all(|line| line.controllers.is_empty())
}

/// Reads a path from the outside to the inside.
pub(super) fn place(path: &str) -> Place<'_> {
    let mut place = Place::default();
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    let mut parent = "";
    while let Some(part) = parts.next() {
        let next = parts.peek().copied().unwrap_or_default();
        let found = match part {
            "lxc" | "lxc.payload" => (!next.is_empty()).then_some(Cow::Borrowed(next)),
            _ => container(part).or_else(|| machine(parent, part, next)),
        };
        if let Some(name) = found {
            place.enter(Manager::Container(name));
            // A name of LXC is a component of its own.
            if matches!(part, "lxc" | "lxc.payload") {
                parent = parts.next().unwrap_or_default();
                continue;
            }
        } else if let Some(uid) = pod(parent, part) {
            place.enter(Manager::Pod(uid));
        } else if is_unit(part) {
            place.unit = part;
            if place.system_unit.is_empty() {
                place.system_unit = part;
            }
            if part.starts_with("user@") {
                let name = part.strip_suffix(".service").unwrap_or(part);
                place.push(Manager::User(name));
                place.is_of_user = true;
            } else if place.own_unit.is_empty() {
                place.own_unit = part;
            }
        }
        parent = part;
    }
    place
}

impl<'p> Place<'p> {
    /// A container begins: a unit around it is the one that runs containers.
    fn enter(&mut self, manager: Manager<'p>) {
        // Ids of containers are unique without their pod.
        if matches!(self.managers.last(), Some(Manager::Pod(_))) {
            self.managers.pop();
        }
        (self.unit, self.system_unit) = ("", "");
        self.push(manager);
    }

    fn push(&mut self, manager: Manager<'p>) {
        self.own_unit = "";
        if self.managers.len() >= MAX_MANAGERS {
            self.managers.remove(0);
        }
        self.managers.push(manager);
    }
}

/// Container id or name in one component: docker, containerd, CRI-O, podman and Kubernetes all put 64
/// hex digits at the end, after a prefix of their own; ECS has the task's id and a number; LXC has
/// names.
fn container(part: &str) -> Option<Cow<'_, str>> {
    const ID: usize = 64;
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return (!name.is_empty()).then_some(Cow::Borrowed(name));
    }
    // The monitor beside a container is not in it.
    if part.contains("conmon") {
        return None;
    }
    let part = part.strip_suffix(".scope").unwrap_or(part);
    if is_task(part) {
        return Some(Cow::Borrowed(part));
    }
    let (prefix, id) = part.split_at_checked(part.len().checked_sub(ID)?)?;
    let separated = prefix.is_empty() || prefix.ends_with(['-', ':', '_']);
    (separated && is_hex(id)).then_some(Cow::Borrowed(id))
}

/// A container of Amazon ECS: 32 hex digits of its task, and a number.
fn is_task(part: &str) -> bool {
    part.split_once('-').is_some_and(|(task, number)| {
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        task.len() == 32 && is_hex(task) && is_number
    })
}

/// Whether it is random and long.
fn is_id(name: &str) -> bool {
    name.len() == 64 && is_hex(name)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A machine that systemd-machined knows, or a container of systemd-nspawn: `machine-NAME.scope` or
/// `systemd-nspawn@NAME.service` in the slice of machines. What supervises it is not in it.
fn machine<'p>(parent: &str, part: &'p str, next: &str) -> Option<Cow<'p, str>> {
    let is_slice =
        parent == "machine.slice" || (parent.starts_with("machine-") && parent.ends_with(".slice"));
    if !is_slice || next == "supervisor" {
        return None;
    }
    let scope = || part.strip_prefix("machine-")?.strip_suffix(".scope");
    let unit = || {
        part.strip_prefix("systemd-nspawn@")?
            .strip_suffix(".service")
    };
    let name = scope().or_else(unit)?;
    (!name.is_empty()).then(|| unescape(name))
}

/// Takes back systemd's `\x2d` for characters that a name may have and a unit may not.
fn unescape(name: &str) -> Cow<'_, str> {
    let mut parts = name.split("\\x");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..2)
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match code.filter(|code| code.is_ascii_graphic() && *code != b'/') {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(part.get(2..).unwrap_or_default());
            }
            None => {
                plain.push_str("\\x");
                plain.push_str(part);
            }
        }
    }
    match plain == name {
        true => Cow::Borrowed(name),
        false => Cow::Owned(plain),
    }
}

/// The uid of a pod: `kubepods-burstable-podUID.slice`, where `_` stands for `-`, or
/// `kubepods/burstable/podUID`.
fn pod(parent: &str, part: &str) -> Option<String> {
    let slice = || {
        let (_, uid) = part.strip_prefix("kubepods")?.split_once("-pod")?;
        uid.strip_suffix(".slice")
    };
    let is_class = ["kubepods", "burstable", "besteffort"].contains(&parent);
    let plain = || part.strip_prefix("pod").filter(|_| is_class);
    let uid = slice().or_else(plain)?;
    (!uid.is_empty()).then(|| uid.replace('_', "-"))
}

/// Services, and scopes such as a login session; slices only hold others.
fn is_unit(part: &str) -> bool {
    part.ends_with(".service") || (part.ends_with(".scope") && part != "init.scope")
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;

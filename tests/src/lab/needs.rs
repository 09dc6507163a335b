//! What a trial needs from the machine, asked before it runs.

use std::fmt;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::command;

/// Something a machine may lack; a trial that needs it is then skipped with this reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Effective user 0.
    Root,
    /// A program in PATH.
    Program(&'static str),
    /// Programs that go over the elements of a map: agents with programs read open connections by
    /// them. Some kernels have them and refuse every one.
    MapIterator,
}

/// Goes over the elements of a map, and does nothing with them.
const MAP_ITERATOR: &str = "
struct bpf_iter_meta;
struct bpf_map;
struct bpf_iter__bpf_map_elem {
    struct bpf_iter_meta *meta;
    struct bpf_map *map;
    void *key;
    void *value;
};
__attribute__((section(\"iter/bpf_map_elem\"), used))
int look(struct bpf_iter__bpf_map_elem *ctx) { return 0; }
char terms[] __attribute__((section(\"license\"), used)) = \"GPL\";
";

/// What every lab needs.
pub const LAB: [Need; 4] = [
    Need::Root,
    Need::Program("ip"),
    Need::Program("nft"),
    Need::Program("ss"),
];

impl Need {
    /// Why the machine lacks it, or `None` when it is there.
    #[must_use]
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Root if nix::unistd::geteuid().is_root() => None,
            Self::Root => Some("needs root: namespaces, cgroups and BPF".into()),
            Self::Program(name) if command::exists(name) => None,
            Self::Program(name) => Some(format!("needs {name}: ci/deps installs it")),
            Self::MapIterator => {
                static REFUSED: OnceLock<Option<String>> = OnceLock::new();
                REFUSED.get_or_init(map_iterator).clone()
            }
        }
    }
}

/// Why the kernel loads no iterator over the elements of a map, found by loading one.
fn map_iterator() -> Option<String> {
    // What is not refused by the kernel is no reason to leave a trial out.
    let load = "o=$(mktemp) && mkdir -p \"$o.fs\" && mount -t bpf bpf \"$o.fs\" &&
        ${CLANG:-clang-19} -O2 -g -target bpf -x c -c - -o \"$o\" || exit 0
        bpftool prog loadall \"$o\" \"$o.fs/it\"
        rc=$?; umount \"$o.fs\"; rm -rf \"$o\" \"$o.fs\"; exit $rc";
    let loads = || -> std::io::Result<(bool, String)> {
        let mut child = Command::new("unshare")
            .args(["--mount", "sh", "-c", load])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(MAP_ITERATOR.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().find(|line| line.contains("failed"));
        Ok((
            output.status.success(),
            first.unwrap_or_default().to_owned(),
        ))
    };
    match loads() {
        Ok((true, _)) => None,
        Ok((false, said)) => Some(format!(
            "needs iterators over the elements of maps, which this kernel refuses: {said}"
        )),
        Err(error) => Some(format!("needs a trial of an iterator: {error}")),
    }
}

/// An error that means "this machine cannot show it", found only while a trial ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

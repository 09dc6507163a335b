//! What the kernel says about BPF programs: which there are, what they cost, what they use.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use bpf::pack::{self, Kernel};
use libbpf_rs::query::{LinkInfoIter, MapInfoIter, ProgInfoIter};
use libbpf_rs::{ObjectBuilder, PrintLevel, set_print};

/// First characters of the names of all our programs.
const PREFIX: &str = "wb_";

/// Ids of BPF objects, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Objects {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
    /// Files that are programs or maps do not say which: before 4.16 and 4.17 they have no ids.
    pub(crate) nameless: bool,
}

/// Whether what the kernel says of an open file tells that it is a program or a map, and not which.
fn is_nameless(text: &str) -> bool {
    let has = |name: &str| text.lines().any(|line| line.starts_with(name));
    (has("prog_type:") && !has("prog_id:")) || (has("map_type:") && !has("map_id:"))
}

impl Objects {
    /// Everything there is; kernels that cannot list a kind have none of it.
    pub(crate) fn all() -> Self {
        Self {
            programs: ProgInfoIter::default().map(|program| program.id).collect(),
            maps: MapInfoIter::default().map(|map| map.id).collect(),
            links: LinkInfoIter::default().map(|link| link.id).collect(),
            nameless: false,
        }
    }

    /// What the open files of a process hold.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn held_by(process: i32) -> Result<Self> {
        let mut objects = Self::default();
        let directory = format!("/proc/{process}/fdinfo");
        for entry in fs::read_dir(&directory)
            .context("read open files")?
            .flatten()
        {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            objects.nameless |= is_nameless(&text);
            for line in text.lines() {
                let Some((name, id)) = line.split_once(':') else {
                    continue;
                };
                let Ok(id) = id.trim().parse() else { continue };
                match name {
                    "prog_id" => objects.programs.insert(id),
                    "map_id" => objects.maps.insert(id),
                    "link_id" => objects.links.insert(id),
                    _ => continue,
                };
            }
        }
        Ok(objects)
    }

    /// What is here and not in `other`.
    pub(crate) fn beyond(&self, other: &Self) -> Self {
        Self {
            programs: &self.programs - &other.programs,
            maps: &self.maps - &other.maps,
            links: &self.links - &other.links,
            nameless: self.nameless,
        }
    }

    /// What is here and in `other`.
    pub(crate) fn within(&self, other: &Self) -> Self {
        Self {
            programs: &self.programs & &other.programs,
            maps: &self.maps & &other.maps,
            links: &self.links & &other.links,
            nameless: self.nameless,
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.programs.len() + self.maps.len() + self.links.len()
    }
}

/// How often one program ran, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct RunTime {
    pub(crate) program: String,
    pub(crate) runs: u64,
    pub(crate) nanoseconds: u64,
}

/// Run times of our programs that are loaded now, those of one name added up.
pub(crate) fn run_times() -> Vec<RunTime> {
    let mut found: Vec<RunTime> = Vec::new();
    for info in ProgInfoIter::default() {
        let program = info.name.to_string_lossy().into_owned();
        if !program.starts_with(PREFIX) {
            continue;
        }
        match found.iter_mut().find(|known| known.program == program) {
            Some(known) => {
                known.runs += info.run_cnt;
                known.nanoseconds += info.run_time_ns;
            }
            None => found.push(RunTime {
                program,
                runs: info.run_cnt,
                nanoseconds: info.run_time_ns,
            }),
        }
    }
    found
}

/// Lets the kernel measure run times; false where it cannot.
pub(crate) fn measure_run_times() -> bool {
    fs::write("/proc/sys/kernel/bpf_stats_enabled", "1").is_ok()
}

/// What the verifier said about one program that it accepted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verified {
    /// Instructions that it walked through.
    pub(crate) instructions: u64,
    /// States that it kept.
    pub(crate) states: u64,
    /// How long it took.
    pub(crate) microseconds: u64,
}

/// The kernel's log level that asks for the numbers of the verifier alone (BPF_LOG_STATS).
const NUMBERS_ONLY: u32 = 4;

/// The level at which the verifier says what it walked through, and so why it refuses.
const WORDS: u32 = 1;

/// What libbpf said since it was last asked; bounded by the size of one load's log.
static SAID: Mutex<String> = Mutex::new(String::new());

fn listen(_: PrintLevel, text: String) {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() < 1 << 20 {
        said.push_str(&text);
    }
}

/// Names of the programs in an object file.
///
/// # Errors
/// When libbpf cannot read it.
pub(crate) fn programs(object: &[u8]) -> Result<Vec<String>> {
    let object = open(object)?;
    let name = |program: libbpf_rs::OpenProgram<'_>| program.name().to_string_lossy().into_owned();
    Ok(object.progs().map(name).collect())
}

/// Loads one program of an object file and returns what the verifier counted.
///
/// # Errors
/// The kernel refuses it; with the last words of its verifier.
pub(crate) fn verify(object: &[u8], wanted: &str) -> Result<Verified> {
    let (loaded, said) = load_heard(object, wanted, NUMBERS_ONLY);
    if let Err(error) = loaded {
        // Numbers do not say why; what it walked through does.
        let (_, said) = load_heard(object, wanted, WORDS);
        return Err(match last_words(&said) {
            words if words.is_empty() => error,
            words => anyhow!("{error:#}: {words}"),
        });
    }
    read_numbers(&said).with_context(|| format!("no numbers of the verifier for {wanted}"))
}

/// Loads one program, and what libbpf and the verifier said meanwhile.
fn load_heard(object: &[u8], wanted: &str, level: u32) -> (Result<()>, String) {
    SAID.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let before = set_print(Some((PrintLevel::Debug, listen)));
    let loaded = load_alone(object, wanted, level);
    set_print(before);
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (loaded, said)
}

fn open(object: &[u8]) -> Result<libbpf_rs::OpenObject> {
    let mut builder = ObjectBuilder::default();
    builder.name("waybill").context("name the object")?;
    if let Some(types) = types()? {
        builder
            .btf_custom_path(types)
            .context("name the BTF pack")?;
    }
    builder.open_memory(object).context("open the programs")
}

/// Types in place of those that the kernel lacks: the pack that the agent takes, unpacked.
fn types() -> Result<Option<PathBuf>> {
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Ok(None);
    }
    let Some(packs) = std::env::var_os("WAYBILL_BTF_PACKS") else {
        return Ok(None);
    };
    let folder = Path::new(&packs).join(std::env::consts::ARCH);
    let names = pack::names(&folder);
    let Ok(name) = pack::choose(&Kernel::running(), &names) else {
        return Ok(None);
    };
    let unpacked = std::env::temp_dir().join("verifier.btf");
    let mut bytes = Vec::new();
    zstd::Decoder::new(fs::File::open(folder.join(name))?)
        .context("unpack a pack")?
        .take(pack::MAX_BYTES)
        .read_to_end(&mut bytes)
        .context("unpack a pack")?;
    fs::write(&unpacked, bytes).context("write a pack")?;
    Ok(Some(unpacked))
}

fn load_alone(object: &[u8], wanted: &str, level: u32) -> Result<()> {
    let mut object = open(object)?;
    for mut program in object.progs_mut() {
        let this = program.name() == wanted;
        program.set_autoload(this);
        if this {
            program.set_log_level(level);
        }
    }
    for mut map in object.maps_mut() {
        // The verifier does not look at how many entries a table has; small machines do.
        if map.name() == "connections" {
            map.set_max_entries(1024).context("size a table")?;
        }
    }
    object.load().map(drop).context("load")
}

/// Reads `verification time N usec` and `processed N insns (...) ... total_states N`.
fn read_numbers(said: &str) -> Option<Verified> {
    let line = said
        .lines()
        .rev()
        .find(|line| line.contains("processed "))?;
    let after = |text: &str, word: &str| -> Option<u64> {
        let (_, rest) = text.split_once(word)?;
        rest.split_whitespace().next()?.parse().ok()
    };
    let time = said
        .lines()
        .rev()
        .find(|line| line.contains("verification time "));
    Some(Verified {
        instructions: after(line, "processed ")?,
        states: after(line, "total_states ").unwrap_or(0),
        microseconds: time
            .and_then(|time| after(time, "verification time "))
            .unwrap_or(0),
    })
}

/// The last lines of a verifier's log, for a reason on one line.
fn last_words(said: &str) -> String {
    let idle = [
        "processed ",
        "verification time ",
        "stack depth ",
        "libbpf: ",
    ];
    let useful = |line: &&str| {
        let line = line.trim();
        !line.is_empty()
            && !line.contains("-- END PROG")
            && !idle.iter().any(|begin| line.starts_with(begin))
    };
    let lines: Vec<&str> = said.lines().filter(useful).collect();
    let last = &lines[lines.len().saturating_sub(4)..];
    last.iter()
        .map(|line| line.trim())
        .collect::<Vec<_>>()
        .join(" | ")
}

#[cfg(test)]
mod tests {
    use super::{Verified, is_nameless, last_words, read_numbers};

    #[test]
    fn a_program_without_a_number_is_told_from_one_with_and_from_a_file() {
        // 4.14, a newer kernel, a regular file.
        assert!(is_nameless("pos:\t0\nprog_type:\t6\nprog_jited:\t1\n"));
        assert!(is_nameless("map_type:\t1\nkey_size:\t4\n"));
        assert!(!is_nameless("prog_type:\t6\nprog_id:\t3\n"));
        assert!(!is_nameless("map_type:\t1\nmap_id:\t3\n"));
        assert!(!is_nameless("pos:\t0\nflags:\t02\n"));
    }

    #[test]
    fn the_last_words_are_those_of_the_verifier_and_not_the_numbers_behind_them() {
        let said = "libbpf: prog 'a': BPF program load failed: -EACCES\n0: r0 = 1\n\
                    R2 invalid mem access 'scalar'\nverification time 12 usec\n\
                    processed 9 insns (limit 1000000)\n-- END PROG LOAD LOG --\n\
                    libbpf: prog 'a': failed to load: -EACCES\n";
        assert_eq!(
            last_words(said),
            "0: r0 = 1 | R2 invalid mem access 'scalar'"
        );
        assert_eq!(last_words("libbpf: failed to load\n"), "");
    }

    #[test]
    fn the_numbers_of_the_verifier_are_read_from_its_log() {
        let said = "libbpf: prog 'a': -- BEGIN PROG LOAD LOG --\nverification time 1234 usec\n\
                    stack depth 64+0\nprocessed 567 insns (limit 1000000) max_states_per_insn 2 \
                    total_states 34 peak_states 34 mark_read 5\n-- END PROG LOAD LOG --\n";
        assert_eq!(
            read_numbers(said),
            Some(Verified {
                instructions: 567,
                states: 34,
                microseconds: 1234
            })
        );
        assert_eq!(read_numbers("libbpf: nothing\n"), None);
    }
}

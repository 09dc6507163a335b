//! CO-RE relocations: which fields of the kernel's each instruction is fitted to.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::btf::{
    Btf, KIND_ARRAY, KIND_ENUM64, KIND_POINTER, KIND_STRUCT, KIND_UNION, slice_words,
};
use crate::kernel::{Field, Kernel};
use crate::table::Floors;

/// Relocations by their place in bytes.
pub(crate) type Relocated = BTreeMap<u64, Relocation>;

/// What libbpf fits an instruction to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Relocation {
    /// `enum bpf_core_relo_kind`.
    kind: u32,
    /// The fields on the way, or one type or constant.
    pub(crate) way: Vec<Field>,
}

/// What becomes of an instruction on one kernel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fitted {
    /// Its constant is this question's answer.
    Answer(bool),
    /// Its constant is what nearly every kernel has, too.
    Kept,
    /// Its constant is only known where it is loaded.
    Open,
    /// libbpf puts a call in its place that every verifier refuses: the kernel lacks this.
    Poisoned(String),
}

/// Sizes: what the object holds is what nearly every kernel has, too.
const SIZES: [u32; 2] = [1, 9];
/// Questions whether a field, a type, a constant is there.
const QUESTIONS: [u32; 4] = [2, 8, 10, 12];
/// The object's own type, which is always there.
const OWN_TYPE: u32 = 6;
/// Constants of enumerations.
const CONSTANTS: [u32; 2] = [10, 11];

impl Relocation {
    /// What libbpf makes of it on a kernel. What the tables do not know counts as there, and is a
    /// finding of its own.
    pub(crate) fn on(&self, floors: &Floors, kernel: &Kernel) -> Fitted {
        let missing = self
            .way
            .iter()
            .find(|field| floors.has_field(kernel, field) == Some(false));
        match missing {
            _ if QUESTIONS.contains(&self.kind) => Fitted::Answer(missing.is_none()),
            Some(field) if self.kind != OWN_TYPE => Fitted::Poisoned(field.name.clone()),
            _ if SIZES.contains(&self.kind) => Fitted::Kept,
            _ => Fitted::Open,
        }
    }

    fn of(btf: &Btf, kind: u32, root: u32, access: &str) -> Result<Self> {
        let (found, name) = btf.resolve_named(root)?;
        let mut way = Vec::new();
        let steps: Vec<usize> = access
            .split(':')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| format!("access {access:?}"))?;
        let shape = shape(found.kind);
        if CONSTANTS.contains(&kind) {
            let words = if found.kind == KIND_ENUM64 { 3 } else { 2 };
            let constant = steps.first().and_then(|at| found.rest.get(at * words));
            let constant = btf.string(*constant.context("a constant that is not there")?);
            let name = format!("{}.{constant}", plain(&name));
            way.push(Field { name, shape });
        }
        let (mut found, mut owner) = (found, plain(&name).to_owned());
        // The first step is an index behind the pointer.
        for step in steps.iter().skip(1) {
            if found.kind == KIND_ARRAY {
                let element = found.rest.first().context("an array of nothing")?;
                let (next, name) = btf.resolve_named(*element)?;
                if !name.is_empty() {
                    plain(&name).clone_into(&mut owner);
                }
                found = next;
                continue;
            }
            let [member, of] = found.rest[3 * step..3 * step + 2] else {
                continue;
            };
            let (next, name) = btf.resolve_named(of)?;
            let member = btf.string(member);
            let field = format!("{owner}.{member}");
            if !name.is_empty() {
                plain(&name).clone_into(&mut owner);
            } else if !member.is_empty() {
                owner.clone_from(&field);
            }
            if !member.is_empty() {
                way.push(Field {
                    name: field,
                    shape: self::shape(next.kind),
                });
            }
            found = next;
        }
        if way.is_empty() {
            way.push(Field { name: owner, shape });
        }
        Ok(Self { kind, way })
    }
}

/// Without what makes it another one of the same name (`___pre_5_5`).
fn plain(name: &str) -> &str {
    name.split_once("___").map_or(name, |(plain, _)| plain)
}

fn shape(kind: u32) -> &'static str {
    match kind {
        KIND_POINTER => "pointer",
        KIND_ARRAY => "array",
        KIND_STRUCT | KIND_UNION => "record",
        _ => "number",
    }
}

/// Relocations by section.
///
/// # Errors
/// `.BTF.ext` is damaged.
pub(crate) fn relocations(ext: &[u8], btf: &Btf) -> Result<BTreeMap<String, Relocated>> {
    let mut found = BTreeMap::new();
    let header = slice_words(ext, 4, 4)?;
    let size = header.first().copied().context("no header")?;
    // Headers from before CO-RE end here.
    if size < 32 {
        return Ok(found);
    }
    let [at, bytes] = slice_words(ext, 24, 8)?[..] else {
        anyhow::bail!("the header of .BTF.ext is too short");
    };
    let all = slice_words(ext, size + at, bytes)?;
    let Some((record, mut rest)) = all.split_first() else {
        return Ok(found);
    };
    let record = usize::try_from(record / 4)?;
    while let [section, count, behind @ ..] = rest {
        let length = record * usize::try_from(*count)?;
        let records = behind.get(..length).context(".BTF.ext is cut")?;
        let places: &mut Relocated = found.entry(btf.string(*section)).or_default();
        for record in records.chunks(record.max(1)) {
            let [place, root, access, kind] = record[..] else {
                anyhow::bail!("a relocation of {} words", record.len());
            };
            let relocation = Relocation::of(btf, kind, root, &btf.string(access))?;
            places.insert(u64::from(place), relocation);
        }
        rest = &behind[length..];
    }
    Ok(found)
}

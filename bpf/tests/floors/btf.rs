//! As much of BTF as tells what the maps are and what CO-RE relocates.

use anyhow::{Context, Result, bail};

/// A type, as far as it matters.
#[derive(Clone, Debug)]
pub(crate) struct Type {
    name: u32,
    pub(crate) kind: u32,
    /// Its size, or the type it refers to.
    value: u32,
    /// The words behind it.
    pub(crate) rest: Vec<u32>,
}

/// The types of an object.
#[derive(Clone, Debug)]
pub(crate) struct Btf {
    types: Vec<Type>,
    strings: Vec<u8>,
}

/// A map.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) name: String,
    /// `enum bpf_map_type`.
    pub(crate) kind: u32,
    pub(crate) key_bytes: u32,
    pub(crate) value_bytes: u32,
}

const KIND_INTEGER: u32 = 1;
pub(crate) const KIND_POINTER: u32 = 2;
pub(crate) const KIND_ARRAY: u32 = 3;
pub(crate) const KIND_STRUCT: u32 = 4;
pub(crate) const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_VARIABLE: u32 = 14;
const KIND_SECTION: u32 = 15;
const KIND_FLOAT: u32 = 16;
pub(crate) const KIND_ENUM64: u32 = 19;
/// typedef, volatile, const, restrict, type tag: the type behind it counts.
const TRANSPARENT: [u32; 5] = [8, 9, 10, 11, 18];
/// Deeper than this, types go round in a circle.
const DEEPEST: usize = 32;

impl Btf {
    /// Reads section `.BTF`.
    ///
    /// # Errors
    /// It is damaged or newer than what is known here.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let header = slice_words(bytes, 4, 20)?;
        let [size, types_at, types_bytes, strings_at, strings_bytes] = header[..] else {
            bail!("the header of .BTF is too short");
        };
        let strings = slice(bytes, size + strings_at, strings_bytes)?;
        let words = slice_words(bytes, size + types_at, types_bytes)?;
        let mut types = Vec::new();
        let mut rest = words.as_slice();
        while let [name, info, value, behind @ ..] = rest {
            let kind = (info >> 24) & 0x1f;
            let count = usize::try_from(info & 0xffff)?;
            let length = words_behind(kind, count)?;
            let own = behind.get(..length).context("a type of .BTF is cut")?;
            types.push(Type {
                name: *name,
                kind,
                value: *value,
                rest: own.to_vec(),
            });
            rest = &behind[length..];
        }
        Ok(Self {
            types,
            strings: strings.to_vec(),
        })
    }

    /// Names and types of the variables in a section.
    pub(crate) fn variables_of(&self, section: &str) -> Vec<(String, u32)> {
        let is_it = |t: &&Type| t.kind == KIND_SECTION && self.string(t.name) == section;
        let Some(found) = self.types.iter().find(is_it) else {
            return Vec::new();
        };
        let (entries, _) = found.rest.as_chunks::<3>();
        entries
            .iter()
            .filter_map(|[variable, _, _]| self.get(*variable))
            .filter(|variable| variable.kind == KIND_VARIABLE)
            .map(|variable| (self.string(variable.name), variable.value))
            .collect()
    }

    /// A map by the type of its variable.
    ///
    /// # Errors
    /// It is not defined as libbpf wants it.
    pub(crate) fn map(&self, name: &str, definition: u32) -> Result<Map> {
        let definition = self.resolve(definition)?;
        let mut map = Map {
            name: name.to_owned(),
            kind: 0,
            key_bytes: 0,
            value_bytes: 0,
        };
        let (members, _) = definition.rest.as_chunks::<3>();
        for [member, of, _] in members {
            match self.string(*member).as_str() {
                "type" => map.kind = self.number(*of)?,
                "key_size" => map.key_bytes = self.number(*of)?,
                "value_size" => map.value_bytes = self.number(*of)?,
                "key" => map.key_bytes = self.size(self.resolve(*of)?.value, 0)?,
                "value" => map.value_bytes = self.size(self.resolve(*of)?.value, 0)?,
                _ => {}
            }
        }
        Ok(map)
    }

    pub(crate) fn string(&self, at: u32) -> String {
        let bytes = usize::try_from(at)
            .ok()
            .and_then(|at| self.strings.get(at..))
            .unwrap_or_default();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    /// Type 0 is void and is not stored.
    fn get(&self, id: u32) -> Option<&Type> {
        self.types.get(usize::try_from(id.checked_sub(1)?).ok()?)
    }

    fn resolve(&self, id: u32) -> Result<&Type> {
        Ok(self.resolve_named(id)?.0)
    }

    /// The type that counts, and its name: where it has none, that of the type that stands for it.
    ///
    /// # Errors
    /// There is no such type.
    pub(crate) fn resolve_named(&self, id: u32) -> Result<(&Type, String)> {
        let mut found = self.get(id).context("refers to a type that is not there")?;
        let mut name = self.string(found.name);
        for _ in 0..DEEPEST {
            if !TRANSPARENT.contains(&found.kind) {
                return Ok((found, name));
            }
            found = self.get(found.value).context("ends in no type")?;
            if found.name != 0 {
                name = self.string(found.name);
            }
        }
        bail!("types go round in a circle");
    }

    /// `__uint()` hides a number as the length of an array behind a pointer.
    fn number(&self, id: u32) -> Result<u32> {
        let array = self.resolve(self.resolve(id)?.value)?;
        match array.rest[..] {
            [_, _, length] if array.kind == KIND_ARRAY => Ok(length),
            _ => bail!("a number of a map is no array"),
        }
    }

    fn size(&self, id: u32, depth: usize) -> Result<u32> {
        let found = self.resolve(id)?;
        match found.kind {
            KIND_INTEGER | KIND_STRUCT | KIND_UNION | KIND_ENUM | KIND_FLOAT | KIND_ENUM64 => {
                Ok(found.value)
            }
            KIND_POINTER => Ok(8),
            KIND_ARRAY if depth < DEEPEST => match found.rest[..] {
                [of, _, length] => Ok(self.size(of, depth + 1)? * length),
                _ => bail!("an array without a length"),
            },
            kind => bail!("a type of kind {kind} has no size"),
        }
    }
}

/// Words that follow a type's three own.
fn words_behind(kind: u32, count: usize) -> Result<usize> {
    Ok(match kind {
        // pointer, forward, typedef, volatile, const, restrict, function, float, type tag
        2 | 7..=12 | KIND_FLOAT | 18 => 0,
        // integer, variable, declaration tag
        KIND_INTEGER | KIND_VARIABLE | 17 => 1,
        KIND_ARRAY => 3,
        KIND_STRUCT | KIND_UNION | KIND_SECTION | KIND_ENUM64 => 3 * count,
        // enum, prototype
        KIND_ENUM | 13 => 2 * count,
        _ => bail!("BTF of kind {kind} is not known"),
    })
}

fn slice(bytes: &[u8], at: u32, length: u32) -> Result<&[u8]> {
    let at = usize::try_from(at)?;
    let end = at + usize::try_from(length)?;
    bytes.get(at..end).context("BTF is cut")
}

/// The words of a part of a section.
///
/// # Errors
/// The section ends before it.
pub(crate) fn slice_words(bytes: &[u8], at: u32, length: u32) -> Result<Vec<u32>> {
    let (words, _) = slice(bytes, at, length)?.as_chunks::<4>();
    Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

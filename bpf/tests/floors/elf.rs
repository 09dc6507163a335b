//! Reads an object as libbpf will: programs, the functions they call, maps, relocations.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SymbolKind,
    SymbolSection,
};

use crate::btf::{Btf, Map};
use crate::instruction::{Call, Instruction, Operation};
use crate::relocation::{self, Relocated, Relocation};

/// Bytes of an instruction; a 64-bit constant takes two.
pub(crate) const SLOT: u64 = 8;
/// Frames of functions are rounded up to this (check_max_stack_depth(), 4.16).
const FRAME_BYTES: usize = 32;
/// Functions that programs call are here.
const FUNCTIONS: &str = ".text";
const MAPS: &str = ".maps";
/// Sections of which libbpf makes maps that hold global data.
const DATA: [&str; 4] = [".rodata", ".data", ".bss", ".kconfig"];

/// What an instruction refers to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reference {
    /// A map, by its place in the list.
    Map(usize),
    /// Global data in this section.
    Data(String),
    /// A function of this object: a call, or its address.
    Function(String),
    /// Something of the kernel.
    Kernel(String),
}

/// The instructions of a program or of a function.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) name: String,
    pub(crate) slots: Vec<Instruction>,
    /// By instruction.
    pub(crate) references: BTreeMap<usize, Reference>,
    /// Instructions that libbpf changes by CO-RE relocations.
    pub(crate) relocated: BTreeMap<usize, Relocation>,
}

/// A program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) section: String,
    pub(crate) code: Code,
}

/// An object.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) programs: Vec<Program>,
    pub(crate) functions: Vec<Code>,
    pub(crate) maps: Vec<Map>,
    /// Sections of global data, with their bytes.
    pub(crate) data: Vec<(String, u64)>,
}

impl Object {
    /// Reads it.
    ///
    /// # Errors
    /// It is no ELF file, or holds something that is not understood.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let file = object::File::parse(bytes).context("not an ELF file")?;
        let btf = section(&file, ".BTF")?.map(Btf::parse).transpose()?;
        let maps = maps(&file, btf.as_ref())?;
        let relocated = relocated(&file, btf.as_ref())?;
        let mut programs = Vec::new();
        let mut functions = Vec::new();
        let reader = Reader {
            file: &file,
            maps: &maps,
            relocated: &relocated,
        };
        for symbol in file.symbols().filter(|s| s.kind() == SymbolKind::Text) {
            let SymbolSection::Section(index) = symbol.section() else {
                continue;
            };
            let name = file.section_by_index(index)?.name()?.to_owned();
            let code = reader.code(index, &symbol)?;
            match name.as_str() {
                FUNCTIONS => functions.push(code),
                _ => programs.push(Program {
                    name: code.name.clone(),
                    section: name,
                    code,
                }),
            }
        }
        Ok(Self {
            programs,
            functions,
            maps: maps.into_iter().map(|(_, map)| map).collect(),
            data: data(&file)?,
        })
    }

    /// The program's own code and that of each function it reaches, once.
    pub(crate) fn reached_from<'a>(&'a self, program: &'a Program) -> Vec<&'a Code> {
        let mut reached = vec![&program.code];
        let mut next = 0;
        while let Some(code) = reached.get(next).copied() {
            for callee in self.callees(code) {
                if !reached.iter().any(|there| there.name == callee.name) {
                    reached.push(callee);
                }
            }
            next += 1;
        }
        reached
    }

    /// Instructions that the kernel is given: libbpf appends the functions to the program.
    pub(crate) fn instructions_of(&self, program: &Program) -> usize {
        let all = self.reached_from(program);
        all.iter().map(|code| code.slots.len()).sum()
    }

    /// Whether the program cannot be loaded without BTF of the kernel.
    pub(crate) fn needs_btf(&self, program: &Program) -> bool {
        let all = self.reached_from(program);
        all.iter().any(|code| !code.relocated.is_empty())
    }

    /// Bytes of stack in use at most, from what each function uses on its own.
    pub(crate) fn stack_of(&self, code: &Code, own: &BTreeMap<String, usize>) -> usize {
        self.stack_below(code, own, 0)
    }

    fn stack_below(&self, code: &Code, own: &BTreeMap<String, usize>, depth: usize) -> usize {
        let used = own.get(&code.name).copied().unwrap_or(0);
        // A function that calls itself is refused by every kernel.
        if depth > self.functions.len() {
            return used;
        }
        let callees = self.callees(code);
        if callees.is_empty() && depth == 0 {
            return used;
        }
        let below = callees
            .into_iter()
            .map(|callee| self.stack_below(callee, own, depth + 1));
        used.max(1).next_multiple_of(FRAME_BYTES) + below.max().unwrap_or(0)
    }

    fn callees(&self, code: &Code) -> Vec<&Code> {
        let named = code.references.values().filter_map(|to| match to {
            Reference::Function(name) => Some(name),
            _ => None,
        });
        named
            .filter_map(|name| self.functions.iter().find(|f| f.name == *name))
            .collect()
    }
}

fn section<'a>(file: &object::File<'a>, name: &str) -> Result<Option<&'a [u8]>> {
    let found = file.section_by_name(name);
    found
        .map(|section| section.data().with_context(|| format!("read {name}")))
        .transpose()
}

/// The maps, each with its place in the section.
fn maps(file: &object::File<'_>, btf: Option<&Btf>) -> Result<Vec<(u64, Map)>> {
    if file.section_by_name("maps").is_some() {
        bail!("maps of section \"maps\" are not read: libbpf does not know them any more");
    }
    let mut maps = Vec::new();
    for (name, definition) in btf.map(|btf| btf.variables_of(MAPS)).unwrap_or_default() {
        let symbol = file
            .symbols()
            .find(|symbol| symbol.name() == Ok(name.as_str()))
            .with_context(|| format!("map {name} has no symbol"))?;
        let Some(btf) = btf else { continue };
        maps.push((symbol.address(), btf.map(&name, definition)?));
    }
    Ok(maps)
}

/// Places of CO-RE relocations by section.
fn relocated(file: &object::File<'_>, btf: Option<&Btf>) -> Result<BTreeMap<String, Relocated>> {
    match (section(file, ".BTF.ext")?, btf) {
        (Some(ext), Some(btf)) => relocation::relocations(ext, btf),
        _ => Ok(BTreeMap::new()),
    }
}

fn data(file: &object::File<'_>) -> Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for section in file.sections() {
        let name = section.name()?;
        if section.size() > 0 && DATA.iter().any(|data| is_section(name, data)) {
            found.push((name.to_owned(), section.size()));
        }
    }
    Ok(found)
}

/// `.rodata` is also `.rodata.str1.1` and the like.
fn is_section(name: &str, base: &str) -> bool {
    name.strip_prefix(base)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

struct Reader<'a, 'data> {
    file: &'a object::File<'data>,
    maps: &'a [(u64, Map)],
    relocated: &'a BTreeMap<String, Relocated>,
}

impl<'data> Reader<'_, 'data> {
    fn code(&self, index: SectionIndex, symbol: &object::Symbol<'data, '_>) -> Result<Code> {
        let name = symbol.name()?.to_owned();
        let section = self.file.section_by_index(index)?;
        let start = symbol.address();
        let end = start + symbol.size();
        let within = usize::try_from(start)?..usize::try_from(end)?;
        let bytes = section.data()?.get(within);
        let bytes = bytes.with_context(|| format!("{name} is not all there"))?;
        let slots = Instruction::decode_all(bytes);
        let places = self.relocated.get(section.name()?);
        let slot = |place: u64| usize::try_from((place - start) / SLOT);
        let relocated = places
            .into_iter()
            .flatten()
            .filter(|(place, _)| (start..end).contains(*place))
            .map(|(place, relocation)| Ok((slot(*place)?, relocation.clone())))
            .collect::<Result<_>>()?;
        let mut references = self.calls(index, start, &slots)?;
        for (place, relocation) in section.relocations() {
            if !(start..end).contains(&place) {
                continue;
            }
            let RelocationTarget::Symbol(to) = relocation.target() else {
                bail!("{name}: a relocation that refers to no symbol");
            };
            let to = self.file.symbol_by_index(to)?;
            let at = slot(place)?;
            let reference = self.reference(&slots, at, &to);
            references.insert(
                at,
                reference.with_context(|| format!("{name}, instruction {at}"))?,
            );
        }
        Ok(Code {
            name,
            slots,
            references,
            relocated,
        })
    }

    /// Calls within one section need no relocation.
    fn calls(
        &self,
        section: SectionIndex,
        start: u64,
        slots: &[Instruction],
    ) -> Result<BTreeMap<usize, Reference>> {
        let mut found = BTreeMap::new();
        for (at, slot) in slots.iter().enumerate() {
            if let Operation::Call(Call::Function(offset)) = slot.operation() {
                let here = i64::try_from(start / SLOT)? + i64::try_from(at)?;
                let target = u64::try_from(here + 1 + i64::from(offset)).unwrap_or(u64::MAX);
                if let Some(name) = self.function_at(section, target.saturating_mul(SLOT)) {
                    found.insert(at, Reference::Function(name));
                }
            }
        }
        Ok(found)
    }

    fn reference(
        &self,
        slots: &[Instruction],
        at: usize,
        to: &object::Symbol<'data, '_>,
    ) -> Result<Reference> {
        let SymbolSection::Section(index) = to.section() else {
            return Ok(Reference::Kernel(to.name()?.to_owned()));
        };
        let section = self.file.section_by_index(index)?;
        let slot = slots.get(at).context("relocates nothing")?;
        let name = section.name()?;
        if name == MAPS {
            let place = to.address() + u64::try_from(slot.imm).unwrap_or(0);
            let map = self.maps.iter().position(|(start, _)| *start == place);
            return Ok(Reference::Map(map.context("refers to no map")?));
        }
        if DATA.iter().any(|data| is_section(name, data)) {
            return Ok(Reference::Data(name.to_owned()));
        }
        // A call counts instructions from the symbol, an address counts bytes.
        let place = match slot.operation() {
            Operation::Call(Call::Function(offset)) => {
                i64::try_from(to.address())? + (i64::from(offset) + 1) * 8
            }
            _ => i64::try_from(to.address())? + i64::from(slot.imm),
        };
        let function = self.function_at(index, u64::try_from(place)?);
        Ok(Reference::Function(
            function.context("refers to no function")?,
        ))
    }

    fn function_at(&self, section: SectionIndex, address: u64) -> Option<String> {
        let found = self.file.symbols().find(|symbol| {
            symbol.kind() == SymbolKind::Text
                && symbol.section() == SymbolSection::Section(section)
                && symbol.address() == address
        });
        Some(found?.name().ok()?.to_owned())
    }
}

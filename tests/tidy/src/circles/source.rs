//! The modules of a crate, and the paths that each names.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ImplItem, Item, ItemMod, ItemUse, Lit, Macro, UseTree, Visibility};

use crate::{Finding, Tree};

/// Where a module stands in its crate: the names that lead to it from the root.
pub(super) type Place = Vec<String>;

/// One module.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// The file it is in.
    pub(super) file: String,
    /// What names that it imports or exports stand for.
    pub(super) imports: BTreeMap<String, Vec<String>>,
    /// Every path in it, imports among them.
    pub(super) paths: Vec<Vec<String>>,
}

/// All modules of a crate but those of its tests.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) modules: BTreeMap<Place, Module>,
}

impl Sources {
    /// Reads the crate whose root is this file.
    ///
    /// # Errors
    /// A file is not there, or is no Rust.
    pub(super) fn read(tree: &Tree, root: &str) -> Result<Self, Finding> {
        let mut sources = Self::default();
        sources.file(tree, root, folder_of(root), Vec::new())?;
        Ok(sources)
    }

    /// Reads a module's file; its children are in `folder`.
    fn file(
        &mut self,
        tree: &Tree,
        path: &str,
        folder: String,
        place: Place,
    ) -> Result<(), Finding> {
        let wrong = |message: String| Finding {
            path: path.to_owned(),
            line: 0,
            message,
        };
        let file = tree.file(path);
        let file = file.ok_or_else(|| wrong(String::from("a module without its file")))?;
        let parsed = syn::parse_file(&file.text).map_err(|e| wrong(format!("no Rust: {e}")))?;
        let mut reading = Reading {
            modules: BTreeMap::from([(place.clone(), module(path))]),
            declared: Vec::new(),
            beside: folder_of(path),
            folder,
            place,
        };
        reading.visit_file(&parsed);
        let Reading {
            modules, declared, ..
        } = reading;
        self.modules.extend(modules);
        for Declared {
            place,
            paths,
            folder,
        } in declared
        {
            let found = paths.iter().find(|path| tree.file(path).is_some());
            let missing = || wrong(format!("the module {} has no file", place.join("::")));
            self.file(tree, found.ok_or_else(missing)?, folder, place)?;
        }
        Ok(())
    }
}

/// The folder that a file is in, with its `/`.
fn folder_of(path: &str) -> String {
    path[..path.rfind('/').map_or(0, |at| at + 1)].to_owned()
}

/// A path seen from a folder, without `..`.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What `#[path = "..."]` says.
fn given_path(attributes: &[Attribute]) -> Option<String> {
    let given = attributes
        .iter()
        .find(|given| given.path().is_ident("path"))?;
    match &given.meta.require_name_value().ok()?.value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(path) => Some(path.value()),
            _ => None,
        },
        _ => None,
    }
}

/// A module in a file of its own.
struct Declared {
    place: Place,
    /// Where its file may be.
    paths: Vec<String>,
    /// Where its children are.
    folder: String,
}

fn module(file: &str) -> Module {
    Module {
        file: file.to_owned(),
        ..Module::default()
    }
}

/// One file while it is read.
struct Reading {
    /// The module at hand: the file's, or one inside of it.
    place: Place,
    modules: BTreeMap<Place, Module>,
    /// The folder of the file.
    beside: String,
    /// The folder of the children of the module at hand.
    folder: String,
    /// Children in files of their own.
    declared: Vec<Declared>,
}

impl Reading {
    fn module(&mut self) -> &mut Module {
        self.modules.get_mut(&self.place).expect("put when entered")
    }

    fn import(&mut self, prefix: &[String], tree: &UseTree) {
        let with = |name: &dyn ToString| {
            let mut path = prefix.to_vec();
            path.push(name.to_string());
            path
        };
        let (path, name) = match tree {
            UseTree::Path(next) => return self.import(&with(&next.ident), &next.tree),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|one| self.import(prefix, one));
            }
            UseTree::Glob(_) => (prefix.to_vec(), None),
            UseTree::Name(one) if one.ident == "self" => (prefix.to_vec(), prefix.last().cloned()),
            UseTree::Name(one) => (with(&one.ident), Some(one.ident.to_string())),
            UseTree::Rename(one) if one.ident == "self" => {
                (prefix.to_vec(), Some(one.rename.to_string()))
            }
            UseTree::Rename(one) => (with(&one.ident), Some(one.rename.to_string())),
        };
        let module = self.module();
        if let Some(name) = name {
            module.imports.insert(name, path.clone());
        }
        module.paths.push(path);
    }

    /// Paths in what a macro is given.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) if colons == 2 => path.push(name.to_string()),
                TokenTree::Ident(name) => {
                    self.named(std::mem::take(&mut path));
                    path.push(name.to_string());
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.named(std::mem::take(&mut path));
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.named(std::mem::take(&mut path));
                }
            }
            colons = 0;
        }
        self.named(path);
    }

    fn named(&mut self, path: Vec<String>) {
        if !path.is_empty() {
            self.module().paths.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Reading {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let test = matches!(item, ImplItem::Fn(function) if is_test(&function.attrs));
        if !test {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let mut place = self.place.clone();
        place.push(item.ident.to_string());
        let given = given_path(&item.attrs).map(|path| joined(&self.beside, &path));
        let (name, folder) = (&item.ident, &self.folder);
        let Some((_, items)) = &item.content else {
            self.declared.push(match given {
                Some(path) => Declared {
                    place,
                    folder: folder_of(&path),
                    paths: vec![path],
                },
                None => Declared {
                    place,
                    folder: format!("{folder}{name}/"),
                    paths: vec![
                        format!("{folder}{name}.rs"),
                        format!("{folder}{name}/mod.rs"),
                    ],
                },
            });
            return;
        };
        let folder = given.map_or_else(|| format!("{folder}{name}/"), |path| path + "/");
        let file = self.module().file.clone();
        self.modules.insert(place.clone(), module(&file));
        let outer = std::mem::replace(&mut self.place, place);
        let around = std::mem::replace(&mut self.folder, folder);
        items.iter().for_each(|item| self.visit_item(item));
        (self.place, self.folder) = (outer, around);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let segments = path.segments.iter();
            let names = segments.map(|segment| segment.ident.to_string());
            self.module().paths.push(names.collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        visit::visit_macro(self, called);
        self.tokens(called.tokens.clone());
    }

    // Where something may be named, and what is derived, is no dependency.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|what| what == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

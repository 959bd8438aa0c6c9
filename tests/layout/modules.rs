//! Which module of a crate uses which other module, read from its source.
//!
//! A use is a path of non-test code that leads to an item of another module: in a `use` declaration, a type, an expression, a pattern, or
//! the arguments of a macro. A path through a re-export counts as a use of the module that has the item, not of the one that re-exports it.
//! So a `mod.rs` that only re-exports is free of cycles, and one that shares items with its children is not.
//!
//! Not seen: glob imports, macros whose arguments are not expressions, and method calls.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, Item, UseTree};

use super::graph::{Uses, by_first_component};

/// The uses between the modules at the top of a crate, whose `lib.rs` is in `crate_src`.
pub fn module_uses(crate_src: &Path) -> Uses {
    by_first_component(&file_uses(crate_src))
}

/// The uses between the files of a crate, whose `lib.rs` is in `crate_src`.
pub fn file_uses(crate_src: &Path) -> Uses {
    uses(&sources(crate_src))
}

/// The text of each module of a crate: those that `lib.rs` declares, and so on. Modules of tests are left out.
pub fn sources(crate_src: &Path) -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    read(&crate_src.join("lib.rs"), crate_src, &[], &mut sources);
    sources
}

fn read(file: &Path, folder: &Path, module: &[String], sources: &mut BTreeMap<String, String>) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let items = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display())).items;
    sources.insert(module.join("::"), text);
    for item in &items {
        if let Item::Mod(child) = item
            && child.content.is_none()
            && !is_test(&child.attrs)
        {
            let name = child.ident.to_string();
            let inner = folder.join(&name);
            let candidates: [PathBuf; 2] = [folder.join(format!("{name}.rs")), inner.join("mod.rs")];
            let file = candidates.iter().find(|file| file.exists());
            let file =
                file.unwrap_or_else(|| panic!("{name}: no file for this module in {}", folder.display()));
            read(file, &inner, &[module, &[name]].concat(), sources);
        }
    }
}

/// The uses between modules, from the text of each.
pub fn uses(sources: &BTreeMap<String, String>) -> Uses {
    let modules: BTreeMap<String, Scan> =
        sources.iter().map(|(module, text)| (module.clone(), Scan::of(module, text))).collect();
    let used = |(module, scan): (&String, &Scan)| {
        let targets = scan.paths.iter().filter_map(|(scope, path)| target(&modules, scope, path));
        (module.clone(), targets.filter(|target| target != module).collect())
    };
    modules.iter().map(used).collect()
}

/// The paths and imports of one file.
struct Scan {
    /// The module that the visitor is in: that of the file, or an inline one within it.
    scope: Vec<String>,
    /// Paths, each with the module that it is written in.
    paths: Vec<(Vec<String>, Vec<String>)>,
    /// The paths of imported names, of the file's own module.
    imports: BTreeMap<String, Vec<String>>,
}

impl Scan {
    fn of(module: &str, text: &str) -> Scan {
        let scope: Vec<String> =
            module.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let mut scan = Scan { scope, paths: Vec::new(), imports: BTreeMap::new() };
        let file = syn::parse_file(text).unwrap_or_else(|e| panic!("{module}: {e}"));
        for item in &file.items {
            if let Item::Use(item) = item
                && !is_test(&item.attrs)
            {
                scan.import(&item.tree, &mut Vec::new());
            }
        }
        scan.visit_file(&file);
        scan
    }

    fn import(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        leaves(tree, path, &mut |name, path| {
            self.imports.insert(name.to_owned(), path.to_vec());
        });
    }

    fn add(&mut self, path: Vec<String>) {
        self.paths.push((self.scope.clone(), path));
    }
}

/// Calls `leaf` with the name and the path of each name that a `use` declaration brings in. Globs are skipped.
fn leaves(tree: &UseTree, path: &mut Vec<String>, leaf: &mut impl FnMut(&str, &[String])) {
    match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            leaves(&inner.tree, path, leaf);
            path.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, path, leaf)),
        UseTree::Name(name) => import(path, &name.ident.to_string(), None, leaf),
        UseTree::Rename(rename) => {
            import(path, &rename.ident.to_string(), Some(rename.rename.to_string()), leaf);
        }
        _ => {}
    }
}

/// One name of a `use` declaration. `{self}` imports what leads to it.
fn import(path: &[String], name: &str, alias: Option<String>, leaf: &mut impl FnMut(&str, &[String])) {
    let mut path = path.to_vec();
    if name != "self" {
        path.push(name.to_owned());
    }
    let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
    leaf(&name, &path);
}

impl<'ast> Visit<'ast> for Scan {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            item if is_test(attributes(item)) => {}
            Item::Mod(module) if module.content.is_some() => {
                self.scope.push(module.ident.to_string());
                syn::visit::visit_item_mod(self, module);
                self.scope.pop();
            }
            Item::Use(item) => {
                let mut paths = Vec::new();
                leaves(&item.tree, &mut Vec::new(), &mut |_, path| paths.push(path.to_vec()));
                paths.into_iter().for_each(|path| self.add(path));
            }
            item => syn::visit::visit_item(self, item),
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    /// The path in `pub(crate)` uses nothing.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        let arguments = syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        for argument in mac.parse_body_with(arguments).into_iter().flatten() {
            let mut inner = Scan { scope: self.scope.clone(), paths: Vec::new(), imports: BTreeMap::new() };
            inner.visit_expr(&argument);
            self.paths.append(&mut inner.paths);
        }
        syn::visit::visit_macro(self, mac);
    }
}

/// Whether the item is for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string().replace(' ', "");
            condition == "test" || condition.starts_with("all(test,")
        }
        _ => false,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The module of the item that `path` leads to, if it is in this crate. `scope` is the module that the path is written in.
fn target(modules: &BTreeMap<String, Scan>, scope: &[String], path: &[String]) -> Option<String> {
    let mut path = absolute(modules, scope, path)?;
    // Each round follows one re-export.
    for _ in 0..8 {
        let length =
            (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length].join("::")))?;
        let module = path[..length].join("::");
        let followed = path.get(length).and_then(|name| {
            let mut import = absolute(modules, &path[..length], modules[&module].imports.get(name)?)?;
            import.extend_from_slice(&path[length + 1..]);
            Some(import)
        });
        match followed {
            Some(next) if next != path => path = next,
            _ => return Some(module),
        }
    }
    None
}

/// A path from the crate's root. `None` for a name that is no module or import of `scope`: a local item, or another crate's.
fn absolute(modules: &BTreeMap<String, Scan>, scope: &[String], path: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([scope, rest].concat()),
        "super" => {
            let (_, mut parent) = scope.split_last()?;
            let mut rest = rest;
            while let [next, more @ ..] = rest
                && next == "super"
            {
                (parent, rest) = (parent.split_last()?.1, more);
            }
            Some([parent, rest].concat())
        }
        _ if modules.contains_key(&[scope, std::slice::from_ref(first)].concat().join("::")) => {
            Some([scope, path].concat())
        }
        _ => {
            let import = modules.get(&scope.join("::"))?.imports.get(first)?;
            // An import of the same name, such as `use std::fmt`, must not lead back here.
            let is_relative = matches!(import.first().map(String::as_str), Some("crate" | "self" | "super"));
            let mut path = is_relative.then(|| absolute(modules, scope, import)).flatten()?;
            path.extend_from_slice(rest);
            Some(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_of(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(module, text)| ((*module).to_owned(), (*text).to_owned())).collect()
    }

    /// `a>b` for each use.
    fn shown(uses: &Uses) -> Vec<String> {
        uses.iter()
            .flat_map(|(module, used)| used.iter().map(move |used| format!("{module}>{used}")))
            .collect()
    }

    fn used(files: &[(&str, &str)]) -> Vec<String> {
        shown(&uses(&crate_of(files)))
    }

    #[test]
    fn a_use_declaration_and_a_path_are_uses() {
        let files = [
            ("", "mod a; mod b; mod c;"),
            ("a", "use crate::b::{self, X, y as z}; fn f() -> crate::c::T { todo!() }"),
            ("b", "fn f(x: Y) { super::c::g(); format!(\"{}\", crate::a::h()) }"),
            ("c", ""),
        ];
        assert_eq!(used(&files), ["a>b", "a>c", "b>a", "b>c"]);
    }

    #[test]
    fn other_crates_and_local_names_are_not_uses() {
        let files = [
            ("", "mod a; mod fmt;"),
            (
                "a",
                "use std::fmt; use serde::de; pub(crate) struct B; fn f() -> fmt::Result { de::x(); let b = B::new(); b.c() }",
            ),
            ("fmt", ""),
        ];
        assert!(used(&files).is_empty());
    }

    #[test]
    fn code_of_tests_is_not_counted() {
        let files = [
            ("", "mod a; mod b;"),
            (
                "a",
                "#[cfg(test)] use crate::b::X; #[cfg(test)] mod tests { use crate::b::X; } #[cfg(all(test, unix))] fn f() { crate::b::g() }
                 impl S { #[cfg(test)] fn f() { crate::b::g() } }",
            ),
            ("b", ""),
        ];
        assert!(used(&files).is_empty());
    }

    #[test]
    fn a_path_through_a_re_export_is_a_use_of_the_module_that_has_the_item() {
        let files = [
            ("", "mod a; mod b;"),
            ("a", "use crate::b::Item; use crate::b; fn f() { b::item() }"),
            ("b", "mod c; pub use c::Item; pub use c::inner::item;"),
            ("b::c", "pub mod inner; pub struct Item(super::super::a::X);"),
            ("b::c::inner", "use super::Item;"),
        ];
        assert_eq!(
            used(&files),
            ["a>b", "a>b::c", "a>b::c::inner", "b>b::c", "b>b::c::inner", "b::c>a", "b::c::inner>b::c"]
        );
    }

    #[test]
    fn the_sources_of_a_crate_are_read_by_its_declarations() {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("lib.rs", "mod a; mod b; #[cfg(test)] mod tests;"),
            ("a.rs", "mod inner;"),
            ("a/inner.rs", "use crate::b::B;"),
            ("b/mod.rs", ""),
            ("main.rs", "not read"),
        ] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            node::files::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
        }
        assert_eq!(sources(folder.path()).into_keys().collect::<Vec<_>>(), ["", "a", "a::inner", "b"]);
        assert_eq!(shown(&file_uses(folder.path())), ["a::inner>b"]);
        assert_eq!(shown(&module_uses(folder.path())), ["a>b"]);
    }
}

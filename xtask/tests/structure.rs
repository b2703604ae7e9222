//! The structure that CONTRIBUTING.md promises, read from the sources: no circles of files, no import
//! against the order of `lbd/src/lib.rs`, and no `impl` far from its type.
//!
//! An import is a `use`, or a path in code that begins with `crate`, `super` or `self`. A name that a
//! module only re-exports (`pub use`) counts as an import of the file that defines it. Test code is left out.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use syn::visit::{self, Visit};

/// The files of one module that may import each other in a circle: a state machine and its states, say.
/// They lie in one folder, or are a module and the files below it.
const MOST_FILES_IN_A_CIRCLE: usize = 6;

/// Lines of a file.
const MOST_LINES: usize = 650;

/// A module by its path below the crate's root; the root itself is empty.
type Module = Vec<String>;

/// The sources of one crate.
#[derive(Default)]
struct Sources {
    modules: BTreeMap<Module, Source>,
}

struct Source {
    file: PathBuf,
    /// What it refers to, as written, resolved to paths below the crate's root.
    references: BTreeSet<Vec<String>>,
    /// Names that it passes on, and what they stand for.
    passed_on: BTreeMap<String, Vec<String>>,
    /// The modules that it declares, in order.
    children: Vec<String>,
    /// The types that it implements by themselves, as written.
    implemented: Vec<Vec<String>>,
}

impl Sources {
    fn read(root: &str) -> Self {
        let mut sources = Self::default();
        let file = workspace().join(root);
        sources.add(Vec::new(), &file);
        sources
    }

    fn add(&mut self, module: Module, file: &Path) {
        let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let mut reader = Reader {
            children: declared(&parsed.items),
            module: module.clone(),
            references: BTreeSet::new(),
            passed_on: BTreeMap::new(),
            names: BTreeMap::new(),
            implemented: Vec::new(),
        };
        reader.visit_file(&parsed);
        for child in &reader.children {
            let mut path = module.clone();
            path.push(child.clone());
            self.add(path, &file_of(file, child));
        }
        let names = &reader.names;
        let absolute = |path: &Vec<String>| match path.split_first() {
            Some((name, [])) => names.get(name).cloned(),
            _ => reader.resolve(path),
        };
        let source = Source {
            implemented: reader.implemented.iter().filter_map(absolute).collect(),
            file: file.to_owned(),
            references: reader.references,
            passed_on: reader.passed_on,
            children: reader.children,
        };
        self.modules.insert(module, source);
    }

    /// The module that defines what a path names, if it is one of this crate.
    fn owner(&self, path: &[String], depth: usize) -> Option<Module> {
        let length = (0..=path.len())
            .rev()
            .find(|length| self.modules.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let source = &self.modules[module];
        let Some(name) = rest.first().filter(|_| depth < 8) else {
            return Some(module.to_vec());
        };
        if let Some(target) = source.passed_on.get(name) {
            return self.owner(target, depth + 1);
        }
        Some(module.to_vec())
    }

    /// Which module imports which, by definition.
    fn imports(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let one = |(module, source): (_, &Source)| {
            let owners = source.references.iter();
            let owners = owners.filter_map(|path| self.owner(path, 0));
            (module, owners.filter(|owner| owner != module).collect())
        };
        self.modules.iter().map(one).collect()
    }

    fn file(&self, module: &[String]) -> &Path {
        &self.modules[module].file
    }
}

/// Collects what one file refers to.
struct Reader {
    module: Module,
    children: Vec<String>,
    references: BTreeSet<Vec<String>>,
    passed_on: BTreeMap<String, Vec<String>>,
    /// Names in scope, and what they stand for.
    names: BTreeMap<String, Vec<String>>,
    implemented: Vec<Vec<String>>,
}

impl Reader {
    /// A path below the root; `None` for one of another crate or of a name in scope.
    fn resolve(&self, path: &[String]) -> Option<Vec<String>> {
        let mut at = self.module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                at.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while let Some(("super", after)) = rest
                    .split_first()
                    .map(|(first, after)| (first.as_str(), after))
                {
                    at.pop()?;
                    rest = after;
                }
            }
            name if self.children.iter().any(|child| child == name) => {}
            _ => return None,
        }
        at.extend(rest.iter().cloned());
        Some(at)
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree, passes_on: bool) {
        let mut path = before.to_vec();
        match tree {
            syn::UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.tree(&path, &part.tree, passes_on);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(&path, tree, passes_on);
                }
            }
            syn::UseTree::Name(name) => {
                if name.ident != "self" {
                    path.push(name.ident.to_string());
                }
                let shown = path.last().cloned().unwrap_or_default();
                self.used(&path, Some(shown), passes_on);
            }
            syn::UseTree::Rename(rename) => {
                path.push(rename.ident.to_string());
                self.used(&path, Some(rename.rename.to_string()), passes_on);
            }
            syn::UseTree::Glob(_) => self.used(&path, None, passes_on),
        }
    }

    fn used(&mut self, path: &[String], name: Option<String>, passes_on: bool) {
        let Some(path) = self.resolve(path) else {
            return;
        };
        if let Some(name) = &name {
            self.names.insert(name.clone(), path.clone());
        }
        match (passes_on, name) {
            (true, Some(name)) => {
                self.passed_on.insert(name, path);
            }
            (true, None) => {}
            (false, _) => {
                self.references.insert(path);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        // An inline module belongs to its file: what it refers to by `super` is the file's own.
        if module.content.is_some() {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let passes_on = !matches!(item.vis, syn::Visibility::Inherited);
        self.tree(&[], &item.tree, passes_on);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let (None, syn::Type::Path(of)) = (&item.trait_, &*item.self_ty) {
            let names = of.path.segments.iter().map(|s| s.ident.to_string());
            self.implemented.push(names.collect());
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if names.len() > 1 && path.leading_colon.is_none() {
            self.used(&names, None, false);
        }
        visit::visit_path(self, path);
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        list.path.is_ident("cfg") && list.tokens.to_string().split(' ').any(|t| t == "test")
    })
}

/// The modules with a file of their own.
fn declared(items: &[syn::Item]) -> Vec<String> {
    let modules = items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() => Some(module),
        _ => None,
    });
    modules
        .filter(|module| !is_for_tests(&module.attrs))
        .map(|module| module.ident.to_string())
        .collect()
}

fn file_of(parent: &Path, child: &str) -> PathBuf {
    let folder = parent.parent().expect("a file has a folder");
    let stem = parent
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let folder = match stem {
        "lib" | "main" | "mod" => folder.to_owned(),
        stem => folder.join(stem),
    };
    let flat = folder.join(format!("{child}.rs"));
    if flat.exists() {
        flat
    } else {
        folder.join(child).join("mod.rs")
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Groups of modules that import each other, directly or around a corner (Tarjan's components).
fn circles(imports: &BTreeMap<&Module, BTreeSet<Module>>) -> Vec<BTreeSet<Module>> {
    let reach = |from: &Module| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from.clone()];
        while let Some(module) = open.pop() {
            for next in imports.get(&module).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> = imports
        .keys()
        .map(|module| (*module, reach(module)))
        .collect();
    let mut found = Vec::new();
    let mut placed = BTreeSet::new();
    for (module, from_here) in &reached {
        if placed.contains(*module) || !from_here.contains(*module) {
            continue;
        }
        let there_and_back =
            |other: &&Module| from_here.contains(*other) && reached[*other].contains(*module);
        let circle: BTreeSet<Module> = reached
            .keys()
            .copied()
            .filter(there_and_back)
            .cloned()
            .collect();
        placed.extend(circle.iter().cloned());
        found.push(circle);
    }
    found
}

/// What ties a circle together, in words.
fn shown(sources: &Sources, circle: &BTreeSet<Module>) -> String {
    let imports = sources.imports();
    let mut text = String::new();
    for module in circle {
        let inside: Vec<String> = imports[module]
            .iter()
            .filter(|m| circle.contains(*m))
            .map(|m| m.join("::"))
            .collect();
        let file = sources.file(module).display();
        let _ = writeln!(text, "  {file} imports {}", inside.join(", "));
    }
    text
}

/// Whether the files lie in one folder, or one of them is the module above all others.
fn is_one_module(sources: &Sources, circle: &BTreeSet<Module>) -> bool {
    let folders = circle.iter().map(|module| sources.file(module).parent());
    let is_above = |top: &Module| circle.iter().all(|module| module.starts_with(top));
    folders.collect::<BTreeSet<_>>().len() == 1 || circle.iter().any(is_above)
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut wrong = String::new();
    for root in CRATES {
        let sources = Sources::read(root);
        for circle in circles(&sources.imports()) {
            let is_allowed =
                circle.len() <= MOST_FILES_IN_A_CIRCLE && is_one_module(&sources, &circle);
            if !is_allowed {
                let _ = writeln!(
                    wrong,
                    "a circle of {} files:\n{}",
                    circle.len(),
                    shown(&sources, &circle)
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_type_is_implemented_beside_its_definition_or_below_it() {
    let mut wrong = String::new();
    for root in CRATES {
        let sources = Sources::read(root);
        for (module, source) in &sources.modules {
            for path in &source.implemented {
                let Some(owner) = sources.owner(path, 0) else {
                    continue;
                };
                let is_sibling = module.split_last().map(|(_, above)| above)
                    == owner.split_last().map(|(_, above)| above);
                if !is_sibling && !module.starts_with(&owner) {
                    let (file, of) = (source.file.display(), sources.file(&owner).display());
                    let name = path.last().map_or("", String::as_str);
                    let _ = writeln!(wrong, "{file} has an `impl {name}`, which {of} defines");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let mut wrong = String::new();
    let mut open: Vec<PathBuf> = FOLDERS.map(|folder| workspace().join(folder)).into();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.extend((!path.ends_with("target")).then_some(path));
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let lines = fs::read_to_string(&path).expect("text").lines().count();
            if lines > MOST_LINES {
                let _ = writeln!(
                    wrong,
                    "{} has {lines} lines: split it by what it holds",
                    path.display()
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn no_module_imports_from_those_below_it_in_lib_rs() {
    let sources = Sources::read("lbd/src/lib.rs");
    let order = &sources.modules[&Vec::new()].children;
    let rank = |module: &Module| order.iter().position(|name| Some(name) == module.first());
    let mut wrong = String::new();
    for (module, imported) in sources.imports() {
        for other in imported {
            if rank(module) < rank(&other) && rank(module).is_some() {
                let _ = writeln!(
                    wrong,
                    "{} imports {}, which stands below it in lbd/src/lib.rs",
                    sources.file(module).display(),
                    other.join("::")
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Where sources lie.
const FOLDERS: [&str; 5] = ["lbd-common", "lbd-ebpf", "lbd", "tests", "xtask"];

/// The crates that are looked at, by their roots.
const CRATES: [&str; 5] = [
    "lbd-common/src/lib.rs",
    "lbd-ebpf/src/main.rs",
    "lbd-ebpf/src/lib.rs",
    "lbd/src/lib.rs",
    "tests/src/lib.rs",
];

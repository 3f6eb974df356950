//! No file uses a file that, directly or through others, uses it: so each can be read, tested and moved
//! without those above it.
//!
//! A file uses another where a path in its code leads to an item in it. Declaring a module is no use of it. A
//! path through a module that re-exports leads to where the item is defined, so a `mod.rs` that only declares
//! and re-exports is in no circle. Methods have no path: of these one is seen that a file calls on `self` and that
//! another file adds to the file's own type.

use std::collections::{BTreeMap, BTreeSet};

use super::code::{Token, test_modules, tokens, without_tests};

#[test]
fn no_files_use_each_other_in_a_circle() {
    let found: Vec<String> = circles(&super::sources()).iter().map(|circle| circle.join(", ")).collect();
    assert!(found.is_empty(), "these files use each other in a circle:\n{}", found.join("\n"));
}

/// The finder itself, on planted circles.
#[test]
fn circles_are_seen() {
    let found = |files: &[(&str, &str)]| {
        let files: Vec<_> = files.iter().map(|(file, text)| ((*file).into(), (*text).into())).collect();
        circles(&files).iter().map(|circle| circle.join(" ")).collect::<Vec<_>>()
    };
    let with = |a: &str, b: &str| {
        found(&[
            ("lib.rs", "pub mod m; pub mod n;"),
            ("m/mod.rs", "pub mod a; mod b; pub use b::B; pub use a::{A, f as g};"),
            ("m/a.rs", a),
            ("m/b.rs", b),
            ("n.rs", "use crate::m::B;"),
        ])
    };
    let circle = ["m/a.rs m/b.rs"];
    assert_eq!(with("use super::b::B;", "use crate::m::a::A;"), circle);
    assert_eq!(with("use super::b; fn f() { b::g() }", "use super::a::{self}; fn g() { a::f() }"), circle);
    assert_eq!(with("fn f(_: super::B) {}", "use crate::m::g;"), circle, "through what is re-exported");
    assert_eq!(with("use super::b::B as C;", "mod inner { fn f() { super::super::a::f() } }"), circle);
    assert_eq!(with("use super::b::*;", "use super::a::*;"), circle);
    assert_eq!(with("use crate::n::N;", "use super::a::A;"), ["m/a.rs m/b.rs n.rs"]);
    let none: [&str; 0] = [];
    assert_eq!(with("use crate::n::N;", ""), none, "n uses b, and not a");
    assert_eq!(with("use super::b::B;", "#[cfg(test)] mod tests { use crate::m::a::A; }"), none);
    assert_eq!(with("use super::b::B;", "// crate::m::a::A\nconst T: &str = \"super::a::A\";"), none);
    // A mod.rs with code of its own that uses what is below it, and is used by that.
    let code = |text| found(&[("lib.rs", "mod m;"), ("m/mod.rs", text), ("m/a.rs", "use super::M;")]);
    assert_eq!(code("mod a; pub use a::A; pub struct M;"), none);
    assert_eq!(code("mod a; pub use a::A; pub struct M(A);"), ["m/a.rs m/mod.rs"]);
    assert_eq!(code("mod a; pub struct M; fn f() { a::A }"), ["m/a.rs m/mod.rs"]);
    // Methods that another file adds to a type, and that are called where the type is.
    let methods = |own| {
        found(&[
            ("lib.rs", "mod t; mod more;"),
            ("t.rs", own),
            ("more.rs", "use crate::t::T; impl T { fn one() -> impl Copy {} fn more(&self) {} }"),
        ])
    };
    assert_eq!(methods("struct T; impl T { fn f(&self) { self.more() } }"), ["more.rs t.rs"]);
    assert_eq!(methods("struct T; impl T { fn f(&self) { self.less() } fn less(&self) {} }"), none);
    assert_eq!(methods("struct T; impl T { fn f(&self) { self.x.more() } }"), none, "of another type");
    let nested = [("lib.rs", "mod a;"), ("a.rs", "mod b; fn f() { b::g() }"), ("a/b.rs", "use super::f;")];
    assert_eq!(found(&nested), ["a.rs a/b.rs"]);
}

/// What the finder knows of a file.
struct File {
    /// The module that it is, from the root of the crate on.
    module: Vec<String>,
    /// The modules below it that are files.
    children: BTreeSet<String>,
    /// Names that `use` brings in, and the paths that they stand for.
    names: BTreeMap<String, Vec<String>>,
    /// What its code names.
    used: Vec<Vec<String>>,
    /// The methods that it defines: the path of the type, and the name.
    methods: Vec<(Vec<String>, String)>,
    /// The methods that it calls on `self`.
    called: BTreeSet<String>,
}

/// Every group of files that use each other, sorted.
fn circles(sources: &[(String, String)]) -> Vec<Vec<String>> {
    let codes: Vec<(&str, Vec<Token>)> =
        sources.iter().map(|(file, text)| (file.as_str(), tokens(text))).collect();
    let tests: BTreeSet<String> =
        codes.iter().flat_map(|(file, tokens)| test_modules(file, tokens)).collect();
    let files: BTreeMap<&str, &[Token]> = codes
        .iter()
        .filter(|(file, _)| !tests.contains(*file) && !file.starts_with("bin/"))
        .map(|(file, tokens)| (*file, tokens.as_slice()))
        .collect();
    let modules: BTreeMap<Vec<String>, &str> = files.keys().map(|file| (module_of(file), *file)).collect();
    let files: BTreeMap<&str, File> =
        files.iter().map(|(file, tokens)| (*file, read(file, tokens, &modules))).collect();
    let crate_ = Crate { files, modules };
    let uses: BTreeMap<&str, BTreeSet<&str>> =
        crate_.files.iter().map(|(name, file)| (*name, crate_.uses(name, file))).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        uses.keys().map(|name| (*name, reach(name, &uses))).collect();
    let group = |(name, below): (&&str, &BTreeSet<&str>)| -> Vec<String> {
        below.iter().filter(|other| reached[**other].contains(name)).map(|file| (*file).into()).collect()
    };
    let groups: BTreeSet<Vec<String>> = reached.iter().map(group).filter(|group| !group.is_empty()).collect();
    groups.into_iter().collect()
}

/// All files that one uses, directly or through others.
fn reach<'a>(from: &str, uses: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        for next in &uses[file] {
            if seen.insert(*next) {
                open.push(next);
            }
        }
    }
    seen
}

struct Crate<'a> {
    files: BTreeMap<&'a str, File>,
    modules: BTreeMap<Vec<String>, &'a str>,
}

impl<'a> Crate<'a> {
    /// The other files with items that a file names.
    fn uses(&self, name: &str, file: &File) -> BTreeSet<&'a str> {
        let used = file.used.iter().filter_map(|path| self.find(file, path, 0));
        let added = self.files.iter().filter(|(_, other)| {
            let is_called = |(of, method): &(Vec<String>, String)| {
                file.called.contains(method)
                    && !file.methods.iter().any(|(_, own)| own == method)
                    && self.find(other, of, 0) == Some(name)
            };
            other.methods.iter().any(is_called)
        });
        used.chain(added.map(|(other, _)| *other)).filter(|used| *used != name).collect()
    }

    /// The file of the item that a path means in a file; none outside of the crate, and none for a module.
    fn find(&self, file: &File, path: &[String], depth: usize) -> Option<&'a str> {
        // No re-export goes that far; one that stands for itself would.
        if depth > 8 {
            return None;
        }
        let (first, rest) = path.split_first()?;
        if first == "crate" {
            return self.find_below(&[], rest, depth);
        }
        if file.children.contains(first) {
            return self.find_below(&[&file.module[..], &path[..1]].concat(), rest, depth);
        }
        let stands_for = file.names.get(first)?;
        self.find(file, &[stands_for, rest].concat(), depth + 1)
    }

    /// The same for a path that begins in a module.
    fn find_below(&self, module: &[String], path: &[String], depth: usize) -> Option<&'a str> {
        let name = *self.modules.get(module)?;
        let file = &self.files[name];
        let first = path.first()?;
        match file.children.contains(first) || file.names.contains_key(first) {
            true => self.find(file, path, depth + 1),
            false => Some(name),
        }
    }
}

/// The module that a file is.
fn module_of(file: &str) -> Vec<String> {
    let path = file.strip_suffix("mod.rs").unwrap_or_else(|| file.strip_suffix(".rs").unwrap_or(file));
    path.split('/').filter(|part| !part.is_empty() && *part != "lib").map(str::to_owned).collect()
}

/// Reads one file.
fn read(name: &str, tokens: &[Token], modules: &BTreeMap<Vec<String>, &str>) -> File {
    let tokens = without_tests(tokens);
    let module = module_of(name);
    let children: BTreeSet<String> = modules
        .keys()
        .filter(|other| other.len() == module.len() + 1 && other.starts_with(&module))
        .filter_map(|other| other.last().cloned())
        .collect();
    let (names, used, methods, called) = (BTreeMap::new(), Vec::new(), Vec::new(), BTreeSet::new());
    let mut file = File { children, names, used, methods, called, module };
    let text = |n: usize| tokens.get(n).map_or("", |token: &Token| token.text.as_str());
    // Where the code stands: in the file's own module, or in one that is written out in it.
    let (mut here, mut braces, mut depth) = (file.module.clone(), Vec::new(), 0);
    let (mut handed_on, mut others) = (Vec::new(), BTreeSet::new());
    // The type that methods are defined for, and how deep they stand.
    let mut methods_of: Option<(Vec<String>, usize)> = None;
    let mut i = 0;
    while i < tokens.len() {
        match text(i) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                methods_of = methods_of.filter(|(_, inside)| *inside <= depth);
                if braces.last() == Some(&depth) {
                    braces.pop();
                    here.pop();
                }
            }
            "mod" if text(i + 2) == "{" => {
                braces.push(depth);
                here.push(text(i + 1).into());
            }
            "use" => {
                let public = matches!(text(i.wrapping_sub(1)), "pub" | ")");
                let mut found = Vec::new();
                i = imports(&tokens, i + 1, &[], &mut found);
                for (path, name) in found {
                    let path = absolute(&here, path);
                    if public {
                        handed_on.push((name.clone(), path.clone()));
                    } else {
                        file.used.push(path.clone());
                    }
                    // Nothing stands for itself, and a glob for no one name.
                    if path.first() != Some(&name) && name != "*" {
                        file.names.insert(name, path);
                    }
                }
                continue;
            }
            "impl" if i == 0 || matches!(text(i - 1), "}" | ";" | "]" | "unsafe") => {
                methods_of = type_of(&tokens, i).map(|of| (of, depth + 1))
            }
            "fn" if methods_of.as_ref().is_some_and(|(_, inside)| *inside == depth) => {
                let of = methods_of.iter().map(|(of, _)| absolute(&here, of.clone()));
                file.methods.extend(of.map(|of| (of, text(i + 1).to_owned())));
            }
            "self" if text(i + 1) == "." => drop(file.called.insert(text(i + 2).into())),
            // In a macro, a module whose name is filled in: any of those below.
            "$" if text(i + 2) == "::" => {
                file.used.extend(file.children.iter().map(|child| vec![child.clone(), text(i + 3).into()]));
            }
            word => drop(others.insert(word.to_owned())),
        }
        if text(i + 1) == "::" && text(i.wrapping_sub(1)) != "::" {
            let mut path = vec![text(i).to_owned()];
            let mut at = i + 1;
            while text(at) == "::" {
                path.push(text(at + 1).into());
                at += 2;
            }
            file.used.push(absolute(&here, path));
        }
        i += 1;
    }
    // What is handed on is used where the code names it, too.
    file.used.extend(handed_on.into_iter().filter(|(name, _)| others.contains(name)).map(|(_, path)| path));
    file
}

/// The type of the `impl` at `i`; none where that is of a trait.
fn type_of(tokens: &[Token], i: usize) -> Option<Vec<String>> {
    let head: Vec<&str> =
        tokens[i + 1..].iter().map(|token| token.text.as_str()).take_while(|text| *text != "{").collect();
    let is_name = |text: &&&str| text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    // Behind its own parameters.
    let (mut depth, mut at) = (0, 0);
    for (n, text) in head.iter().enumerate() {
        match *text {
            "<" => depth += 1,
            ">" => depth -= 1,
            _ if depth > 0 => {}
            _ => break,
        }
        at = n + 1;
    }
    let path = head.get(at..)?.iter().take_while(|text| is_name(text) || **text == "::");
    let path: Vec<String> = path.filter(|text| **text != "::").map(|text| (*text).to_owned()).collect();
    (!head.contains(&"for") && !path.is_empty()).then_some(path)
}

/// The path from the root of the crate on, where it begins with `self` or `super`.
fn absolute(here: &[String], path: Vec<String>) -> Vec<String> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let skip = if path[0] == "self" { 1 } else { supers };
    if skip == 0 {
        return path;
    }
    let above = &here[..here.len().saturating_sub(supers)];
    [&["crate".to_owned()][..], above, &path[skip..]].concat()
}

/// Reads the `use` tree at `i`: each path, and the name that it gets. Returns where it ends.
fn imports(
    tokens: &[Token],
    mut i: usize,
    prefix: &[String],
    found: &mut Vec<(Vec<String>, String)>,
) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(i) {
        i += 1;
        match token.text.as_str() {
            "::" => {}
            "{" => {
                while tokens.get(i).is_some_and(|token| token.text != "}") {
                    i = imports(tokens, i, &path, found);
                    i += usize::from(tokens.get(i).is_some_and(|token| token.text == ","));
                }
                return i + 1;
            }
            "," | "}" | ";" => {
                i -= 1;
                break;
            }
            "as" => {
                found.push((path, tokens[i].text.clone()));
                return i + 1;
            }
            name => path.push(name.into()),
        }
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if let Some(name) = path.last().cloned() {
        found.push((path, name));
    }
    i
}

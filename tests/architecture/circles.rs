//! No source file imports another that, in the end, imports it: checked over every file of both crates.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::{Module, code, imports, modules};

/// What can be reached from a module by one import or more.
fn reached(from: &Module, imports: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let mut seen = BTreeSet::new();
    let mut todo: Vec<&Module> = imports[from].iter().collect();
    while let Some(module) = todo.pop() {
        if seen.insert(module.clone()) {
            todo.extend(imports.get(module).into_iter().flatten());
        }
    }
    seen
}

/// Fails with each file that is in a circle, and the imports that keep it there.
#[track_caller]
fn has_no_circles(all: &BTreeMap<Module, String>) {
    let imports: BTreeMap<Module, BTreeSet<Module>> = all.keys().map(|own| (own.clone(), imports(own, all))).collect();
    let mut circles = Vec::new();
    for (own, targets) in &imports {
        for module in targets.iter().filter(|module| reached(module, &imports).contains(own)) {
            circles.push(format!("{} imports {}, which imports it in the end", own.join("::"), module.join("::")));
        }
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn the_program_has_none() {
    has_no_circles(&modules("src"));
}

#[test]
fn the_backends_have_none() {
    has_no_circles(&modules("backends/src"));
}

fn crate_of(files: &[(&str, &str)]) -> BTreeMap<Module, String> {
    let module = |name: &str| name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    files.iter().map(|(name, text)| (module(name), code(text))).collect()
}

#[test]
#[should_panic(expected = "a::b imports a::c, which imports it in the end")]
fn a_circle_of_siblings_is_found() {
    has_no_circles(&crate_of(&[
        ("", ""),
        ("a", ""),
        ("a::b", "use super::{c::{X as Y}, d};"),
        ("a::c", "fn f() { super::b::g() }"),
        ("a::d", ""),
    ]));
}

#[test]
#[should_panic(expected = "a imports a::b, which imports it in the end")]
fn a_file_below_a_face_that_asks_the_face_is_found() {
    has_no_circles(&crate_of(&[("", ""), ("a", "mod b;\npub use b::X;"), ("a::b", "use crate::a::X;")]));
}

#[test]
fn comments_texts_and_tests_import_nothing() {
    let quiet = "// use super::c::X;\nconst T: &str = \"super::c::X\";\n#[cfg(test)]\nmod tests { use super::super::c::X; }";
    has_no_circles(&crate_of(&[("", ""), ("a", ""), ("a::b", quiet), ("a::c", "use super::b::T;")]));
}

//! The layout: a folder imports only from the rows below it in `docs/architecture.md`, and no modules form a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::guards::{files, read, root};

/// A module by its path below the crate's root, and the modules it names.
type Imports = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

/// Which modules below `folder` name which paths. Tests of a module may stand on anything and are left out.
fn imports(folder: &str) -> Imports {
    let mut imports = Imports::new();
    for file in files(folder, "rs") {
        let module = module_of(&file, &root().join(folder));
        if module.last().is_some_and(|name| name == "tests") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let named = imports.entry(module.clone()).or_default();
        for (begin, base) in [("crate::", 0), ("super::", module.len().saturating_sub(1))] {
            for tree in text.split(begin).skip(1) {
                let mut paths = Vec::new();
                let base: Vec<String> = module[..base].to_vec();
                walk(tree, &base, &mut paths);
                named.extend(paths);
            }
        }
    }
    imports
}

fn module_of(file: &Path, folder: &Path) -> Vec<String> {
    let relative: PathBuf = file.strip_prefix(folder).unwrap().with_extension("");
    let path: Vec<String> =
        relative.components().map(|part| part.as_os_str().to_str().unwrap().to_owned()).collect();
    if matches!(path.as_slice(), [only] if only == "lib" || only == "main") { vec![] } else { path }
}

/// Reads `a::b`, or `{a, b::{c, d}}`; what is left of the text.
fn walk<'t>(text: &'t str, base: &[String], paths: &mut Vec<Vec<String>>) -> &'t str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = walk(rest.trim_start(), base, paths).trim_start();
            match rest.strip_prefix(',') {
                Some(next) => rest = next.trim_start(),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut path = base.to_vec();
    match name {
        "super" => drop(path.pop()),
        "" | "self" => {}
        name => path.push(name.to_owned()),
    }
    if let Some(rest) = rest.strip_prefix("::") {
        return walk(rest, &path, paths);
    }
    paths.push(path);
    rest
}

/// Where two modules part: the folder they share, and which of its rooms names which.
fn edges(imports: &Imports) -> BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> {
    let mut edges: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (own, named) in imports {
        for other in named {
            let shared = own.iter().zip(other).take_while(|(own, other)| own == other).count();
            let (Some(from), Some(to)) = (own.get(shared), other.get(shared)) else { continue };
            let is_module = imports.contains_key(&other[..=shared]);
            if is_module {
                let room = edges.entry(own[..shared].to_vec()).or_default();
                room.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    edges
}

/// Takes away whatever names nothing that is left; what remains names itself in a circle.
fn circle(edges: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut left: BTreeSet<String> = edges.keys().cloned().collect();
    loop {
        let stuck: BTreeSet<String> = left
            .iter()
            .filter(|name| edges[*name].iter().any(|other| left.contains(other)))
            .cloned()
            .collect();
        if stuck == left {
            return stuck;
        }
        left = stuck;
    }
}

/// The rows of the table in `docs/architecture.md`, the highest first.
fn rows() -> Vec<Vec<String>> {
    let text = read("docs/architecture.md");
    let table = text.lines().skip_while(|line| !line.starts_with("| Folder |")).skip(2);
    let rows: Vec<Vec<String>> = table
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').nth(1).unwrap().split('`').skip(1).step_by(2))
        .map(|names| names.map(|name| name.trim_end_matches('/').to_owned()).collect())
        .collect();
    assert!(rows.len() > 5, "the table of folders is gone");
    rows
}

#[test]
fn a_folder_imports_only_from_the_rows_below_it() {
    let rows = rows();
    let row = |name: &str| rows.iter().position(|row| row.iter().any(|known| known == name));
    let imports = imports("src");
    let edges = edges(&imports);
    for (from, named) in &edges[&vec![]] {
        for to in named {
            assert!(row(to) > row(from), "{from} imports {to}, which is not in a row below its own");
        }
    }
    let mut modules: Vec<&str> = imports.keys().filter_map(|path| path.first()).map(String::as_str).collect();
    modules.dedup();
    let mut listed: Vec<&str> = rows.iter().flatten().map(String::as_str).collect();
    listed.sort_unstable();
    assert_eq!(modules, listed, "every folder has its row, and every row its folder");
}

#[test]
fn no_modules_form_a_circle() {
    for folder in ["src", "tests/sandbox/src"] {
        for (room, edges) in edges(&imports(folder)) {
            let circle = circle(&edges);
            assert!(circle.is_empty(), "{folder}, in {room:?}: {circle:?} import each other in a circle");
        }
    }
}

#[test]
fn the_domain_is_pure() {
    let mut pure = files("src/domain", "rs");
    pure.extend(["src/domain.rs", "src/clock.rs", "src/digest.rs"].map(|file| root().join(file)));
    for file in pure {
        let text = std::fs::read_to_string(&file).unwrap();
        let foreign =
            ["tokio::", "reqwest::", "sled::", "axum::", "crate::store", "std::fs", "std::net", "std::env"];
        for foreign in foreign {
            assert!(!text.contains(foreign), "{} uses {foreign}", file.display());
        }
    }
}

/// The compiler sees to it that the local Jobber shares no code with the daemon; nothing may lead round that.
#[test]
fn the_local_jobber_knows_nothing_of_the_daemon() {
    assert!(!read("tests/sandbox/Cargo.toml").contains("jobber-reviewd"));
}

#[test]
fn a_circle_is_found() {
    let edges = |pairs: &[(&str, &[&str])]| {
        pairs
            .iter()
            .map(|(from, to)| ((*from).to_owned(), to.iter().map(|to| (*to).to_owned()).collect()))
            .collect::<BTreeMap<String, BTreeSet<String>>>()
    };
    assert!(circle(&edges(&[("a", &["b"]), ("b", &["c"])])).is_empty());
    assert_eq!(circle(&edges(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])])).len(), 3);
}

#[test]
fn every_way_to_name_a_module_is_read() {
    let mut paths = Vec::new();
    let rest = walk("{self, a::B, c::{d, super::e}};", &["x".to_owned()], &mut paths);
    let paths: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["x", "x::a::B", "x::c::d", "x::e"]);
    assert_eq!(rest, ";");
}

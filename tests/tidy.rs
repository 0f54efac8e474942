//! The architecture as a test: who may import whom, what a file may be called, and how long it may grow.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what cannot be read fails the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Member, and which of our crates its code may use. `tests` may use everything.
const IMPORTS: &[(&str, &[&str])] = &[
    ("core/rule", &[]),
    ("core/policy", &["rule"]),
    ("core/dialect", &[]),
    ("core/audit", &[]),
    ("core/settings", &[]),
    ("core/scim", &[]),
    ("core/scan", &[]),
    ("core/mcp", &[]),
    ("core/openapi", &[]),
    ("proto", &["policy", "audit"]),
    ("telemetry", &[]),
    // dialect: explaining a route tells what a request may lose. scan: rules are compiled before they are kept.
    (
        "control-plane",
        &["proto", "policy", "dialect", "audit", "scan", "mcp", "openapi", "settings", "scim", "telemetry"],
    ),
    ("proxy", &["proto", "policy", "dialect", "scan", "mcp", "openapi", "audit", "settings", "telemetry"]),
    ("admin-cli", &["proto", "policy", "audit"]),
    ("simulator", &["dialect"]),
    ("standalone", &["control-plane", "proxy", "simulator", "proto", "policy", "settings", "telemetry"]),
];

/// Third-party crate, and the members that may use it.
const GUESTS: &[(&str, &[&str])] = &[
    ("sqlx", &["control-plane", "tests"]),
    ("hyper", &["proxy", "simulator", "bench/floor", "tests"]),
    // telemetry: the exporter of traces sends by it. control-plane: webhooks. admin-cli: signing in.
    ("reqwest", &["telemetry", "control-plane", "proxy", "admin-cli", "tests"]),
    ("tonic", &["proto", "control-plane", "proxy", "admin-cli", "standalone", "tests"]),
    ("axum", &["control-plane"]),
    ("fjall", &["proxy"]),
    ("redis", &["proxy"]),
    ("clap", &["admin-cli", "control-plane", "proxy", "simulator", "standalone"]),
];

/// What a pure crate must not reach.
const IMPURE: &[&str] =
    &["tokio", "tonic", "sqlx", "hyper", "reqwest", "axum", "getrandom", "tracing", "fjall", "redis"];

/// Lines of production code, tests apart, beyond which a file has become two things.
const FILE_LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn manifest(member: &str) -> toml::Table {
    fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap().parse().unwrap()
}

fn members() -> Vec<String> {
    let workspace = manifest(".");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

fn dependencies(member: &str, sections: &[&str]) -> BTreeSet<String> {
    let manifest = manifest(member);
    sections
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .collect()
}

fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut directories: Vec<PathBuf> = members().iter().map(|member| root().join(member)).collect();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            if entry.is_dir() && !matches!(name.as_str(), "target" | "node_modules" | "results") {
                directories.push(entry);
            } else if name.ends_with(".rs") {
                let path = entry.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                files.push((path, fs::read_to_string(&entry).unwrap()));
            }
        }
    }
    files.sort();
    files.dedup();
    files
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

#[test]
fn each_crate_imports_only_what_the_map_allows() {
    for member in members().iter().filter(|member| *member != "tests") {
        let allowed = IMPORTS.iter().find(|row| row.0 == member).map(|row| row.1);
        for name in dependencies(member, &["dependencies", "build-dependencies"]) {
            if let Some(ours) = name.strip_prefix("tollgate-") {
                let allowed = allowed.unwrap_or_else(|| panic!("{member} is not in the table of imports"));
                assert!(allowed.contains(&ours), "{member} must not depend on {name}");
            }
        }
    }
}

#[test]
fn each_guest_is_used_only_where_it_is_at_home() {
    for member in members() {
        let used = dependencies(&member, &["dependencies"]);
        for (guest, homes) in GUESTS {
            assert!(!used.contains(*guest) || homes.contains(&member.as_str()), "{member} must not depend on {guest}");
        }
        if member.starts_with("core/") {
            for guest in IMPURE {
                assert!(!used.contains(*guest), "{member} is pure and must not depend on {guest}");
            }
        }
    }
}

#[test]
fn versions_and_lints_live_in_the_workspace() {
    for member in members() {
        let manifest = manifest(&member);
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{member} does not take the lints");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in manifest.get(section).and_then(|value| value.as_table()).into_iter().flatten() {
                assert_eq!(
                    value.get("workspace").and_then(toml::Value::as_bool),
                    Some(true),
                    "{member}: {name} has its own version"
                );
            }
        }
    }
}

#[test]
fn sql_lives_in_the_store() {
    for (path, text) in sources() {
        let at_home = path.starts_with("control-plane/src/store") || is_test(&path);
        assert!(at_home || !text.contains("sqlx::"), "{path} uses sqlx outside the store");
    }
}

#[test]
fn each_file_opens_with_its_purpose_and_is_named_after_a_noun_of_the_domain() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!") || is_test(&path), "{path} does not open with //!");
        let name = path.rsplit('/').next().unwrap();
        let vague = ["mod.rs", "util.rs", "utils.rs", "common.rs", "helpers.rs", "helper.rs", "manager.rs", "misc.rs"];
        assert!(!vague.contains(&name), "{path}: the name says nothing");
    }
}

#[test]
fn each_file_is_read_in_one_sitting() {
    for (path, text) in sources().into_iter().filter(|(path, _)| !is_test(path)) {
        let production = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
        assert!(
            production <= FILE_LINES_MAX,
            "{path} has {production} lines of production code: what second thing has it become?"
        );
    }
}

#[test]
fn nothing_is_left_open() {
    for (path, text) in sources().into_iter().filter(|(path, _)| path != "tests/tidy.rs") {
        for mark in ["todo!(", "unimplemented!(", "#[ignore", "FIXME", "XXX"] {
            assert!(!text.contains(mark), "{path} contains {mark}");
        }
    }
}

//! docs/security.md names, for each threat, the tests that cover it: they are there.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

/// The text of every file under a folder that a test can be in.
fn texts(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Whether a test of this name is there: a function that is marked as one.
fn is_test(texts: &str, name: &str) -> bool {
    texts.match_indices(&format!("fn {name}(")).any(|(at, _)| {
        let before = &texts[..at];
        // Between it and whatever came before it.
        let since = before.rfind(['{', '}', ';']).map_or(before, |end| &before[end..]);
        since.contains("#[test]") || since.contains("#[tokio::test")
    })
}

#[test]
fn every_threat_names_tests_or_gates_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut tests = String::new();
    for folder in ["src", "tests", "emulator/src", "emulator/tests"] {
        texts(&root.join(folder), &mut tests);
    }
    let mut gates = String::new();
    for entry in fs::read_dir(root.join(".ci")).unwrap() {
        gates.push_str(&fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    let mut threats = 0;
    let table = page.split("| threat |").nth(1).unwrap();
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let covered = line.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap();
        let named: Vec<&str> = covered.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "nothing covers: {line}");
        for name in named {
            // A test, or else a file that CI runs or reads.
            if name.contains(['/', '.']) {
                assert!(root.join(name).exists() && gates.contains(name), "CI knows no {name}");
            } else {
                assert!(is_test(&tests, name), "there is no test {name}");
            }
        }
        threats += 1;
    }
    assert!(threats >= 15, "{threats} threats were read");
}

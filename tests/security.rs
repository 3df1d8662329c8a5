//! Checks that docs/security.md names existing tests or CI checks for each threat.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

/// Appends the Rust files of a folder to `texts`.
fn read_rust(folder: &Path, texts: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_rust(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Whether a test function has this name.
fn is_test(texts: &str, name: &str) -> bool {
    texts.match_indices(&format!("fn {name}(")).any(|(at, _)| {
        let before = &texts[..at];
        // The attributes of the function: all text since the end of the item before it.
        let attributes = before.rfind(['{', '}', ';']).map_or(before, |end| &before[end..]);
        attributes.contains("#[test]") || attributes.contains("#[tokio::test")
    })
}

#[test]
fn every_threat_names_existing_tests_or_checks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut tests = String::new();
    for folder in ["src", "tests", "emulator/src", "emulator/tests"] {
        read_rust(&root.join(folder), &mut tests);
    }
    let mut ci = String::new();
    for entry in fs::read_dir(root.join(".ci")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            ci.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    let mut threats = 0;
    let table = page.split("| threat |").nth(1).unwrap();
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cell = line.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap();
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "expected a test or check in: {line}");
        for name in names {
            // A name with a slash or a dot is a file that CI runs or reads.
            if name.contains(['/', '.']) {
                assert!(
                    root.join(name).exists() && ci.contains(name),
                    "{name} does not exist, or no file in .ci names it"
                );
            } else {
                assert!(is_test(&tests, name), "no test is named {name}");
            }
        }
        threats += 1;
    }
    assert!(threats >= 15, "expected 15 threats or more, found {threats}");
}

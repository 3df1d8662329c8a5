//! Checks that links between the documents lead somewhere, and that translations say the same.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The folders that contain documents.
const FOLDERS: [&str; 6] = [".", "benches/compare", "dashboards", "deploy", "docs", "emulator"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files and their texts.
fn documents() -> Vec<(PathBuf, String)> {
    let files = FOLDERS.iter().flat_map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let paths = files.map(|entry| entry.unwrap().path());
    let documents = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// The lines outside and inside of code blocks, with the language of the block.
fn lines(text: &str) -> Vec<(Option<&str>, &str)> {
    let mut language = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(name) => language = if language.is_none() { Some(name) } else { None },
            None => lines.push((language, line)),
        }
    }
    lines
}

/// The targets of the links and pictures that are not on other sites.
fn links(text: &str) -> Vec<&str> {
    let prose = lines(text).into_iter().filter(|(language, _)| language.is_none());
    let targets = prose.flat_map(|(_, line)| line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|each| each.is_alphanumeric() || matches!(each, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors(text: &str) -> Vec<String> {
    let headings = lines(text).into_iter().filter(|(language, line)| language.is_none() && line.starts_with('#'));
    headings.map(|(_, line)| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn links_lead_to_existing_files_and_headings() {
    let mut broken = Vec::new();
    let mut count = 0;
    for (path, text) in documents() {
        for link in links(&text) {
            count += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let mut target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            if target.is_dir() && target.join("README.md").exists() {
                target = target.join("README.md");
            }
            let leads = match fs::read_to_string(&target) {
                Ok(found) => heading.is_empty() || anchors(&found).iter().any(|each| each == heading),
                Err(_) => heading.is_empty() && target.exists(),
            };
            if !leads {
                broken.push(format!("{}: {link}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(count >= 50, "expected at least 50 links, found {count}");
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

/// The documents with a translation, without the extension.
const TRANSLATED: [&str; 3] = ["README", "docs/first-test", "docs/experiments"];

/// A link as it is in the original. The headings of a translation have other anchors.
fn original(link: &str) -> String {
    let link = link.replace(".zh-CN.md", ".md");
    match link.split_once(".md#") {
        Some((name, _)) if TRANSLATED.contains(&name) || TRANSLATED.contains(&&*format!("docs/{name}")) => {
            format!("{name}.md")
        }
        _ => link,
    }
}

/// The parts that a translation keeps: headings, commands, tables with the names of settings, and links.
fn skeleton(text: &str) -> (Vec<String>, Vec<String>) {
    let mut parts = Vec::new();
    for (language, line) in lines(text) {
        let part = match language {
            // Only the comments are translated.
            Some("sh") => line.split('#').next().unwrap().trim_end().to_owned(),
            Some(_) => continue,
            None if line.starts_with('#') => line.split(' ').next().unwrap().to_owned(),
            None if line.starts_with('|') => {
                let cells: Vec<&str> = line.split('|').collect();
                let names: Vec<&str> = cells[1].split('`').skip(1).step_by(2).collect();
                format!("| {} cells, {names:?}", cells.len())
            }
            None => continue,
        };
        parts.push(part);
    }
    let links = links(text).into_iter().filter(|link| !link.starts_with('#'));
    let mut links: Vec<String> = links.map(original).collect();
    links.sort_unstable();
    (parts, links)
}

#[test]
fn each_translation_has_the_same_parts() {
    for name in TRANSLATED {
        let read = |extension| fs::read_to_string(root().join(format!("{name}.{extension}"))).unwrap();
        let (english, chinese) = (read("md"), read("zh-CN.md"));
        let ((expected, links), (parts, translated_links)) = (skeleton(&english), skeleton(&chinese));
        for (expected, found) in expected.iter().zip(&parts) {
            assert_eq!(expected, found, "{name}.md and {name}.zh-CN.md differ first here");
        }
        assert_eq!(expected.len(), parts.len(), "headings, commands and table rows of {name}");
        assert_eq!(links, translated_links, "links of {name}");
    }
}

#[test]
fn the_readme_states_what_a_reader_must_know_first() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    // Line breaks of the source do not matter.
    let text = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    for statement in [
        "Start here: [the first A/B test](docs/first-test.md)",
        "with the setting `experiments`, nearedge assigns each visitor to a variant",
        "has not run in a real AWS account",
        "need [Rust](https://rustup.rs) 1.94.1 or newer and a C compiler",
        "the first `cargo run` takes about",
        "function URLs (which AWS China does not have)",
        "--set Alias=ab.example.com.cn --set CertificateId=",
    ] {
        assert!(text.contains(statement), "expected in README.md: {statement:?}");
    }
    for section in ["requirements", "prerequisites-in-aws-china", "aws-and-aws-china", "not-tested"] {
        let link = format!("deploy/README.md#{section}");
        assert!(links(&readme).contains(&link.as_str()), "expected in README.md a link to {link}");
    }
}

//! Survey of a site's folder: the objects that the banner's commands can name.

use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use walkdir::WalkDir;

/// The characters that a URL encodes in the path of an example.
pub(crate) const PATH_ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The number of entries of a folder that the survey reads, so that a large site does not delay the start.
const ENTRIES_MAX: usize = 2_000;

/// The number of folder levels that the survey reads.
const LEVELS_MAX: usize = 4;

/// The size up to which an object fits into a response of Lambda, with a margin.
const OBJECT_BYTES_MAX: u64 = 4_000_000;

/// The survey of a site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Whether the folder contains no file.
    pub(crate) is_empty: bool,
    /// Whether the path `/` has an object without a variant.
    pub(crate) has_index: bool,
    /// The keys of a page and an image outside the variants' folders.
    pub(crate) page: Option<String>,
    pub(crate) image: Option<String>,
    /// The variants whose folder contains an object.
    pub(crate) present: Vec<String>,
    /// The variants whose folder is missing or empty.
    pub(crate) missing: Vec<String>,
    /// Objects of the variants; `None` without variants.
    pub(crate) example: Option<VariantExample>,
}

/// Objects that exist in variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VariantExample {
    /// The first variant.
    pub(crate) first: String,
    /// Another variant that has the page too, otherwise the first one again.
    pub(crate) second: String,
    /// The key of a page, without the variant's prefix.
    pub(crate) page: String,
    /// The key of an image of the second variant, without its prefix.
    pub(crate) image: Option<String>,
}

impl Contents {
    /// Surveys the folder `site`. `serves` reports whether the bucket has an object at a key.
    pub(crate) fn survey(site: &Path, variants: &[String], index: &str, serves: impl Fn(&str) -> bool + Copy) -> Self {
        let is_empty = !WalkDir::new(site).into_iter().flatten().any(|entry| !entry.file_type().is_dir());
        let unversioned = files(site, variants, (index, Order::IndexFirst));
        let first = |image| unversioned.iter().find(|file| file.image == image && serves(&file.key));
        let mut present = Vec::new();
        let mut missing = Vec::new();
        for variant in variants {
            let files = files(&site.join(variant), &[], (index, Order::IndexLast));
            if files.iter().any(|file| serves(&file.key_of(variant))) {
                present.push((variant.clone(), files));
            } else {
                missing.push(variant.clone());
            }
        }
        Self {
            is_empty,
            has_index: serves(index),
            page: first(false).map(|file| file.key.clone()),
            image: first(true).map(|file| file.key.clone()),
            example: example(&present, serves),
            present: present.into_iter().map(|(variant, _)| variant).collect(),
            missing,
        }
    }
}

/// Chooses two variants and a page that both have.
fn example(present: &[(String, Vec<File>)], serves: impl Fn(&str) -> bool + Copy) -> Option<VariantExample> {
    let (first, files) = present.first()?;
    let pages = || files.iter().filter(|file| !file.image).chain(files).filter(|file| serves(&file.key_of(first)));
    let shared = present.get(1).and_then(|(second, others)| {
        let shared = |page: &&File| others.iter().any(|other| other.key == page.key) && serves(&page.key_of(second));
        Some(((second, others), pages().find(shared)?))
    });
    let ((second, files), page) = match shared {
        Some(shared) => shared,
        None => ((first, files), pages().next()?),
    };
    let image = files.iter().find(|file| file.image && file.key != page.key && serves(&file.key_of(second)));
    Some(VariantExample {
        first: first.clone(),
        second: second.clone(),
        page: page.key.clone(),
        image: image.map(|image| image.key.clone()),
    })
}

/// A file, by its path in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    key: String,
    image: bool,
}

impl File {
    /// The key of the file if it is in the folder of a variant.
    fn key_of(&self, variant: &str) -> String {
        format!("{variant}/{}", self.key)
    }
}

/// The position of the index document among the pages of its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    IndexFirst,
    /// The commands name a page of a variant, which they can only if its name is in the URL.
    IndexLast,
}

/// The files of a folder, the best example first: simple names, pages before other types, upper folders first.
fn files(folder: &Path, except: &[String], (index, order): (&str, Order)) -> Vec<File> {
    let entries = WalkDir::new(folder).min_depth(1).max_depth(LEVELS_MAX).sort_by_file_name().into_iter();
    let visible = entries.filter_entry(|entry| {
        let name = entry.file_name().to_str().unwrap_or(".");
        let excluded = name == "node_modules" || (entry.depth() == 1 && except.iter().any(|other| other == name));
        entry.depth() == 0 || !(name.starts_with('.') || excluded)
    });
    let mut ranked: Vec<_> = visible
        .take(ENTRIES_MAX)
        .flatten()
        .filter(|entry| entry.metadata().is_ok_and(|file| file.is_file() && file.len() <= OBJECT_BYTES_MAX))
        .filter_map(|entry| {
            let key = entry.path().strip_prefix(folder).ok()?.to_str()?.to_owned();
            let kind = mime_guess::from_path(&key).first_raw().unwrap_or_default();
            let simple = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte));
            let rank = (
                !simple,
                kind != "text/html",
                entry.depth(),
                (entry.file_name() == index) != (order == Order::IndexFirst),
            );
            // An HTTP API cuts a path at a decoded question mark.
            (!key.contains('?')).then(|| (rank, File { image: kind.starts_with("image/"), key }))
        })
        .collect();
    // The sort is stable: files of equal rank stay in the order of their names.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, file)| file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(files: &[&str], variants: &[&str]) -> Contents {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let variants: Vec<String> = variants.iter().map(|variant| (*variant).to_owned()).collect();
        Contents::survey(folder.path(), &variants, "index.html", |key| folder.path().join(key).is_file())
    }

    #[test]
    fn the_example_is_a_page_that_two_variants_have() {
        let found = survey(&["index.html", "v1/a.html", "v1/b.html", "v2/b.html", "v2/x/logo.svg"], &["v1", "v2"]);
        let example = found.example.unwrap();
        assert_eq!((example.first.as_str(), example.second.as_str()), ("v1", "v2"));
        assert_eq!((example.page.as_str(), example.image.as_deref()), ("b.html", Some("x/logo.svg")));
        assert!(found.has_index && !found.is_empty && found.missing.is_empty());
    }

    #[test]
    fn variants_without_a_shared_page_give_an_example_of_one() {
        let example = survey(&["v1/a.html", "v2/b.html"], &["v1", "v2"]).example.unwrap();
        assert_eq!((example.first.as_str(), example.second.as_str(), example.page.as_str()), ("v1", "v1", "a.html"));
    }

    #[test]
    fn the_example_of_a_variant_is_its_index_only_without_another_page() {
        let example = |files: &[&str]| survey(files, &["v1", "v2"]).example.unwrap().page;
        assert_eq!(example(&["v1/index.html", "v1/z.html", "v2/index.html", "v2/z.html"]), "z.html");
        assert_eq!(example(&["v1/index.html", "v1/z.html", "v2/index.html"]), "index.html");
    }

    #[test]
    fn a_missing_or_empty_variant_folder_is_reported() {
        let found = survey(&["index.html", "red/index.html", "blue/.hidden"], &["red", "green", "blue"]);
        assert_eq!(found.present, ["red"]);
        assert_eq!(found.missing, ["green", "blue"]);
    }

    #[test]
    fn a_simple_page_near_the_top_is_preferred() {
        let found = survey(&["0 x.html", "a/index.html", "about.html", "a.js", ".git/x.html", "é.png"], &[]);
        assert_eq!(found.page.as_deref(), Some("about.html"));
        assert_eq!(found.image.as_deref(), Some("é.png"));
        assert_eq!(survey(&["what?.html", "app.js"], &[]).page.as_deref(), Some("app.js"));
    }

    #[test]
    fn an_empty_folder_has_no_examples() {
        let found = survey(&[], &["v1"]);
        assert!(found.is_empty && found.page.is_none() && found.example.is_none());
    }
}

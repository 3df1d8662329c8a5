//! What a site lacks for a definition: folders of versions, and assets of pages.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use html5gum::{Token, Tokenizer};
use nearedge_core::experiment::assign::{Experiments, assign};
use nearedge_core::experiment::attribute::Field;
use nearedge_core::experiment::definition::Definition;
use nearedge_core::experiment::problem::Problem;
use nearedge_core::experiment::settings::{CookieSettings, ExperimentSettings};
use nearedge_core::request::Request;
use nearedge_core::request::visit::Visit;
use percent_encoding::percent_decode_str;
use walkdir::WalkDir;

/// The number of visitors for whom the decisions of a page and its assets are compared.
const VISITORS: u32 = 64;

/// The largest page or style that is searched for references, in bytes.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// The attributes that name assets, by element.
const REFERENCES: [(&[u8], &[u8]); 9] = [
    (b"link", b"href"),
    (b"script", b"src"),
    (b"img", b"src"),
    (b"img", b"srcset"),
    (b"source", b"src"),
    (b"source", b"srcset"),
    (b"video", b"poster"),
    (b"video", b"src"),
    (b"audio", b"src"),
];

/// The problems of a site whose visitors a definition assigns.
pub(super) fn check_site(site: &Path, definition: &Definition, feature: &str, variant_fallback: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut pages = BTreeSet::new();
    for version in &definition.versions {
        let folder = site.join(&**version);
        if !folder.is_dir() {
            problems.push(Problem::beside(
                format!("{version}/"),
                format!("the definition gives the version {version}, but the site has no such folder"),
                format!("create the folder {version}/ with the pages of this version"),
            ));
            continue;
        }
        for (path, references) in pages_of(&folder) {
            for asset in &references {
                // The distribution serves paths of a version straight from the bucket.
                let is_of_version = definition
                    .versions
                    .iter()
                    .any(|version| asset.strip_prefix(&**version).is_some_and(|rest| rest.starts_with('/')));
                let is_shared = is_of_version || variant_fallback && !folder.join(asset).is_file();
                if !(if is_shared { site } else { &folder }).join(asset).is_file() {
                    problems.push(Problem::beside(
                        format!("{version}/{path}"),
                        format!("the page refers to /{asset}, which the version {version} lacks"),
                        format!("add {version}/{asset}, or set variant_fallback=true and add {asset}"),
                    ));
                }
                if !is_shared {
                    pages.insert((path.clone(), asset.clone()));
                }
            }
        }
    }
    problems.extend(disagreements(definition, feature, &pages));
    problems
}

/// The pages below a folder, as paths of the site, and the assets that they and their styles refer to.
fn pages_of(folder: &Path) -> Vec<(String, BTreeSet<String>)> {
    let files = WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    let mut pages = Vec::new();
    for file in files.filter(|file| file.file_type().is_file()) {
        let Ok(path) = file.path().strip_prefix(folder) else { continue };
        let path = path.to_string_lossy().replace('\\', "/");
        if !path.ends_with(".html") && !path.ends_with(".htm") {
            continue;
        }
        let mut references = BTreeSet::new();
        let mut add = |base: &str, reference: &str| references.extend(resolve(base, reference));
        let page = read(file.path());
        for_each_reference(&page, |reference| add(&path, reference));
        let styles: Vec<String> = references.iter().filter(|asset| asset.ends_with(".css")).cloned().collect();
        for style in styles {
            let text = read(&folder.join(&style));
            for_each_url(&text, |reference| references.extend(resolve(&style, reference)));
        }
        pages.push((path, references));
    }
    pages
}

fn read(file: &Path) -> String {
    let is_small = fs::metadata(file).is_ok_and(|metadata| metadata.len() <= TEXT_BYTES_MAX);
    let bytes = if is_small { fs::read(file).unwrap_or_default() } else { Vec::new() };
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Calls `found` with each reference of a page to an asset.
fn for_each_reference(page: &str, mut found: impl FnMut(&str)) {
    for token in Tokenizer::new(page).flatten() {
        let Token::StartTag(tag) = token else { continue };
        for (name, value) in &tag.attributes {
            let is_reference = |(element, attribute): &(&[u8], &[u8])| **element == **tag.name && **attribute == **name;
            let Ok(value) = std::str::from_utf8(value) else { continue };
            if !REFERENCES.iter().any(is_reference) {
                continue;
            }
            if &***name == b"srcset" {
                value.split(',').filter_map(|item| item.split_whitespace().next()).for_each(&mut found);
            } else {
                found(value);
            }
        }
    }
    for_each_url(page, found);
}

/// Calls `found` with the argument of each `url(…)` of a style.
fn for_each_url(style: &str, mut found: impl FnMut(&str)) {
    for part in style.split("url(").skip(1) {
        let argument = part.split(')').next().unwrap_or_default().trim();
        found(argument.trim_matches(['"', '\'']));
    }
}

/// The path of the site to which a reference leads, without a leading slash; `None` if it leads elsewhere or to a page.
fn resolve(base: &str, reference: &str) -> Option<String> {
    let reference = reference.split(['?', '#']).next().unwrap_or_default().trim();
    let has_scheme = reference.split(['/', '.']).next().is_some_and(|first| first.contains(':'));
    if reference.is_empty() || has_scheme || reference.starts_with("//") {
        return None;
    }
    let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = match reference.strip_prefix('/') {
        Some(path) => path.to_owned(),
        None => format!("{folder}/{reference}"),
    };
    let mut segments: Vec<Cow<'_, str>> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(percent_decode_str(segment).decode_utf8_lossy()),
        }
    }
    let path = segments.join("/");
    (!path.is_empty() && !reference.ends_with('/')).then_some(path)
}

/// Pages whose assets another rule decides: a visitor gets the page of one version and an asset of another.
fn disagreements(definition: &Definition, feature: &str, pages: &BTreeSet<(String, String)>) -> Vec<Problem> {
    let depends_on_path = definition.uses(&Field::Path)
        || definition.uses(&Field::Url)
        || definition.fields.iter().any(|field| matches!(field, Field::Query(_)));
    if !depends_on_path {
        return Vec::new();
    }
    let settings = ExperimentSettings {
        feature: feature.to_owned(),
        cookies: CookieSettings::new("nearedge", 60, None, true),
        consent: None,
        bots: Vec::new(),
        preview: false,
        hash_ids: false,
        goal_path: "/.nearedge/goal/".to_owned(),
        cache_key: Vec::new(),
        site: "https://example.com".to_owned(),
    };
    let version = |path: &str, visitor: u32| {
        let mut visit = Visit::default();
        // An id of this visitor; the assignment itself is what is compared.
        visit.cookies.push(format!("nearedge=1.{visitor:0>22}."));
        let path = if path == "index.html" { "/".to_owned() } else { format!("/{path}") };
        let request = Request { path: path.into(), ..Request::default() };
        let experiments =
            Experiments { definition: Some(definition), settings: &settings, visit: &visit, new_id: &|| None };
        assign(&request, experiments, None).version.map(str::to_owned)
    };
    let mut problems = Vec::new();
    for (page, asset) in pages {
        let differs = (0..VISITORS).find_map(|visitor| {
            let (of_page, of_asset) = (version(page, visitor), version(asset, visitor));
            (of_page.is_some() && of_page != of_asset).then_some((of_page, of_asset))
        });
        if let Some((of_page, of_asset)) = differs {
            let name = |version: Option<String>| version.unwrap_or_else(|| "no version".to_owned());
            let (of_page, of_asset) = (name(of_page), name(of_asset));
            problems.push(Problem::beside(
                format!("/{page}"),
                format!("another rule decides its asset /{asset}: a visitor gets the page of {of_page} and the asset of {of_asset}"),
                "put the asset below a path that the same condition covers, or under a name that no version changes",
            ));
        }
    }
    problems
}

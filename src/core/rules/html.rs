//! Stage: addresses of pages without their file's extension.
//!
//! The same decisions as `html_handling` of Cloudflare's Workers assets
//! ([documentation](https://developers.cloudflare.com/workers/static-assets/routing/advanced/html-handling/)), made from
//! few requests for objects instead of a list of all files.

use std::borrow::Cow;

use smallvec::SmallVec;

/// How pages are addressed: the setting `html_handling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HtmlHandling {
    /// A path is a key, and a folder's path ends in `/`.
    #[default]
    None,
    /// `/page` for `page.html`, and `/folder/` for `folder/index.html`.
    AutoTrailingSlash,
    /// `/page/` for both.
    ForceTrailingSlash,
    /// `/page` for both.
    DropTrailingSlash,
}

impl HtmlHandling {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::AutoTrailingSlash, Self::ForceTrailingSlash, Self::DropTrailingSlash];

    /// The name in settings, as in Cloudflare's.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::AutoTrailingSlash => "auto-trailing-slash",
            Self::ForceTrailingSlash => "force-trailing-slash",
            Self::DropTrailingSlash => "drop-trailing-slash",
        }
    }
}

/// The extension of pages.
const HTML: &str = ".html";

/// One way to respond, if the object `key` exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// The key, without a variant.
    pub key: String,
    /// Redirect to this path instead of serving the object.
    pub redirect: Option<PageRedirect>,
}

/// A redirect to the address of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRedirect {
    /// The address: a decoded path.
    pub path: String,
    /// The keys that would be served there instead; if one exists, there is no redirect.
    pub unless: SmallVec<[String; 2]>,
}

/// Builds the alternatives of one request.
struct Alternatives<'a> {
    mode: HtmlHandling,
    /// The name of a folder's document, such as `index.html`.
    index: &'a str,
    list: SmallVec<[Alternative; 4]>,
}

impl HtmlHandling {
    /// The addresses that can serve the page of a key, other than the key's own path: as the document of its folder, and as
    /// the page without its extension. Without the leading slash.
    pub fn addresses<'k>(self, key: &'k str, index: &str) -> [Option<Cow<'k, str>>; 2] {
        let folder = || key.strip_suffix(index)?.strip_suffix('/');
        let page = || key.strip_suffix(HTML).filter(|page| !page.is_empty());
        let with_slash = |base: &'k str| Cow::Owned([base, "/"].concat());
        match self {
            Self::None => [folder().map(with_slash), None],
            Self::AutoTrailingSlash => [folder().map(with_slash), page().map(Cow::Borrowed)],
            Self::ForceTrailingSlash => [folder().map(with_slash), page().map(with_slash)],
            Self::DropTrailingSlash => [folder().map(Cow::Borrowed), page().map(Cow::Borrowed)],
        }
    }

    /// The ways to respond to a decoded path, the preferred one first.
    ///
    /// The path is the address without repeated slashes: [`canonical`].
    pub fn alternatives(self, path: &str, index: &str) -> SmallVec<[Alternative; 4]> {
        let mut all = Alternatives { mode: self, index, list: SmallVec::new() };
        all.fill(if path.is_empty() { "/" } else { path });
        all.list
    }
}

/// A path with each run of slashes folded into one.
pub fn canonical(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let mut folded = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !folded.ends_with('/') {
            folded.push(character);
        }
    }
    Cow::Owned(folded)
}

impl Alternatives<'_> {
    fn fill(&mut self, path: &str) {
        use HtmlHandling::{AutoTrailingSlash, DropTrailingSlash, ForceTrailingSlash, None};
        let index = self.index;
        let stem = index.strip_suffix(HTML).filter(|stem| !stem.is_empty());
        let folder = |suffix: &str| path.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('/'));
        let (slash, page) = (|base: &str| format!("{base}/"), |base: &str| format!("{base}{HTML}"));
        let document = |base: &str| format!("{base}/{index}");
        if self.mode == None {
            let key = if path.ends_with('/') { format!("{path}{}", self.index) } else { path.to_owned() };
            return self.serve(key);
        }
        if let Some(base) = stem.and_then(folder) {
            self.serve(path.to_owned());
            match self.mode {
                AutoTrailingSlash => {
                    self.redirect(document(base), slash(base));
                    self.redirect(page(base), base.to_owned());
                }
                ForceTrailingSlash => {
                    self.redirect(document(base), slash(base));
                    self.redirect(page(base), slash(base));
                }
                DropTrailingSlash if base.is_empty() => self.redirect(document(base), "/".to_owned()),
                DropTrailingSlash => {
                    self.redirect(page(base), base.to_owned());
                    self.redirect(document(base), base.to_owned());
                }
                None => {}
            }
        } else if let Some(base) = folder(index) {
            match self.mode {
                AutoTrailingSlash => {
                    self.redirect(path.to_owned(), slash(base));
                    self.redirect(page(base), base.to_owned());
                }
                ForceTrailingSlash => {
                    self.redirect(path.to_owned(), slash(base));
                    self.redirect(page(base), slash(base));
                }
                DropTrailingSlash => {
                    let address = if base.is_empty() { "/" } else { base };
                    self.redirect(path.to_owned(), address.to_owned());
                    self.serve(path.to_owned());
                    self.redirect(page(base), base.to_owned());
                }
                None => {}
            }
        } else if let Some(base) = path.strip_suffix('/') {
            match self.mode {
                AutoTrailingSlash => {
                    self.serve(document(base));
                    self.redirect(page(base), base.to_owned());
                }
                ForceTrailingSlash => {
                    self.serve(document(base));
                    self.serve(page(base));
                }
                DropTrailingSlash if base.is_empty() => self.serve(document(base)),
                DropTrailingSlash => {
                    self.redirect(page(base), base.to_owned());
                    self.redirect(document(base), base.to_owned());
                }
                None => {}
            }
            // No key ends in a slash.
            return;
        } else if let Some(base) = path.strip_suffix(HTML) {
            match self.mode {
                AutoTrailingSlash => {
                    self.redirect(path.to_owned(), base.to_owned());
                    self.redirect(document(base), slash(base));
                }
                ForceTrailingSlash => {
                    self.redirect(path.to_owned(), slash(base));
                    self.serve(path.to_owned());
                    self.redirect(document(base), slash(base));
                }
                DropTrailingSlash => {
                    self.redirect(path.to_owned(), base.to_owned());
                    self.redirect(document(base), base.to_owned());
                }
                None => {}
            }
        }
        self.serve(path.to_owned());
        match self.mode {
            AutoTrailingSlash => {
                self.serve(page(path));
                self.redirect(document(path), slash(path));
            }
            ForceTrailingSlash => {
                self.redirect(page(path), slash(path));
                self.redirect(document(path), slash(path));
            }
            DropTrailingSlash => {
                self.serve(page(path));
                self.serve(document(path));
            }
            None => {}
        }
    }

    /// Serves a file, by its path.
    fn serve(&mut self, file: String) {
        let key = key_of(file);
        let is_key = !key.is_empty() && !key.ends_with('/');
        if is_key && !self.list.iter().any(|known| known.redirect.is_none() && known.key == key) {
            self.list.push(Alternative { key, redirect: None });
        }
    }

    /// Redirects to `path` if that serves the file.
    fn redirect(&mut self, file: String, path: String) {
        let key = key_of(file);
        // Not an address, and not the file's name either.
        if path.is_empty() || path.ends_with("//") || key.is_empty() || key.ends_with('/') {
            return;
        }
        let mut there = served_at(self.mode, &path, self.index);
        let Some(position) = there.iter().position(|served| *served == key) else { return };
        there.truncate(position);
        self.list.push(Alternative { key, redirect: Some(PageRedirect { path, unless: there }) });
    }
}

fn key_of(file: String) -> String {
    match file.strip_prefix('/') {
        Some(key) => key.to_owned(),
        None => file,
    }
}

/// The keys that a path can serve without a redirect, the preferred one first.
fn served_at(mode: HtmlHandling, path: &str, index: &str) -> SmallVec<[String; 2]> {
    let key = path.strip_prefix('/').unwrap_or(path);
    let mut keys = SmallVec::new();
    match (key.strip_suffix('/'), mode) {
        _ if key.is_empty() => keys.push(index.to_owned()),
        (Some(base), HtmlHandling::ForceTrailingSlash) => {
            keys.extend([format!("{base}/{index}"), format!("{base}{HTML}")]);
        }
        (Some(base), HtmlHandling::AutoTrailingSlash) => keys.push(format!("{base}/{index}")),
        (Some(_), _) => {}
        (None, HtmlHandling::AutoTrailingSlash) => keys.extend([key.to_owned(), format!("{key}{HTML}")]),
        (None, HtmlHandling::DropTrailingSlash) => {
            keys.extend([key.to_owned(), format!("{key}{HTML}"), format!("{key}/{index}")]);
        }
        (None, _) => keys.push(key.to_owned()),
    }
    keys
}

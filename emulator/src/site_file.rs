//! The files of a site that configure the function.

use std::path::Path;

/// A file of a site that configures the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SiteFile {
    /// The setting whose value is the key of the file.
    pub(crate) setting: &'static str,
    /// The usual name.
    pub(crate) name: &'static str,
}

/// The list of redirects.
pub(crate) const REDIRECTS: SiteFile = SiteFile { setting: "redirects", name: "_redirects" };

/// The list of response headers.
pub(crate) const HEADERS: SiteFile = SiteFile { setting: "headers", name: "_headers" };

/// The rules of access.
pub(crate) const ACCESS: SiteFile = SiteFile { setting: "access", name: "access.json" };

/// The definition of experiments.
pub(crate) const EXPERIMENTS: SiteFile = SiteFile { setting: "experiments", name: crate::definition::KEY };

/// The lists and rules, which the local cloud uses if the site has them.
pub(crate) const RULES: [SiteFile; 3] = [REDIRECTS, HEADERS, ACCESS];

/// The files among `files` that a site has.
pub(crate) fn present<'a>(site: &'a Path, files: &'a [SiteFile]) -> impl Iterator<Item = SiteFile> + 'a {
    files.iter().copied().filter(|file| site.join(file.name).is_file())
}

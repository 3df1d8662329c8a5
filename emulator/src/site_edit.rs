//! Edits of the files that configure the function, so that each applies to the next request.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearedge_core::access::rules::AccessRules;
use parking_lot::Mutex;

use crate::journal::Journal;
use crate::lambda::service::Lambda;
use crate::site_file::{ACCESS, EXPERIMENTS, RULES, SiteFile};

/// The settings of experiments that depend on the definition, with their values in the local cloud.
///
/// The CDN has no TLS, and over http browsers ignore a cookie with the attribute `Secure`, except on localhost.
pub(crate) const EXPERIMENT_SETTINGS: [(&str, &str); 3] =
    [("experiments", EXPERIMENTS.name), ("experiments_cookie_secure", "false"), ("experiments_preview", "true")];

/// The files of a site, and what they looked like at the last request.
#[derive(Debug)]
pub(crate) struct SiteEdits {
    folder: PathBuf,
    /// The user's settings, which the files do not change.
    own: Vec<(String, String)>,
    /// The definition, if it is outside the folder.
    definition: Option<PathBuf>,
    /// Whether the CDN forwards what experiments need.
    experiments: Arc<AtomicBool>,
    /// Whether the site has had rules of access. Then no edit disables them: a file that is replaced is absent for a moment.
    has_access: AtomicBool,
    seen: Mutex<Seen>,
}

/// The files by path; `None` if one does not exist.
type Seen = BTreeMap<PathBuf, Option<Stamp>>;

/// The metadata that differs between two versions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Changes with each write too, and no program can set it.
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file)?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl SiteEdits {
    /// The files as they are now. `definition` is that of the options.
    pub(crate) fn new(
        folder: &Path,
        own: &[(String, String)],
        definition: Option<&Path>,
        experiments: Arc<AtomicBool>,
    ) -> Self {
        let definition = definition.filter(|file| **file != *folder.join(EXPERIMENTS.name)).map(Path::to_owned);
        let (folder, own) = (folder.to_owned(), own.to_vec());
        let has_access = folder.join(ACCESS.name).is_file().into();
        let edits = Self { folder, own, definition, experiments, has_access, seen: Mutex::default() };
        *edits.seen.lock() = edits.stamps();
        edits
    }

    /// Gives the function new execution environments if a file has changed since the last call.
    ///
    /// Each environment loads the files during INIT, so the next request sees them. Requests in progress complete.
    pub(crate) fn apply(&self, lambda: &Lambda, journal: &Journal) {
        // The lock is held until the environments are retired, so that no other request overtakes the change.
        let mut seen = self.seen.lock();
        let is_same = seen.iter().all(|(file, stamp)| Stamp::of(file) == *stamp);
        if is_same {
            return;
        }
        // Other keys of the rules of access may be named now.
        let stamps = self.stamps();
        let files = seen.keys().chain(stamps.keys().filter(|file| !seen.contains_key(*file)));
        let name = |file: &PathBuf| file.strip_prefix(&self.folder).unwrap_or(file).display().to_string();
        let changed: Vec<String> = files.filter(|file| seen.get(*file) != stamps.get(*file)).map(name).collect();
        *seen = stamps;
        let variables = self.variables();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, *value)).collect();
        lambda.configure(&variables);
        if let Some((_, value)) = variables.iter().find(|(name, _)| *name == EXPERIMENTS.setting) {
            self.experiments.store(!value.is_empty(), Ordering::Relaxed);
        }
        journal.line(format_args!("{} changed: new execution environments load it", changed.join(", ")));
        if variables.contains(&(ACCESS.setting, ACCESS.name)) && !self.folder.join(ACCESS.name).is_file() {
            let name = ACCESS.name;
            journal.line(format_args!(
                "{name} is missing: every request is answered with 503, as in AWS; restore it, or restart without it"
            ));
        }
    }

    /// The settings that name the existing files; an empty value for a file that does not exist, except for rules of access
    /// that have existed.
    fn variables(&self) -> Vec<(&'static str, &'static str)> {
        let is_own = |name: &str| self.own.iter().any(|(known, _)| known == name);
        let exists = |file: SiteFile| self.folder.join(file.name).is_file();
        if exists(ACCESS) {
            self.has_access.store(true, Ordering::Relaxed);
        }
        let is_used = |file: SiteFile| exists(file) || file == ACCESS && self.has_access.load(Ordering::Relaxed);
        let rules = RULES.into_iter().filter(|file| !is_own(file.setting));
        let mut variables: Vec<_> =
            rules.map(|file| (file.setting, if is_used(file) { file.name } else { "" })).collect();
        // Without a definition, the user's settings of experiments would be errors.
        let depends = |name: &str| name.starts_with("experiments_");
        let has_dependent = self.own.iter().any(|(name, _)| depends(name));
        if self.definition.is_none() && !is_own(EXPERIMENTS.setting) && (exists(EXPERIMENTS) || !has_dependent) {
            let settings = EXPERIMENT_SETTINGS.into_iter().filter(|(name, _)| !is_own(name));
            variables.extend(settings.map(|(name, value)| (name, if exists(EXPERIMENTS) { value } else { "" })));
        }
        variables
    }

    fn stamps(&self) -> Seen {
        self.files().into_iter().map(|file| (file.clone(), Stamp::of(&file))).collect()
    }

    /// The files that the function loads, or would load if they existed.
    fn files(&self) -> Vec<PathBuf> {
        let key = |file: SiteFile| {
            let own = self.own.iter().rev().find(|(name, _)| name == file.setting).map(|(_, key)| key.trim());
            Some(own.unwrap_or(file.name)).filter(|key| !key.is_empty())
        };
        let in_folder = |file: SiteFile| key(file).map(|key| self.folder.join(key));
        let mut files: Vec<PathBuf> = RULES.into_iter().filter_map(in_folder).collect();
        files.extend(self.definition.clone().or_else(|| in_folder(EXPERIMENTS)));
        if let Some(text) = in_folder(ACCESS).and_then(|file| std::fs::read_to_string(file).ok())
            && let Ok((rules, _)) = AccessRules::parse(&text, None)
        {
            files.extend(rules.jwks_objects().into_iter().map(|name| self.folder.join(name)));
        }
        files
    }
}

//! The files of a folder as keys of a bucket.
//!
//! A key is the path of a file below the folder. [`Folder::find`] and [`Walk`] apply the same rules, so that a key is
//! listed exactly if it can be read:
//!
//! - A symbolic link is followed only if it leads to a file or a folder inside the folder.
//! - A circular link is not followed: one that leads to a folder that its path has already passed. Package managers
//!   create such links (`node_modules/site -> ..`).
//! - A path follows at most [`FOLDER_LINKS_MAX`] links to folders. Folders that link to each other would else have
//!   as many paths as permutations.
//! - A name that cannot be a part of a key is left out, and so is a file that cannot be read.
//!
//! The journal names each file that is left out, once.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{self, DirEntry, FileType};
use std::io;
use std::path::{Path, PathBuf};
use std::vec;

use parking_lot::Mutex;

use crate::journal::Journal;

/// The maximum length of a key in bytes
/// ([object keys](https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html)).
const KEY_BYTES_MAX: usize = 1_024;

/// The maximum number of links to folders in one path.
const FOLDER_LINKS_MAX: usize = 2;

/// The number of directory entries after which a walk stops before the next folder, so that a page takes bounded time.
const ENTRIES_PER_WALK: usize = 20_000;

/// The maximum number of warnings about files that are left out.
const WARNINGS_MAX: usize = 10;

/// A folder that holds the objects of a bucket.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    journal: Journal,
    warned: Mutex<HashSet<PathBuf>>,
}

/// A folder on the path of a key.
#[derive(Debug, Clone)]
struct Step {
    /// The path without links.
    real: PathBuf,
    /// The number of links that the path has followed up to here.
    links: usize,
}

/// The target of a name in a folder.
#[derive(Debug)]
enum Target {
    File(PathBuf),
    Folder(Step),
}

/// Links that have been followed: what they lead to, without links, and its type. Folders that link to each other have
/// few links and many paths.
type Links = HashMap<PathBuf, (PathBuf, FileType)>;

/// Why a file or folder has no key.
#[derive(Debug)]
enum LeftOut {
    Broken,
    Outside,
    Circular,
    TooManyLinks,
    NotUtf8,
    TooLong,
    Unreadable(io::Error),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("the link is broken"),
            Self::Outside => f.write_str("the link leads out of the folder; replace it by a copy"),
            Self::Circular => f.write_str("the link is circular: it leads to a folder that contains it"),
            Self::TooManyLinks => write!(f, "its path has more than {FOLDER_LINKS_MAX} links to folders"),
            Self::NotUtf8 => f.write_str("keys are UTF-8; rename the file"),
            Self::TooLong => write!(f, "a key has at most {KEY_BYTES_MAX} bytes"),
            Self::Unreadable(error) => write!(f, "{error}"),
        }
    }
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// If the folder cannot be read: a message in one line.
    pub(crate) fn open(path: &Path, journal: Journal) -> Result<Self, String> {
        let unreadable = |error: io::Error| {
            format!("cannot read the folder {} ({error}): choose another folder with --site", path.display())
        };
        let root = path.canonicalize().map_err(unreadable)?;
        fs::read_dir(&root).map_err(unreadable)?;
        Ok(Self { root, journal, warned: Mutex::default() })
    }

    /// The path of the file for a key, without links; `None` if the key has no file.
    ///
    /// # Errors
    /// If the file may exist, but its path cannot be read.
    pub(crate) fn find(&self, key: &str) -> io::Result<Option<PathBuf>> {
        let (mut trail, mut known) = (vec![self.root()], Links::new());
        let mut prefix = "";
        loop {
            let rest = key.get(prefix.len()..).unwrap_or_default();
            let (name, is_last) = rest.split_once('/').map_or((rest, true), |(name, _)| (name, false));
            if matches!(name, "" | "." | "..") || name.contains('\0') {
                return Ok(None);
            }
            match (self.look_up(&trail, prefix, name.as_ref(), &mut known)?, is_last) {
                (Some(Target::File(path)), true) => return Ok(Some(path)),
                (Some(Target::Folder(step)), false) => trail.push(step),
                _ => return Ok(None),
            }
            prefix = key.get(..=prefix.len() + name.len()).unwrap_or_default();
        }
    }

    /// Walks through the files whose keys start with `prefix` and are greater than `after`, in the order of the keys.
    ///
    /// # Errors
    /// If the folder itself cannot be read.
    pub(crate) fn walk<'a>(&'a self, prefix: &'a str, after: &str) -> io::Result<Walk<'a>> {
        let entries = fs::read_dir(&self.root)?;
        let mut walk = Walk {
            folder: self,
            prefix,
            after: after.to_owned(),
            skipped: None,
            levels: Vec::new(),
            links: Links::new(),
            entries_left: ENTRIES_PER_WALK,
            stopped_before: None,
        };
        walk.enter(String::new(), self.root(), entries);
        Ok(walk)
    }

    /// Writes to the journal, once, why the key `key` is left out.
    pub(crate) fn warn(&self, key: &Path, reason: &dyn fmt::Display) {
        let mut warned = self.warned.lock();
        let warnings = warned.len();
        if warnings > WARNINGS_MAX || !warned.insert(key.to_owned()) {
            return;
        }
        if warnings == WARNINGS_MAX {
            self.journal.line("bucket  further keys are left out without a message");
        } else {
            self.journal.line(format_args!("bucket  {key:?} is left out: {reason}"));
        }
    }

    fn root(&self) -> Step {
        Step { real: self.root.clone(), links: 0 }
    }

    /// What `name` leads to in the last folder of `trail`, whose keys start with `prefix`; `None` if it leads to
    /// nothing that has a key.
    fn look_up(&self, trail: &[Step], prefix: &str, name: &Path, known: &mut Links) -> io::Result<Option<Target>> {
        let Some(Step { real: parent, links }) = trail.last() else { return Ok(None) };
        let path = parent.join(name);
        let kind = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if kind.is_file() {
            return Ok(Some(Target::File(path)));
        }
        if kind.is_dir() {
            return Ok(Some(Target::Folder(Step { real: path, links: *links })));
        }
        if !kind.is_symlink() {
            return Ok(None);
        }
        Ok(match self.follow(trail, *links, path, known) {
            Ok(target) => target,
            Err(reason) => {
                self.warn(&Path::new(prefix).join(name), &reason);
                None
            }
        })
    }

    /// The target of a link.
    fn follow(
        &self,
        trail: &[Step],
        links: usize,
        link: PathBuf,
        known: &mut Links,
    ) -> Result<Option<Target>, LeftOut> {
        let (real, kind) = match known.get(&link) {
            Some(known) => known.clone(),
            None => {
                let found = self.resolve(&link)?;
                known.insert(link, found.clone());
                found
            }
        };
        if kind.is_file() {
            return Ok(Some(Target::File(real)));
        }
        if !kind.is_dir() {
            return Ok(None);
        }
        if trail.iter().any(|step| step.real.starts_with(&real)) {
            return Err(LeftOut::Circular);
        }
        if links == FOLDER_LINKS_MAX {
            return Err(LeftOut::TooManyLinks);
        }
        Ok(Some(Target::Folder(Step { real, links: links + 1 })))
    }

    /// The path to which a link leads, without links, and its type.
    fn resolve(&self, link: &Path) -> Result<(PathBuf, FileType), LeftOut> {
        let real = match link.canonicalize() {
            Ok(real) => real,
            Err(error) if is_missing(&error) => return Err(LeftOut::Broken),
            Err(error) => return Err(LeftOut::Unreadable(error)),
        };
        if !real.starts_with(&self.root) {
            return Err(LeftOut::Outside);
        }
        let kind = fs::metadata(&real).map_err(LeftOut::Unreadable)?.file_type();
        Ok((real, kind))
    }
}

/// Whether an error says that a path leads to no file.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename)
}

/// A walk through the files of a folder. It reads a folder only when it comes to its keys.
pub(crate) struct Walk<'a> {
    folder: &'a Folder,
    prefix: &'a str,
    after: String,
    skipped: Option<String>,
    levels: Vec<Level>,
    links: Links,
    entries_left: usize,
    stopped_before: Option<String>,
}

/// An open folder of a walk.
struct Level {
    /// The prefix of its keys: empty, or a path and `/`.
    prefix: String,
    step: Step,
    /// The entries that are left, by name. The name of a folder ends with `/`, as in the keys below it.
    entries: vec::IntoIter<(String, Target)>,
}

impl Walk<'_> {
    /// Skips the keys that start with `prefix`.
    pub(crate) fn skip_prefix(&mut self, prefix: &str) {
        self.skipped = Some(prefix.to_owned());
    }

    /// The prefix before which the walk stopped early. All keys less than it have been returned; a walk after it
    /// continues.
    pub(crate) fn stopped_before(&self) -> Option<&str> {
        self.stopped_before.as_deref()
    }

    fn enter(&mut self, prefix: String, step: Step, entries: fs::ReadDir) {
        let trail: Vec<Step> = self.levels.iter().map(|level| level.step.clone()).chain([step.clone()]).collect();
        let mut named = Vec::new();
        for entry in entries.flatten() {
            self.entries_left = self.entries_left.saturating_sub(1);
            named.extend(self.name(&trail, &prefix, &entry));
        }
        named.sort_unstable_by(|(a, _): &(String, Target), (b, _)| a.cmp(b));
        self.levels.push(Level { prefix, step, entries: named.into_iter() });
    }

    /// The name of an entry, and what it leads to.
    fn name(&mut self, trail: &[Step], prefix: &str, entry: &DirEntry) -> Option<(String, Target)> {
        let name = entry.file_name();
        let folder = self.folder;
        let warn = |reason: &dyn fmt::Display| folder.warn(&Path::new(prefix).join(&name), reason);
        let target = match folder.look_up(trail, prefix, name.as_ref(), &mut self.links) {
            Ok(target) => target?,
            Err(error) => {
                warn(&error);
                return None;
            }
        };
        let Some(text) = name.to_str() else {
            warn(&LeftOut::NotUtf8);
            return None;
        };
        let mut name = text.to_owned();
        if matches!(target, Target::Folder(_)) {
            name.push('/');
        }
        Some((name, target))
    }

    fn is_wanted(&self, key: &str) -> bool {
        key > self.after.as_str() && key.starts_with(self.prefix) && !self.is_skipped(key)
    }

    fn may_hold_wanted(&self, folder: &str) -> bool {
        (folder.starts_with(self.prefix) || self.prefix.starts_with(folder))
            && (folder > self.after.as_str() || self.after.starts_with(folder))
            && !self.is_skipped(folder)
    }

    fn is_skipped(&self, key: &str) -> bool {
        self.skipped.as_deref().is_some_and(|skipped| key.starts_with(skipped))
    }
}

impl Iterator for Walk<'_> {
    type Item = (String, PathBuf);

    /// The next key and the path of its file, without links.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let level = self.levels.last_mut()?;
            let Some((name, target)) = level.entries.next() else {
                self.levels.pop();
                continue;
            };
            let key = format!("{}{name}", level.prefix);
            let step = match target {
                Target::File(path) if self.is_wanted(&key) => {
                    if key.len() <= KEY_BYTES_MAX {
                        return Some((key, path));
                    }
                    self.folder.warn(key.as_ref(), &LeftOut::TooLong);
                    continue;
                }
                Target::Folder(step) if self.may_hold_wanted(&key) => step,
                _ => continue,
            };
            if key.len() >= KEY_BYTES_MAX {
                self.folder.warn(key.as_ref(), &LeftOut::TooLong);
                continue;
            }
            // A folder on the way to the first key is always entered: otherwise the next page would stop here again.
            if self.entries_left == 0 && !self.after.starts_with(&key) {
                self.stopped_before = Some(key);
                self.levels.clear();
                return None;
            }
            match fs::read_dir(&step.real) {
                Ok(entries) => self.enter(key, step, entries),
                Err(error) if is_missing(&error) => {}
                Err(error) => self.folder.warn(key.as_ref(), &error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A folder with these files; `a -> b` is a link with the target `b`.
    fn folder(files: &[&str]) -> (tempfile::TempDir, Folder, Journal) {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let (path, target) = file.split_once(" -> ").map_or((*file, None), |(path, target)| (path, Some(target)));
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match target {
                Some(target) => symlink(target, &path).unwrap(),
                None => fs::write(&path, file).unwrap(),
            }
        }
        let journal = Journal::in_memory();
        let folder = Folder::open(root.path(), journal.clone()).unwrap();
        (root, folder, journal)
    }

    /// All keys from `after` on, by as many walks as necessary. Checks that exactly they can be found.
    fn keys(folder: &Folder, prefix: &str, after: &str) -> Vec<String> {
        let (mut keys, mut after) = (Vec::new(), after.to_owned());
        loop {
            let mut walk = folder.walk(prefix, &after).unwrap();
            for (key, path) in walk.by_ref() {
                assert_eq!(folder.find(&key).unwrap(), Some(path), "{key}");
                keys.push(key);
            }
            let Some(position) = walk.stopped_before() else { break };
            assert!(position > after.as_str(), "every walk makes progress");
            after = position.to_owned();
        }
        assert!(keys.is_sorted(), "{keys:?}");
        keys
    }

    fn assert_left_out(journal: &Journal, text: &str) {
        let lines = journal.lines();
        assert_eq!(lines.iter().filter(|line| line.contains(text)).count(), 1, "{text} once in {lines:#?}");
    }

    #[test]
    fn keys_are_in_the_order_of_their_bytes() {
        let (_root, folder, _) = folder(&["b", "a/c", "a.txt", "a-b/x", "a/b/c", "B", "\u{e9}"]);
        assert_eq!(keys(&folder, "", ""), ["B", "a-b/x", "a.txt", "a/b/c", "a/c", "b", "\u{e9}"]);
        assert_eq!(keys(&folder, "a/", ""), ["a/b/c", "a/c"]);
        assert_eq!(keys(&folder, "a", "a.txt"), ["a/b/c", "a/c"]);
        assert_eq!(keys(&folder, "", "a/b/c"), ["a/c", "b", "\u{e9}"]);
        assert_eq!(keys(&folder, "a/x", ""), [""; 0]);
    }

    #[test]
    fn a_link_inside_the_folder_is_followed() {
        let (_root, folder, journal) =
            folder(&["builds/42/index.html", "shared/a.css", "v1 -> builds/42", "builds/42/assets -> ../../shared"]);
        symlink("../shared/a.css", folder.root.join("builds/a.css")).unwrap();
        let wanted = [
            "builds/42/assets/a.css",
            "builds/42/index.html",
            "builds/a.css",
            "shared/a.css",
            "v1/assets/a.css",
            "v1/index.html",
        ];
        assert_eq!(keys(&folder, "", ""), wanted);
        assert!(journal.lines().is_empty(), "{:#?}", journal.lines());
    }

    #[test]
    fn a_link_out_of_the_folder_is_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let (_root, folder, journal) = folder(&["a", "d/e"]);
        symlink(outside.path(), folder.root.join("folder")).unwrap();
        symlink(outside.path().join("secret"), folder.root.join("file")).unwrap();
        symlink("/", folder.root.join("root")).unwrap();
        symlink("../..", folder.root.join("d/parent")).unwrap();
        symlink("folder", folder.root.join("link-to-link")).unwrap();
        assert_eq!(keys(&folder, "", ""), ["a", "d/e"]);
        for key in ["folder/secret", "file", "root/etc/hostname", "link-to-link/secret"] {
            assert_eq!(folder.find(key).unwrap(), None, "{key}");
        }
        for key in ["folder", "file", "root", "d/parent", "link-to-link"] {
            assert_left_out(&journal, &format!("\"{key}\" is left out: the link leads out of the folder"));
        }
    }

    #[test]
    fn a_circular_link_is_not_followed() {
        let (_root, folder, journal) = folder(&[
            "index.html",
            "a/b/c",
            "a/up -> ..",
            "a/self -> .",
            "a/b/top -> ../..",
            "a/b/aside -> ../../x",
            "x/y",
            "x/back -> ../a/b",
            "loop -> loop",
            "ping -> pong",
            "pong -> ping",
            "broken -> nothing",
        ]);
        let wanted = ["a/b/aside/y", "a/b/c", "index.html", "x/back/c", "x/y"];
        assert_eq!(keys(&folder, "", ""), wanted);
        assert_eq!(keys(&folder, "a/up/a/up/", ""), [""; 0]);
        assert_eq!(folder.find("a/up/index.html").unwrap(), None);
        assert_left_out(&journal, "\"a/up\" is left out: the link is circular");
        assert_left_out(&journal, "\"broken\" is left out: the link is broken");
        assert_left_out(&journal, "\"loop\" is left out");
    }

    #[test]
    fn folders_that_link_to_each_other_are_listed_in_bounded_steps() {
        let names: Vec<String> = (0..14).map(|number| format!("p{number:02}")).collect();
        let mut files: Vec<String> = names.iter().map(|name| format!("{name}/file")).collect();
        for (a, b) in names.iter().flat_map(|a| names.iter().map(move |b| (a, b))).filter(|(a, b)| a != b) {
            files.push(format!("{a}/{b} -> ../{b}"));
        }
        let (_root, folder, _) = folder(&files.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(keys(&folder, "", "").len(), 14 + 14 * 13 + 14 * 13 * 12);
        let mut first = folder.walk("", "").unwrap();
        assert!(first.by_ref().count() < 14 * 13 * 12, "a walk does not read the whole tree");
        assert!(first.stopped_before().is_some());
    }

    #[test]
    fn a_skipped_prefix_is_not_read() {
        let (_root, folder, _) = folder(&["a/b/c", "a/b/d", "a/e", "f"]);
        let mut walk = folder.walk("", "").unwrap();
        assert_eq!(walk.next().unwrap().0, "a/b/c");
        walk.skip_prefix("a/");
        assert_eq!(walk.next().unwrap().0, "f");
    }

    #[test]
    fn a_file_without_a_valid_key_is_left_out() {
        let deep = format!("{}f", format!("{}/", "d".repeat(200)).repeat(6));
        let (_root, folder, journal) = folder(&["a\u{1}b", "line\nfeed", "back\\slash", &deep]);
        fs::write(folder.root.join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
        fs::create_dir(folder.root.join(OsStr::from_bytes(b"dir\xe9"))).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.root.join("socket")).unwrap();
        assert_eq!(keys(&folder, "", ""), ["a\u{1}b", "back\\slash", "line\nfeed"]);
        assert_eq!(folder.find("socket").unwrap(), None);
        assert_left_out(&journal, "caf\\xE9\" is left out: keys are UTF-8");
        assert_left_out(&journal, "at most 1024 bytes");
    }

    #[test]
    fn an_unreadable_folder_does_not_fail_the_walk() {
        let (_root, folder, journal) = folder(&["a", "closed/b", "z"]);
        let closed = folder.root.join("closed");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        // Root can read it nevertheless.
        let readable = fs::read_dir(&closed).is_ok();
        let found = keys_without_check(&folder);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        if readable {
            assert_eq!(found, ["a", "closed/b", "z"]);
        } else {
            assert_eq!(found, ["a", "z"]);
            assert_left_out(&journal, "\"closed/\" is left out: Permission denied");
        }
    }

    fn keys_without_check(folder: &Folder) -> Vec<String> {
        folder.walk("", "").unwrap().map(|(key, _)| key).collect()
    }

    #[test]
    fn the_number_of_warnings_is_bounded() {
        let links: Vec<String> = (0..WARNINGS_MAX + 20).map(|number| format!("{number} -> /")).collect();
        let (_root, folder, journal) = folder(&links.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((keys(&folder, "", ""), keys(&folder, "", "")), (Vec::new(), Vec::new()));
        assert_eq!(journal.lines().len(), WARNINGS_MAX + 1);
        assert_left_out(&journal, "further keys are left out");
    }
}

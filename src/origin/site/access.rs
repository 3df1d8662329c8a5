//! The rules of access, with the JWK Sets that they name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nearedge_core::access::definition::BYTES_MAX;
use nearedge_core::access::known::KnownTokens;
use nearedge_core::access::rules::AccessRules;
use nearedge_core::object::ObjectKey;
use nearedge_core::problem::Problem;
use nearedge_core::store::Store;
use parking_lot::{Mutex, RwLock};
use tracing::error;

use crate::origin::site::file::{FileFormat, ParsedFile, SiteFile};

/// Loads the rules of access and their keys.
#[derive(Debug)]
pub(super) struct Access {
    file: SiteFile<AccessFormat>,
    ttl: Duration,
    /// The JWK Sets that the rules have named so far.
    keys: Mutex<Vec<Arc<KeySet>>>,
    /// The rules with their keys.
    complete: RwLock<Option<Complete>>,
    /// The rules whose keys cannot be used.
    unusable: AtomicU64,
    pub(super) known: KnownTokens,
}

/// A JWK Set, by the name of its object.
#[derive(Debug)]
struct KeySet {
    name: String,
    file: SiteFile<KeySetFormat>,
}

/// Rules with their keys, and what they were made of.
#[derive(Debug)]
struct Complete {
    rules: Arc<AccessRules>,
    of: Arc<AccessRules>,
    with: Vec<Option<Arc<String>>>,
}

/// The format of access.json.
#[derive(Debug)]
struct AccessFormat {
    /// The key of the file, which is never served.
    key: String,
}

impl FileFormat for AccessFormat {
    type Parsed = AccessRules;

    const BYTES_MAX: u64 = BYTES_MAX as u64;
    const SETTING: &'static str = "access";
    const NOUN: &'static str = "file";
    const WITHOUT: &'static str = "every request is answered with 503";
    const SMALLER: &'static str = "guard folders instead of single objects";
    const MISSING: &'static str = "upload it, and keep the setting access, without which every guarded path is open";
    const CHECK: &'static str = "nearedge rules check";

    fn parse(&self, text: &str) -> Result<ParsedFile<AccessRules>, String> {
        let (parsed, warnings) = AccessRules::parse(text, Some(&self.key)).map_err(first_of)?;
        let summary = format!("{} rules", parsed.listed().count());
        Ok(ParsedFile { parsed, summary, warnings: warnings.iter().map(Problem::to_string).collect() })
    }
}

/// The format of a JWK Set. A rule checks it when it takes its keys.
#[derive(Debug)]
struct KeySetFormat;

impl FileFormat for KeySetFormat {
    type Parsed = String;

    const BYTES_MAX: u64 = BYTES_MAX as u64;
    const SETTING: &'static str = "access";
    const NOUN: &'static str = "JWK Set";
    const WITHOUT: &'static str = "what its rules guard is answered with 503";
    const SMALLER: &'static str = "remove retired keys";
    const MISSING: &'static str = "upload it, or correct its name in the rules";
    const CHECK: &'static str = "nearedge rules check";

    fn parse(&self, text: &str) -> Result<ParsedFile<String>, String> {
        Ok(ParsedFile { parsed: text.to_owned(), summary: format!("{} bytes", text.len()), warnings: Vec::new() })
    }
}

impl Access {
    /// Loads nothing yet.
    pub(super) fn new(key: ObjectKey, ttl: Duration) -> Self {
        let format = AccessFormat { key: key.as_str().to_owned() };
        Self {
            file: SiteFile::new(key, ttl, format),
            ttl,
            keys: Mutex::default(),
            complete: RwLock::default(),
            unusable: AtomicU64::new(0),
            known: KnownTokens::default(),
        }
    }

    /// The rules with their keys. A rule whose keys are missing refuses every request.
    pub(super) fn active(&self) -> Option<Arc<AccessRules>> {
        self.complete.read().as_ref().map(|complete| complete.rules.clone())
    }

    /// How many loads have failed since the start.
    pub(super) fn errors(&self) -> u64 {
        let of_keys: u64 = self.keys.lock().iter().map(|set| set.file.errors()).sum();
        self.file.errors() + of_keys + self.unusable.load(Ordering::Relaxed)
    }

    pub(super) async fn load<S: Store>(&self, store: &S, deadline: Instant) {
        self.file.load(store, deadline).await;
        for set in self.sets() {
            set.file.load(store, deadline).await;
        }
        self.combine();
    }

    pub(super) async fn reload<S: Store>(&self, store: &S, deadline: Instant) {
        let is_due = self.file.reload(store, deadline).await;
        let mut is_changed = is_due;
        for set in self.sets() {
            is_changed |= set.file.reload(store, deadline).await;
        }
        if is_changed {
            self.combine();
        }
    }

    /// The JWK Sets of the active rules.
    fn sets(&self) -> Vec<Arc<KeySet>> {
        let Some(rules) = self.file.active() else { return Vec::new() };
        let mut known = self.keys.lock();
        let names = rules.jwks_objects();
        known.retain(|set| names.contains(&&*set.name));
        for name in names {
            if !known.iter().any(|set| set.name == name) {
                let file = SiteFile::new(ObjectKey::new(name.to_owned()), self.ttl, KeySetFormat);
                known.push(Arc::new(KeySet { name: name.to_owned(), file }));
            }
        }
        known.clone()
    }

    /// Gives the rules their keys, if either has changed. Keys that cannot be used leave the last good ones in their place.
    fn combine(&self) {
        let Some(of) = self.file.active() else { return };
        let sets = self.sets();
        let with: Vec<_> = sets.iter().map(|set| set.file.active()).collect();
        let is_same = |left: &Option<Arc<String>>, right: &Option<Arc<String>>| match (left, right) {
            (Some(left), Some(right)) => Arc::ptr_eq(left, right),
            (None, None) => true,
            _ => false,
        };
        let before = self.complete.read();
        let is_of = |complete: &Complete| Arc::ptr_eq(&complete.of, &of);
        let is_current = before.as_ref().is_some_and(|complete| {
            is_of(complete)
                && complete.with.len() == with.len()
                && complete.with.iter().zip(&with).all(|(left, right)| is_same(left, right))
        });
        if is_current {
            return;
        }
        let mut rules = AccessRules::clone(&of);
        let mut is_complete = true;
        for (set, text) in sets.iter().zip(&with) {
            let Some(text) = text else { continue };
            match rules.with_jwks(&set.name, text) {
                Ok(with_keys) => rules = with_keys,
                Err(problems) => {
                    is_complete = false;
                    self.unusable.fetch_add(1, Ordering::Relaxed);
                    let problem = first_of(problems);
                    error!(key = set.name, "access: the keys of the JWK Set cannot be used: {problem}");
                }
            }
        }
        let keeps = !is_complete && before.as_ref().is_some_and(is_of);
        let rules = match before.as_ref().filter(|_| keeps) {
            Some(complete) => complete.rules.clone(),
            None => Arc::new(rules),
        };
        drop(before);
        *self.complete.write() = Some(Complete { rules, of, with });
    }
}

fn first_of(problems: Vec<Problem>) -> String {
    problems.first().map(Problem::to_string).unwrap_or_default()
}

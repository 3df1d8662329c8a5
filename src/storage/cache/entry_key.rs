//! The keys of the cache's entries, each hashed once.
//!
//! moka hashes a key for each lookup, twice for an insertion, and again whenever its table grows. These keys know their hash.
//! It has a random key (`RandomState`): clients choose the texts, and could otherwise choose some that collide.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

use equivalent::Equivalent;
use nearedge_core::object::{CopyKind, ObjectKey};

/// The key of an entry.
#[derive(PartialEq, Eq)]
pub(super) enum EntryKey {
    /// The key of an object and its hash.
    Index(ObjectKey, u64),
    Body(Version),
    Copy(Version, CopyKind),
}

/// A borrowed [`EntryKey`], for lookups without a copy.
#[derive(PartialEq)]
pub(super) enum EntryKeyRef<'a> {
    Index(&'a ObjectKey, u64),
    Body(&'a Version),
    Copy(&'a Version, CopyKind),
}

/// The identity of a body: the key and its entity tag.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Version {
    hash: u64,
    pub(super) key: ObjectKey,
    pub(super) etag: String,
}

/// Hashes keys and versions.
#[derive(Default)]
pub(super) struct KeyHasher(RandomState);

impl KeyHasher {
    pub(super) fn key_ref<'a>(&self, key: &'a ObjectKey) -> EntryKeyRef<'a> {
        EntryKeyRef::Index(key, self.0.hash_one(key))
    }

    pub(super) fn key(&self, key: ObjectKey) -> EntryKey {
        let hash = self.0.hash_one(&key);
        EntryKey::Index(key, hash)
    }

    pub(super) fn version(&self, key: ObjectKey, etag: String) -> Version {
        Version { hash: self.0.hash_one((&key, &etag)), key, etag }
    }
}

impl EntryKey {
    #[inline]
    fn borrowed(&self) -> EntryKeyRef<'_> {
        match self {
            Self::Index(key, hash) => EntryKeyRef::Index(key, *hash),
            Self::Body(version) => EntryKeyRef::Body(version),
            Self::Copy(version, kind) => EntryKeyRef::Copy(version, *kind),
        }
    }
}

impl Equivalent<EntryKey> for EntryKeyRef<'_> {
    fn equivalent(&self, key: &EntryKey) -> bool {
        *self == key.borrowed()
    }
}

impl Hash for EntryKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(match self {
            Self::Index(_, hash) => *hash,
            Self::Body(version) => version.hash,
            Self::Copy(version, kind) => version.hash.rotate_left(8 * (*kind as u32 + 1)),
        });
    }
}

impl Hash for EntryKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Uses the hash that a key knows.
pub(super) type KnownHash = BuildHasherDefault<KnownHasher>;

/// Passes on the hash that a key knows.
#[derive(Default)]
pub(super) struct KnownHasher(u64);

impl Hasher for KnownHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        // The trait requires it. The keys here call `write_u64`.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ObjectKey {
        ObjectKey::new(text.to_owned())
    }

    fn hash(key: &impl Hash) -> u64 {
        KnownHash::default().hash_one(key)
    }

    /// Clients choose the keys; with a predictable hash they could choose keys that collide.
    #[test]
    fn keys_are_hashed_with_a_random_key() {
        let hashes = [(); 2].map(|()| hash(&KeyHasher::default().key(key("v1/test.html"))));
        assert_ne!(hashes[0], hashes[1]);
        let versions = [(); 2].map(|()| hash(&EntryKey::Body(KeyHasher::default().version(key("a"), "1".to_owned()))));
        assert_ne!(versions[0], versions[1]);
    }

    #[test]
    fn borrowed_keys_have_the_hash_of_their_owned_keys_and_no_two_entries_of_an_object_share_one() {
        let hasher = KeyHasher::default();
        let version = hasher.version(key("a"), "1".to_owned());
        let kinds = [CopyKind::Br, CopyKind::Zstd, CopyKind::Gzip, CopyKind::Avif, CopyKind::Webp];
        let mut owned = vec![hasher.key(key("a")), EntryKey::Body(version.clone())];
        owned.extend(kinds.map(|kind| EntryKey::Copy(version.clone(), kind)));
        let object = key("a");
        let mut borrowed = vec![hasher.key_ref(&object), EntryKeyRef::Body(&version)];
        borrowed.extend(kinds.map(|kind| EntryKeyRef::Copy(&version, kind)));
        let mut hashes = Vec::new();
        for (borrowed, owned) in borrowed.iter().zip(&owned) {
            assert!(borrowed.equivalent(owned));
            assert_eq!(hash(borrowed), hash(owned));
            hashes.push(hash(owned));
        }
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), owned.len());
    }
}

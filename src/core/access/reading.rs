//! The readings of a path: what a CDN, a proxy or a server may make of its spelling.
//!
//! This origin uses a path as it is, decoded once. An S3-compatible server or a proxy may decode it again, fold `//`, resolve
//! dot segments or take `\` for `/`, in any order. A rule must hold for each object that the path may lead to.

use smallvec::{SmallVec, smallvec};

/// How often a path is decoded beyond the decoding of its event.
const DECODINGS_MAX: u8 = 3;

/// The most readings of a path.
const READINGS_MAX: usize = 64;

/// The longest path whose readings are listed, in bytes. A longer one leads to no key of S3, but takes long to read.
const PATH_BYTES_MAX: usize = 4 * crate::object::KEY_BYTES_MAX;

/// The readings of a path, the path itself first.
pub(super) struct Readings {
    all: SmallVec<[Vec<u8>; 4]>,
    /// Whether the path has more readings: nothing is known of it.
    pub(super) is_cut: bool,
}

impl Readings {
    /// Lists the readings of a path.
    pub(super) fn of(path: &[u8]) -> Self {
        let mut readings = Self { all: smallvec![rooted(path)], is_cut: path.len() > PATH_BYTES_MAX };
        if readings.is_cut {
            return readings;
        }
        let mut decodings: SmallVec<[u8; READINGS_MAX]> = smallvec![0];
        let mut index = 0;
        while let Some(current) = readings.all.get(index).cloned() {
            let decoded = decode(&current);
            if decoded.is_some() && decodings[index] == DECODINGS_MAX {
                readings.is_cut = true;
                return readings;
            }
            let others = [(fold(&current), 0), (resolve(&current), 0), (unify_slashes(&current), 0), (decoded, 1)];
            for (reading, decoding) in others {
                let Some(reading) = reading.filter(|reading| !readings.all.contains(reading)) else { continue };
                if readings.all.len() == READINGS_MAX {
                    readings.is_cut = true;
                    return readings;
                }
                readings.all.push(reading);
                decodings.push(decodings[index] + decoding);
            }
            index += 1;
        }
        readings
    }

    /// The readings.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.all.iter().map(Vec::as_slice)
    }
}

/// Bytes that are compared at once, by vectors.
const LANES: usize = 16;

/// Whether a path has no other reading than itself. Allocates nothing.
pub(super) fn is_plain(path: &[u8]) -> bool {
    let [b'/', rest @ ..] = path else { return false };
    let is_last_special = path.last().is_some_and(|last| is_special(*last, 0));
    let mut found = is_last_special;
    // Each byte with the one after it.
    let (chunks, next) = (path.chunks_exact(LANES), rest.chunks_exact(LANES));
    for (bytes, next) in chunks.zip(next) {
        if let (Some(bytes), Some(next)) = (bytes.first_chunk(), next.first_chunk()) {
            found |= any_special(bytes, next);
        }
    }
    // The last chunk, or all of a short path. It may overlap the chunk before it.
    match (path[..rest.len()].last_chunk(), rest.last_chunk()) {
        (Some(bytes), Some(next)) => !(found | any_special(bytes, next)),
        _ => !path.iter().zip(rest).fold(found, |found, (byte, next)| found | is_special(*byte, *next)),
    }
}

/// Whether a byte starts another spelling. `|` and `&` instead of `||` and `&&`, so that no branch depends on a byte.
fn is_special(byte: u8, next: u8) -> bool {
    (byte == b'%') | (byte == b'\\') | ((byte == b'/') & ((next == b'/') | (next == b'.')))
}

fn any_special(bytes: &[u8; LANES], next: &[u8; LANES]) -> bool {
    bytes.iter().zip(next).fold(0, |found, (byte, next)| found | u8::from(is_special(*byte, *next))) != 0
}

/// The path with its leading slash.
fn rooted(path: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if path.first() == Some(&b'/') { b"" } else { b"/" };
    [slash, path].concat()
}

/// The path with runs of slashes folded; `None` if it has none.
fn fold(path: &[u8]) -> Option<Vec<u8>> {
    let mut folded = path.to_vec();
    folded.dedup_by(|right, left| *right == b'/' && *left == b'/');
    (folded.len() < path.len()).then_some(folded)
}

/// The path with its dot segments resolved (RFC 3986 §5.2.4); `None` if it has none.
fn resolve(path: &[u8]) -> Option<Vec<u8>> {
    let is_dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    let segments = || path.split(|byte| *byte == b'/').skip(1);
    if !segments().any(is_dots) {
        return None;
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in segments() {
        match segment {
            b"." => {}
            b".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    // A dot segment at the end names a folder.
    if segments().last().is_some_and(is_dots) {
        kept.push(b"");
    }
    Some([b"/".as_slice(), &kept.join(&b'/')].concat())
}

/// The path with `\` as `/`; `None` if it has none.
fn unify_slashes(path: &[u8]) -> Option<Vec<u8>> {
    path.contains(&b'\\').then(|| path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect())
}

/// The path percent-decoded once; `None` if nothing in it is encoded.
fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let decoded: Vec<u8> = percent_encoding::percent_decode(path).collect();
    (decoded.len() < path.len()).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn readings(path: &str) -> Vec<String> {
        Readings::of(path.as_bytes()).iter().map(|reading| String::from_utf8_lossy(reading).into_owned()).collect()
    }

    #[test]
    fn dot_segments_are_resolved_as_in_rfc_3986() {
        for (path, resolved) in [
            ("/a/b/c/./../../g", "/a/g"),
            ("/./a", "/a"),
            ("/../a", "/a"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/.", "/"),
            ("/a//../b", "/a/b"),
        ] {
            assert_eq!(resolve(path.as_bytes()).as_deref(), Some(resolved.as_bytes()), "{path}");
        }
        assert_eq!(resolve(b"/a.b/..c/...d/.well-known"), None);
    }

    #[test]
    fn transformations_are_combined_in_any_order() {
        let all = readings("/x%252e/..%5c.//%2e%2e/b");
        for reading in ["/x%252e/..%5c.//%2e%2e/b", "/b", "/x./..\\.//../b"] {
            assert!(all.iter().any(|found| found == reading), "{reading}: {all:?}");
        }
        assert_eq!(readings("/a//../b"), ["/a//../b", "/a/../b", "/a/b", "/b"]);
        assert_eq!(readings("a"), ["/a"]);
    }

    #[test]
    fn a_path_with_too_many_readings_is_cut() {
        assert!(!Readings::of(b"/%252525").is_cut);
        assert!(!Readings::of(b"/%252561").is_cut);
        assert!(Readings::of(b"/%25252561").is_cut);
        assert!(Readings::of(format!("/{}%", "a".repeat(PATH_BYTES_MAX)).as_bytes()).is_cut);
        assert!(!Readings::of(b"/%").is_cut && !Readings::of(b"/%2").is_cut && !Readings::of(b"/%zz").is_cut);
    }

    proptest! {
        #[test]
        fn a_plain_path_has_one_reading(path in "/?(a|\\.|/|%|2|e|\\\\|é){0,8}") {
            if is_plain(path.as_bytes()) {
                prop_assert_eq!(readings(&path), [path]);
            }
        }

        #[test]
        fn every_special_spelling_is_found_at_every_place(before in 0..40_usize, after in 0..40_usize) {
            let plain = |special: &str| is_plain(format!("/x{}{special}{}", "a".repeat(before), "a".repeat(after)).as_bytes());
            prop_assert!(plain("/a.b/a"));
            for special in ["%", "\\", "//", "/."] {
                prop_assert!(!plain(special), "{}", special);
            }
        }

        #[test]
        fn readings_are_complete(path in "/(a|\\.|/|%2e|%2f|%25|\\\\|\\.\\.){0,8}") {
            let readings = Readings::of(path.as_bytes());
            if !readings.is_cut {
                for reading in readings.iter() {
                    let others = [fold(reading), resolve(reading), unify_slashes(reading), decode(reading)];
                    for other in others.into_iter().flatten() {
                        prop_assert!(readings.iter().any(|known| known == other));
                    }
                }
            }
        }
    }
}

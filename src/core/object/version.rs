//! Versions: the names of variants, which are folders of the bucket.

/// The longest version, in bytes.
const VERSION_BYTES_MAX: usize = 64;

/// Whether `version` has 1 to 64 characters of `A-Z a-z 0-9 . _ -` and is neither `.` nor `..`.
pub fn is_version(version: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=VERSION_BYTES_MAX).contains(&version.len()) && version.bytes().all(allowed) && !matches!(version, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_variant_never_names_another_folder(version in "\\PC{0,70}") {
            if is_version(&version) {
                prop_assert!((1..=64).contains(&version.len()));
                prop_assert!(version != "." && version != ".." && !version.contains('/'));
            }
        }
    }
}

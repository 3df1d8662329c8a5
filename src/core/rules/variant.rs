//! Stage: the variant that `test_version` names.

use std::ops::ControlFlow;

use crate::response::Outcome;
use crate::rules::action::{Draft, Stage, respond};

/// The longest `test_version`, in bytes.
const VERSION_BYTES_MAX: usize = 64;

/// Takes the variant from the request; responds 400 if it is malformed.
pub(super) fn select_variant(draft: &mut Draft<'_, '_>) -> Stage {
    let variant = draft.request.test_version.as_deref();
    if variant.is_some_and(|variant| !is_version(variant)) {
        return respond(Outcome::VersionRefused);
    }
    draft.variant = variant;
    ControlFlow::Continue(())
}

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

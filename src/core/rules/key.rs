//! Stage: from the path to the key.

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::response::Outcome;
use crate::rules::action::{Draft, Stage, respond};

/// Returns the unversioned key of the path; responds 400 if the path contains a NUL, which no S3 key can.
pub(super) fn unversioned<'a>(draft: &Draft<'a, '_>) -> Stage<Cow<'a, str>> {
    let index_document = &draft.policy.index_document;
    if draft.path.contains('\0') {
        return respond(Outcome::PathRefused);
    }
    ControlFlow::Continue(match &draft.path {
        Cow::Borrowed(path) => key_of_path(path, index_document),
        Cow::Owned(path) => Cow::Owned(key_of_path(path, index_document).into_owned()),
    })
}

/// The path without its leading `/`, with the index document appended if it is empty or ends in `/`.
pub(super) fn key_of_path<'a>(path: &'a str, index_document: &str) -> Cow<'a, str> {
    let key = path.strip_prefix('/').unwrap_or(path);
    if key.is_empty() || key.ends_with('/') { Cow::Owned(format!("{key}{index_document}")) } else { Cow::Borrowed(key) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_path_has_a_key_and_only_the_index_document_is_added(path in "(?s:.){0,40}") {
            let key = key_of_path(&path, "index.html");
            prop_assert!(!key.is_empty() && !key.ends_with('/'));
            let unchanged = path.strip_prefix('/').unwrap_or(&path);
            prop_assert!(*key == *unchanged || key.strip_suffix("index.html") == Some(unchanged));
        }
    }
}

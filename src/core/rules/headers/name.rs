//! Names of response fields that a file may set or remove.

use crate::rules::line_problem::{Checked, Fault, part};

/// The change that a line makes to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Set,
    Remove,
}

/// The position of a name in [`Names`].
pub(super) type NameId = u16;

/// The names of a file, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Names(Vec<Box<str>>);

impl Names {
    /// The id of a name in lower case.
    pub(super) fn id(&mut self, name: &str) -> Checked<NameId> {
        let position = self.0.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.0.push(name.into());
            self.0.len() - 1
        });
        // A file of 1 MiB has room for more names than any response.
        NameId::try_from(position)
            .ok()
            .filter(|id| *id < 1_000)
            .ok_or_else(|| Fault::new("the file has more than 1000 names of fields", "use fewer"))
    }

    pub(super) fn text(&self, id: NameId) -> &str {
        self.0.get(usize::from(id)).map_or("", |name| name)
    }

    /// The id of a name that the file has.
    pub(super) fn find(&self, name: &str) -> Option<NameId> {
        self.0.iter().zip(0..).find(|(known, _)| ***known == *name).map(|(_, id)| id)
    }
}

/// Whether a name is a token (RFC 9110 §5.6.2).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The name in lower case, if a file may change the field.
pub(super) fn checked(name: &str, change: Change) -> Checked<String> {
    if !is_token(name) {
        return Err(Fault::new(
            format!("expected the name of a field, found {}", part(name)),
            "write `Name: value`, or `! Name` to remove a field",
        ));
    }
    let name = name.to_ascii_lowercase();
    let refused = match (&*name, change) {
        ("connection" | "keep-alive" | "transfer-encoding" | "te" | "trailer" | "upgrade", _) => {
            Some("belongs to a connection, not to a response")
        }
        (name, _) if name.starts_with("proxy-") => Some("belongs to a connection, not to a response"),
        ("content-length" | "content-range" | "content-encoding" | "status" | "date" | "via" | "age", _) => {
            Some("states a fact about each response, which the origin and CloudFront set")
        }
        ("location", _) => Some("is the target of a redirect, which the file of redirects sets"),
        ("set-cookie" | "set-cookie2", _) => {
            Some("identifies visitors of experiments, and shared caches keep responses")
        }
        ("x-variant" | "lambda_auth", _) => Some("is internal"),
        ("etag" | "last-modified", Change::Set) => Some("identifies a version of the object, which caches rely on"),
        ("vary", Change::Remove) => Some("tells caches on which fields of the request the response depends"),
        _ => None,
    };
    match refused {
        Some(reason) => Err(Fault::new(format!("the field {name} {reason}"), "remove the line")),
        None => Ok(name),
    }
}

/// Whether a 304 may have a field (RFC 9110 §15.4.5).
pub fn is_in_not_modified(name: &str) -> bool {
    matches!(name, "cache-control" | "content-location" | "date" | "etag" | "expires" | "vary")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_connections_and_of_the_origin_are_refused() {
        for name in [
            "Connection",
            "Keep-Alive",
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Upgrade",
            "Proxy-Authenticate",
            "Content-Length",
            "Content-Range",
            "Content-Encoding",
            "Status",
            "Date",
            "Via",
            "Age",
            "Set-Cookie",
            "Location",
            "x-variant",
            "lambda_auth",
            "",
            ":status",
            "a b",
            "é",
        ] {
            assert!(checked(name, Change::Set).is_err() && checked(name, Change::Remove).is_err(), "{name}");
        }
        assert!(checked("ETag", Change::Set).is_err() && checked("ETag", Change::Remove).is_ok());
        assert!(checked("Vary", Change::Set).is_ok() && checked("Vary", Change::Remove).is_err());
        assert_eq!(checked("X-Frame-Options", Change::Set).as_deref(), Ok("x-frame-options"));
    }
}

//! Makes the header fields of S3's responses readable for the SDK.
//!
//! The SDK parses every typed field, used or not, and fails the whole response if it cannot. It also rejects a field that
//! occurs twice. So this module removes the fields that nearedge does not use, and repairs or omits the others: an odd
//! field must not make an object unavailable.

use aws_smithy_runtime_api::http::Headers;
use nearedge_core::http::date::{format_http_date, http_date};

use crate::http_client::UNREADABLE_FIELDS;

/// Fields that the SDK or nearedge reads.
const USED: [&str; 22] = [
    "content-type",
    "content-length",
    "content-range",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
    "etag",
    "expires",
    // The SDK moves an Expires that is not a date here.
    "expiresstring",
    "last-modified",
    // Whether the object is archived.
    "x-amz-storage-class",
    "x-amz-archive-status",
    "x-amz-restore",
    // Where the object redirects.
    "x-amz-website-redirect-location",
    // Whether HEAD tells that S3 can read the object.
    "x-amz-server-side-encryption",
    // For logs and spans.
    "x-amz-request-id",
    "x-amz-id-2",
    // For retries and redirects of the SDK.
    "date",
    "retry-after",
    "x-amz-retry-after",
    "x-amz-bucket-region",
];

/// Fields with list values: several are equivalent to one that joins them (RFC 9110 §5.3).
const LISTS: [&str; 3] = ["cache-control", "content-encoding", "content-language"];

/// Fields that count as absent if they are empty.
const METADATA: [&str; 12] = [
    "x-amz-website-redirect-location",
    "x-amz-storage-class",
    "x-amz-archive-status",
    "x-amz-restore",
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
    "etag",
    "expires",
    "last-modified",
];

/// Repairs `headers` in place. Returns the names of used fields that had to be omitted or cut.
///
/// One pass finds what there is to repair: a look-up of each name would be a thirtieth of the instructions of a miss.
pub(super) fn repair(status: u16, headers: &mut Headers) -> Vec<&'static str> {
    let mut unused = Vec::new();
    let mut is_present = [false; USED.len()];
    let mut needs_repair = [false; USED.len()];
    for (name, value) in headers.iter() {
        let Some(at) = USED.iter().position(|used| *used == name) else {
            unused.push(name.to_owned());
            continue;
        };
        let is_special = matches!(name, "content-encoding" | "last-modified");
        needs_repair[at] |= is_present[at] || is_special || value.trim().is_empty();
        is_present[at] = true;
    }
    let unreadable: Vec<&str> = headers.get_all(UNREADABLE_FIELDS).collect();
    let mut omitted: Vec<_> = METADATA.into_iter().filter(|name| unreadable.contains(name)).collect();
    for name in unused {
        headers.remove(name);
    }
    for (name, _) in USED.into_iter().zip(needs_repair).filter(|(_, needs_repair)| *needs_repair) {
        omitted.extend(repair_field(name, headers));
    }
    // A range without Content-Range is no known part of the object (RFC 9110 §15.3.7); an unparsable one fails the request.
    if status == 206 && headers.get("content-range").is_none() {
        let _ = headers.try_insert("content-range", "absent");
    }
    // In a 200 the field has no meaning (§14.4).
    if status == 200 {
        headers.remove("content-range");
    }
    omitted
}

/// Repairs a used field that occurs more than once, is empty, or has a rule of its own. Returns its name if it had to be omitted or cut.
fn repair_field(name: &'static str, headers: &mut Headers) -> Option<&'static str> {
    let values: Vec<&str> = headers.get_all(name).collect();
    let first = values.first().copied()?;
    let value = if LISTS.contains(&name) { values.join(", ") } else { first.to_owned() };
    let is_cut = values.len() > 1 && !LISTS.contains(&name) && values.iter().any(|other| *other != first);
    let value = match name {
        "content-encoding" => without_aws_chunked(value),
        // The SDK reads only one of the three date formats.
        "last-modified" => http_date(&value).map_or(value, format_http_date),
        _ => value,
    };
    let is_absent = METADATA.contains(&name) && value.trim().is_empty();
    let is_invalid = name == "last-modified" && http_date(&value).is_none();
    if is_absent || is_invalid {
        headers.remove(name);
    } else if values.len() > 1 || value != first {
        // A value that was valid is valid.
        let _ = headers.try_insert(name, value);
    }
    (is_cut || (is_invalid && !is_absent)).then_some(name)
}

/// Removes `aws-chunked`, which describes how an upload was transferred. S3 removes it when it stores the object
/// ([streaming uploads](https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html)); other servers do not.
fn without_aws_chunked(value: String) -> String {
    let is_chunked = |coding: &&str| coding.trim().eq_ignore_ascii_case("aws-chunked");
    if !value.split(',').any(|coding| is_chunked(&coding)) {
        return value;
    }
    let kept: Vec<&str> = value.split(',').filter(|coding| !is_chunked(coding)).map(str::trim).collect();
    kept.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(status: u16, fields: &[(&'static str, &'static str)]) -> (Vec<(String, String)>, Vec<&'static str>) {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.append(*name, *value);
        }
        let omitted = repair(status, &mut headers);
        let mut left: Vec<_> = headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        left.sort();
        (left, omitted)
    }

    fn field(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn unused_fields_are_removed() {
        for name in ["x-amz-meta-note", "x-amz-mp-parts-count", "x-amz-tagging-count", "x-amz-delete-marker"] {
            let (left, omitted) = repaired(200, &[("etag", "\"a\""), (name, "x")]);
            assert_eq!((left, omitted), (vec![field("etag", "\"a\"")], vec![]), "{name}");
        }
    }

    #[test]
    fn aws_chunked_and_empty_fields_are_absent() {
        for (value, wanted) in [
            ("aws-chunked,gzip", Some("gzip")),
            ("gzip, AWS-chunked", Some("gzip")),
            ("aws-chunked", None),
            (" ", None),
        ] {
            let (left, omitted) = repaired(200, &[("content-encoding", value)]);
            let wanted: Vec<_> = wanted.map(|value| field("content-encoding", value)).into_iter().collect();
            assert_eq!((left, omitted), (wanted, vec![]), "{value}");
        }
        for name in METADATA {
            assert_eq!(repaired(200, &[(name, "")]), (vec![], vec![]), "{name}");
        }
    }

    #[test]
    fn lists_are_joined_and_other_repeated_fields_are_cut() {
        let lists = repaired(200, &[("cache-control", "public"), ("cache-control", "max-age=5")]);
        assert_eq!(lists, (vec![field("cache-control", "public, max-age=5")], vec![]));
        let cut = repaired(200, &[("content-type", "text/html"), ("content-type", "text/plain")]);
        assert_eq!(cut, (vec![field("content-type", "text/html")], vec!["content-type"]));
        let same = repaired(200, &[("etag", "\"a\""), ("etag", "\"a\"")]);
        assert_eq!(same, (vec![field("etag", "\"a\"")], vec![]));
    }

    #[test]
    fn an_unreadable_field_is_reported_only_if_it_is_used() {
        let unreadable = [(UNREADABLE_FIELDS, "content-disposition"), (UNREADABLE_FIELDS, "x-amz-meta-note")];
        assert_eq!(repaired(200, &unreadable), (vec![], vec!["content-disposition"]));
    }

    #[test]
    fn a_date_that_is_none_is_omitted_by_name() {
        let obsolete = repaired(200, &[("last-modified", "Sunday, 06-Nov-94 08:49:37 GMT")]);
        assert_eq!(obsolete, (vec![field("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")], vec![]));
        assert_eq!(repaired(200, &[("last-modified", "yesterday")]), (vec![], vec!["last-modified"]));
    }

    #[test]
    fn a_206_without_its_range_cannot_pass_for_a_whole_object() {
        assert_eq!(repaired(206, &[]).0, [field("content-range", "absent")]);
        assert_eq!(repaired(206, &[("content-range", "bytes 0-1/2")]).0, [field("content-range", "bytes 0-1/2")]);
        assert_eq!(repaired(200, &[("content-range", "bytes 0-1/2")]).0, []);
    }
}

//! Copies of objects in content codings and image formats.

use crate::rendered::{Rendered, key_headers, listed_headers, settings};
use serde_json::{Value, json};

const NAMES: [&str; 4] = ["compress", "precompressed", "formats", "compress_guarded"];

#[test]
fn the_parameters_of_copies_are_settings_of_the_function() {
    let of = |rendered: &Rendered| NAMES.map(|name| settings(rendered)[name].clone());
    for rendered in Rendered::all(&[]) {
        // CloudFront in AWS China forwards only gzip.
        let made = if rendered.china { "gzip" } else { "br,gzip" };
        assert_eq!(of(&rendered), [json!(made), Value::Null, Value::Null, Value::Null]);
    }
    let values =
        [("Compress", "off"), ("Precompressed", "br,zstd,gzip"), ("Formats", "avif,webp"), ("CompressGuarded", "true")];
    for rendered in Rendered::all(&values) {
        assert_eq!(of(&rendered), [json!("off"), json!("br,zstd,gzip"), json!("avif,webp"), json!("true")]);
    }
}

/// Only these flags forward Accept-Encoding, normalized to the codings that they name
/// (<https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/controlling-the-cache-key.html>).
#[test]
fn both_codings_are_forwarded_with_caching_and_without() {
    for values in [&[][..], &[("Caching", "on")], &[("Compress", "off"), ("Precompressed", "br")]] {
        let rendered = Rendered::in_region("eu-west-1", values);
        assert_eq!(rendered.distribution()["DefaultCacheBehavior"]["CachePolicyId"], "${CachePolicy}", "{values:?}");
        for (id, policy) in rendered.template.resources("AWS::CloudFront::CachePolicy").unwrap() {
            let key = &policy["CachePolicyConfig"]["ParametersInCacheKeyAndForwardedToOrigin"];
            for flag in ["EnableAcceptEncodingGzip", "EnableAcceptEncodingBrotli"] {
                assert_eq!(key[flag], true, "{values:?}: {flag} of {id}");
            }
        }
    }
}

#[test]
fn accept_is_forwarded_and_in_the_key_only_with_formats() {
    let has_accept = |headers: &[String]| headers.iter().any(|name| name == "accept");
    for (formats, expected) in [("off", false), ("webp", true)] {
        for rendered in Rendered::all(&[("Formats", formats)]) {
            assert_eq!(has_accept(&listed_headers(&rendered)), expected, "{formats}");
        }
        let key = key_headers(&[("Formats", formats)]);
        assert_eq!(key.as_array().unwrap().contains(&json!("accept")), expected, "{formats}");
    }
}

/// BREACH: CloudFront would compress a guarded response that the function deliberately left uncoded.
#[test]
fn guarded_responses_are_compressed_only_if_the_parameter_says_so() {
    for (values, expected) in [
        (&[][..], true),
        (&[("Access", "access.json")], false),
        (&[("Access", "access.json"), ("CompressGuarded", "true")], true),
    ] {
        let rendered = Rendered::in_region("eu-west-1", values);
        assert_eq!(rendered.distribution()["DefaultCacheBehavior"]["Compress"], expected, "{values:?}");
    }
}

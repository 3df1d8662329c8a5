//! CloudFront's managed policies by id and by name, from the AWS documentation:
//! [cache policies](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html),
//! [origin request policies](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-origin-request-policies.html).

use std::collections::BTreeSet;

use crate::policy::caching::{CachePolicy, Codings, Names, RequestPolicy, Ttl};

/// The managed cache policy with this id or name, such as `CachingOptimized`.
pub(super) fn cache_policy(id: &str) -> Option<CachePolicy> {
    let id = CACHE_POLICY_NAMES.iter().find(|(name, _)| *name == id).map_or(id, |(_, id)| id);
    let (headers, query_strings, ttl): (&[&str], Names, (u64, u64, u64)) = match id {
        // CachingDisabled
        "4135ea2d-6df8-44a3-9df3-4b5a84be39ad" => (&[], Names::None, (0, 0, 0)),
        // CachingOptimized, CachingOptimizedForUncompressedObjects
        "658327ea-f89d-4fab-a63d-7e88639e58f6" | "b2884449-e4de-46a7-ac36-70bc7f1ddd6d" => {
            (&[], Names::None, (1, 86_400, 31_536_000))
        }
        // Amplify
        "2e54312d-136d-493c-8eb9-b001f22f67d2" => {
            (&["authorization", "cloudfront-viewer-country", "host"], Names::All, (2, 2, 600))
        }
        // Elemental-MediaPackage
        "08627262-05a9-4f76-9ded-b50ca2e3a84f" => {
            (&["origin"], Names::listed(["aws.manifestfilter", "start", "end", "m"]), (0, 86_400, 31_536_000))
        }
        // UseOriginCacheControlHeaders, UseOriginCacheControlHeaders-QueryStrings
        "83da9c7e-98b4-4e11-a168-04f0df8e2c65" => (&ORIGIN_CACHE_CONTROL, Names::None, (0, 0, 31_536_000)),
        "4cc15a8a-d715-48a4-82b8-cc0b614638fe" => (&ORIGIN_CACHE_CONTROL, Names::All, (0, 0, 31_536_000)),
        _ => return None,
    };
    let (minimum, default, maximum) = ttl;
    let is = |name: &str| CACHE_POLICY_NAMES.iter().any(|(known, known_id)| *known == name && *known_id == id);
    let codings = match () {
        () if is("CachingDisabled") || is("CachingOptimizedForUncompressedObjects") => Codings::default(),
        () if is("Elemental-MediaPackage") => Codings { gzip: true, brotli: false },
        () => Codings { gzip: true, brotli: true },
    };
    let origin_decides = is("UseOriginCacheControlHeaders") || is("UseOriginCacheControlHeaders-QueryStrings");
    Some(CachePolicy {
        headers: Names::listed(headers.iter().copied()),
        query_strings,
        cookies: if origin_decides || is("Amplify") { Names::All } else { Names::None },
        codings,
        ttl: Ttl { minimum, default, maximum },
    })
}

/// The names and ids of the managed cache policies.
const CACHE_POLICY_NAMES: [(&str, &str); 7] = [
    ("CachingDisabled", "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"),
    ("CachingOptimized", "658327ea-f89d-4fab-a63d-7e88639e58f6"),
    ("CachingOptimizedForUncompressedObjects", "b2884449-e4de-46a7-ac36-70bc7f1ddd6d"),
    ("Amplify", "2e54312d-136d-493c-8eb9-b001f22f67d2"),
    ("Elemental-MediaPackage", "08627262-05a9-4f76-9ded-b50ca2e3a84f"),
    ("UseOriginCacheControlHeaders", "83da9c7e-98b4-4e11-a168-04f0df8e2c65"),
    ("UseOriginCacheControlHeaders-QueryStrings", "4cc15a8a-d715-48a4-82b8-cc0b614638fe"),
];

const ORIGIN_CACHE_CONTROL: [&str; 5] =
    ["host", "origin", "x-http-method-override", "x-http-method", "x-method-override"];

/// The names and ids of the managed origin request policies.
const REQUEST_POLICY_NAMES: [(&str, &str); 8] = [
    ("AllViewer", ALL_VIEWER),
    ("AllViewerAndCloudFrontHeaders-2022-06", ALL_VIEWER_AND_CLOUDFRONT),
    ("AllViewerExceptHostHeader", "b689b0a8-53d0-40ab-baf2-68738e2966ac"),
    ("CORS-CustomOrigin", "59781a5b-3903-41f3-afcb-af62929ccde1"),
    ("CORS-S3Origin", "88a5eaf4-2fd4-4709-b370-b4c650ea3fcf"),
    ("Elemental-MediaTailor-PersonalizedManifests", "775133bc-15f2-49f9-abea-afb2e0bf67d2"),
    ("UserAgentRefererHeaders", "acba4595-bd28-49b8-b9fe-13317c0390fa"),
    ("HostHeaderOnly", "bf0718e1-ba1e-49d1-88b1-f726733018ae"),
];

const ALL_VIEWER: &str = "216adef6-5c7f-47e4-b989-5492eafa07d3";
const ALL_VIEWER_AND_CLOUDFRONT: &str = "33f36d7e-f396-46d9-90e0-52428a34d9dc";

/// The headers that AllViewerAndCloudFrontHeaders-2022-06 adds.
const ADDED: [&str; 19] = [
    "cloudfront-forwarded-proto",
    "cloudfront-is-android-viewer",
    "cloudfront-is-desktop-viewer",
    "cloudfront-is-ios-viewer",
    "cloudfront-is-mobile-viewer",
    "cloudfront-is-smarttv-viewer",
    "cloudfront-is-tablet-viewer",
    "cloudfront-viewer-address",
    "cloudfront-viewer-asn",
    "cloudfront-viewer-city",
    "cloudfront-viewer-country",
    "cloudfront-viewer-country-name",
    "cloudfront-viewer-country-region",
    "cloudfront-viewer-country-region-name",
    "cloudfront-viewer-http-version",
    "cloudfront-viewer-latitude",
    "cloudfront-viewer-longitude",
    "cloudfront-viewer-postal-code",
    "cloudfront-viewer-time-zone",
];

/// The managed origin request policy with this id or name, such as `AllViewer`.
pub(super) fn request_policy(id: &str) -> Option<RequestPolicy> {
    let id = REQUEST_POLICY_NAMES.iter().find(|(name, _)| *name == id).map_or(id, |(_, id)| id);
    let (headers, query_strings) = match id {
        // AllViewer, AllViewerAndCloudFrontHeaders-2022-06
        ALL_VIEWER | ALL_VIEWER_AND_CLOUDFRONT => (Names::All, Names::All),
        // AllViewerExceptHostHeader
        "b689b0a8-53d0-40ab-baf2-68738e2966ac" => (Names::all_except(["host"]), Names::All),
        // CORS-CustomOrigin
        "59781a5b-3903-41f3-afcb-af62929ccde1" => (Names::listed(["origin"]), Names::None),
        // CORS-S3Origin
        "88a5eaf4-2fd4-4709-b370-b4c650ea3fcf" => {
            (Names::listed(["origin", "access-control-request-headers", "access-control-request-method"]), Names::None)
        }
        // Elemental-MediaTailor-PersonalizedManifests
        "775133bc-15f2-49f9-abea-afb2e0bf67d2" => (
            Names::listed([
                "origin",
                "access-control-request-headers",
                "access-control-request-method",
                "user-agent",
                "x-forwarded-for",
            ]),
            Names::All,
        ),
        // UserAgentRefererHeaders
        "acba4595-bd28-49b8-b9fe-13317c0390fa" => (Names::listed(["user-agent", "referer"]), Names::None),
        // HostHeaderOnly
        "bf0718e1-ba1e-49d1-88b1-f726733018ae" => (Names::listed(["host"]), Names::None),
        _ => return None,
    };
    let forwards_all = headers == Names::All || matches!(headers, Names::AllExcept(_));
    let added = if id == ALL_VIEWER_AND_CLOUDFRONT { ADDED.map(str::to_owned).into() } else { BTreeSet::new() };
    Some(RequestPolicy { headers, query_strings, cookies: if forwards_all { Names::All } else { Names::None }, added })
}

//! The configuration of a distribution.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use aws_credential_types::Credentials;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;

use crate::cloudfront::behavior::Behaviors;
use crate::cloudwatch::CloudWatch;
use crate::journal::Journal;
use crate::origin_access::OriginAccess;
use crate::policy::caching::Codings;

/// The second origin: a bucket with origin access control.
#[derive(Debug, Clone)]
pub struct BucketOrigin {
    /// The scheme of the S3 endpoint.
    pub scheme: Scheme,
    /// The host and the port of the S3 endpoint.
    pub authority: Authority,
    /// The bucket's name.
    pub bucket: String,
    /// The bucket's region.
    pub region: String,
    /// The credentials with which origin access control signs requests.
    pub credentials: Credentials,
}

/// The value of a custom origin header. It can change while the distribution runs.
#[derive(Debug, Clone)]
pub struct OriginHeader(Arc<Mutex<HeaderValue>>);

impl OriginHeader {
    /// A secret value, which Debug output does not contain.
    pub fn secret(mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        Self(Arc::new(Mutex::new(value)))
    }

    /// Replaces the value for all further requests.
    pub fn change(&self, mut value: HeaderValue) {
        value.set_sensitive(true);
        *self.0.lock() = value;
    }

    /// The value now.
    pub fn value(&self) -> HeaderValue {
        self.0.lock().clone()
    }
}

/// A distribution.
#[derive(Debug, Clone)]
pub struct Distribution {
    /// The domain name, for `Via`.
    pub domain_name: String,
    /// The host and the port of the API, the first origin.
    pub api: Authority,
    /// The origin path of the API: empty, or the prefix of a named stage.
    pub api_path: String,
    /// The origin access control of the first origin, if that is a function URL with one.
    pub origin_access: Option<OriginAccess>,
    /// Headers that the origin request policy forwards in addition to the walk-through's.
    pub forwarded: Vec<HeaderName>,
    /// The codings in the normalized Accept-Encoding, without cache behaviours.
    pub codings: Codings,
    /// The name of the custom origin header with the secret.
    pub auth_header: HeaderName,
    /// Its value.
    pub secret: OriginHeader,
    /// The name of the header with the variant, which the origin request policy forwards.
    pub version_header: HeaderName,
    /// The second origin.
    pub bucket: BucketOrigin,
    /// First path segments whose cache behaviour targets the second origin.
    pub bucket_prefixes: Vec<String>,
    /// The cache behaviours; `None` caches nothing, and forwards what this distribution's other fields name.
    pub behaviors: Option<Behaviors>,
    /// Whether the headers that experiments read are forwarded too.
    pub experiments: Arc<AtomicBool>,
    /// Receives the request lines.
    pub journal: Journal,
    /// The id of the distribution, for the metrics.
    pub id: String,
    /// Receives the metrics.
    pub cloudwatch: CloudWatch,
}

impl Distribution {
    /// The value of `Via`.
    pub fn via(&self) -> String {
        format!("1.1 {} (CloudFront)", self.domain_name)
    }
}

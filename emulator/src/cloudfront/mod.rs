//! CloudFront: a distribution with two origins, the API and the bucket.
//!
//! [Request and response behaviour for custom origins](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, RANGE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::net::TcpListener;

use crate::cloudwatch::{CloudWatch, MetricName};
use crate::identity;
use crate::journal::{Journal, RequestLine, Via};
use crate::serve::{self, Body, BoxError, HttpClient, Server};

/// The longest URL that CloudFront accepts
/// ([quotas](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html)).
const URL_BYTES_MAX: usize = 8_192;

/// The headers of the walk-through's origin request policy besides the variant's, and those that CloudFront always forwards.
const FORWARDED: [&str; 7] =
    ["redirect", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "content-type"];

/// The characters of a key that a signed path encodes: all except RFC 3986's unreserved characters and `/`.
const KEY_ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

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

    fn value(&self) -> HeaderValue {
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
    /// Headers that the origin request policy forwards in addition to the walk-through's.
    pub forwarded: Vec<HeaderName>,
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
    /// Receives the request lines.
    pub journal: Journal,
    /// The id of the distribution, for the metrics.
    pub id: String,
    /// Receives the metrics.
    pub cloudwatch: CloudWatch,
}

#[derive(Clone)]
struct Edge {
    distribution: Distribution,
    api: HttpClient,
    s3: Client<HttpsConnector<HttpConnector>, Body>,
}

/// Serves a distribution.
///
/// # Errors
/// If S3 uses TLS and the system's root certificates cannot be read.
pub fn serve(listener: TcpListener, distribution: Distribution) -> Result<Server, BoxError> {
    let edge = Edge { api: serve::client(), s3: s3_client(&distribution.bucket.scheme)?, distribution };
    Ok(serve::serve(listener, move |request, peer| {
        let edge = edge.clone();
        async move { Ok(edge.handle(request, peer).await) }
    }))
}

fn s3_client(scheme: &Scheme) -> Result<Client<HttpsConnector<HttpConnector>, Body>, BoxError> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let builder = hyper_rustls::HttpsConnectorBuilder::new();
    let builder = if *scheme == Scheme::HTTPS {
        builder.with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
    } else {
        let no_roots = rustls::RootCertStore::empty();
        let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()?;
        builder.with_tls_config(config.with_root_certificates(no_roots).with_no_client_auth())
    };
    let connector = builder.https_or_http().enable_http1().wrap_connector(tcp);
    Ok(serve::client_over(connector))
}

impl Edge {
    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let id = format!("{}==", identity::letters(54));
        let started = Instant::now();
        let to_bucket = self.has_bucket_behaviour(request.uri().path());
        let mut line = RequestLine::of(
            &request,
            if to_bucket { Via::EdgeToBucket } else { Via::Edge },
            &self.distribution.version_header,
        );
        let head = request.method() == Method::HEAD;
        let url_bytes = request.uri().path_and_query().map_or(1, |path| path.as_str().len());
        let result = if url_bytes > URL_BYTES_MAX {
            Err(error_page(StatusCode::URI_TOO_LONG, "The URL is longer than 8,192 bytes."))
        } else if to_bucket {
            self.request_bucket(request).await
        } else {
            self.request_api(request, peer, &id).await
        };
        // The gateway writes the line of each request that reaches it.
        let line_written = result.is_ok() && !to_bucket;
        let mut response = result.unwrap_or_else(|page| page);
        let cache = if response.status().is_client_error() || response.status().is_server_error() {
            "Error from cloudfront"
        } else {
            "Miss from cloudfront"
        };
        let headers = response.headers_mut();
        headers.insert("x-cache", HeaderValue::from_static(cache));
        headers.insert("x-amz-cf-pop", HeaderValue::from_static("LOCAL1-P1"));
        for (name, value) in [("via", self.via()), ("x-amz-cf-id", id)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        line.status = response.status();
        line.bytes = if head { 0 } else { response.body().size_hint().lower() };
        line.duration = started.elapsed();
        if !line_written {
            self.distribution.journal.request(&line);
        }
        self.record_metrics(&line);
        response
    }

    /// Records the metrics of one request, including the additional metrics
    /// ([CloudFront metrics](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/programming-cloudwatch-metrics.html)).
    fn record_metrics(&self, line: &RequestLine) {
        let Distribution { id, cloudwatch, .. } = &self.distribution;
        let put = |name, value| {
            cloudwatch
                .put(MetricName::new("AWS/CloudFront", name, &[("DistributionId", id), ("Region", "Global")]), value);
        };
        let percent = |error| f64::from(u8::from(error)) * 100.0;
        put("Requests", 1.0);
        put("BytesDownloaded", line.bytes as f64);
        put("4xxErrorRate", percent(line.status.is_client_error()));
        put("5xxErrorRate", percent(line.status.is_server_error()));
        put("TotalErrorRate", percent(line.status.is_client_error() || line.status.is_server_error()));
        // The distribution caches nothing, so every response comes from an origin.
        put("OriginLatency", line.duration.as_secs_f64() * 1e3);
    }

    fn has_bucket_behaviour(&self, path: &str) -> bool {
        let first = path.strip_prefix('/').and_then(|path| path.split_once('/')).map(|(first, _)| first);
        first.is_some_and(|first| self.distribution.bucket_prefixes.iter().any(|prefix| prefix == first))
    }

    fn via(&self) -> String {
        format!("1.1 {} (CloudFront)", self.distribution.domain_name)
    }

    /// Sends a request to the first origin. An error is the error page for the viewer.
    async fn request_api(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        id: &str,
    ) -> Result<Response<Body>, Response<Body>> {
        let (parts, body) = request.into_parts();
        let mut headers = HeaderMap::new();
        let policy = FORWARDED.iter().map(|name| HeaderName::from_static(name)).chain([COOKIE, RANGE]);
        let policy = policy.chain([self.distribution.version_header.clone()]);
        for name in policy.chain(self.distribution.forwarded.iter().cloned()) {
            for value in parts.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        if let Some(length) = parts.headers.get(CONTENT_LENGTH) {
            headers.insert(CONTENT_LENGTH, length.clone());
        }
        for value in parts.headers.get_all("x-forwarded-for") {
            headers.append("x-forwarded-for", value.clone());
        }
        serve::append_forwarded_for(&mut headers, &peer.ip().to_string());
        headers.insert(USER_AGENT, HeaderValue::from_static("Amazon CloudFront"));
        for (name, value) in [("via", self.via()), ("x-amz-cf-id", id.to_owned())] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        // A custom origin header replaces the viewer's of the same name.
        headers.insert(self.distribution.auth_header.clone(), self.distribution.secret.value());
        let authority = self.distribution.api.clone();
        let path =
            format!("{}{}", self.distribution.api_path, parts.uri.path_and_query().map_or("/", PathAndQuery::as_str));
        let Some(request) = origin_request(&parts.method, Scheme::HTTP, authority, path.parse().ok(), headers) else {
            return Err(error_page(StatusCode::BAD_REQUEST, "The request could not be forwarded."));
        };
        let request = request.map(|()| serve::streamed(body));
        let response = self.api.request(request).await.map_err(|_| bad_gateway())?;
        Ok(response.map(serve::streamed))
    }

    /// Sends a request to the second origin. An error is the error page for the viewer.
    async fn request_bucket(&self, request: Request<Incoming>) -> Result<Response<Body>, Response<Body>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(error_page(
                StatusCode::FORBIDDEN,
                "This distribution is not configured to allow the HTTP request method that was used for this request.",
            ));
        }
        let unsigned = |_| error_page(StatusCode::BAD_REQUEST, "The request could not be signed.");
        let (parts, _) = request.into_parts();
        let signed = self.sign(&parts.method, parts.uri.path(), &parts.headers).map_err(unsigned)?;
        let response = self.s3.request(signed).await.map_err(|_| bad_gateway())?;
        let mut response = response.map(serve::streamed);
        response.headers_mut().remove("x-amz-request-id");
        Ok(response)
    }

    /// Builds a request to the bucket, signed as by origin access control (`sigv4`, always).
    fn sign(&self, method: &Method, path: &str, viewer: &HeaderMap) -> Result<Request<Body>, BoxError> {
        let origin = &self.distribution.bucket;
        // S3 reads a `+` in a path as a space.
        let key = percent_decode_str(&path.replace('+', "%20")).decode_utf8()?.into_owned();
        let path = format!("/{}{}", origin.bucket, utf8_percent_encode(&key, KEY_ENCODED));
        let mut headers = HeaderMap::new();
        for name in [
            RANGE,
            http::header::IF_MATCH,
            http::header::IF_NONE_MATCH,
            http::header::IF_MODIFIED_SINCE,
            http::header::IF_UNMODIFIED_SINCE,
        ] {
            if let Some(value) = viewer.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        // S3 does not document If-Range. Without Range it returns the whole object, which is always correct
        // (RFC 9110 §13.1.5).
        if viewer.contains_key(http::header::IF_RANGE) {
            headers.remove(RANGE);
        }
        headers.insert(HOST, HeaderValue::from_str(origin.authority.as_str())?);
        let request =
            origin_request(method, origin.scheme.clone(), origin.authority.clone(), path.parse().ok(), headers)
                .ok_or("the URI is invalid")?;
        let identity = origin.credentials.clone().into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&origin.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()?
            .into();
        let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let uri = request.uri().to_string();
        let signable = SignableRequest::new(method.as_str(), uri, headers, SignableBody::Bytes(b""))?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let mut request = request.map(|()| serve::full(""));
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

/// A request to an origin; `None` if the URI is invalid.
fn origin_request(
    method: &Method,
    scheme: Scheme,
    authority: Authority,
    path: Option<PathAndQuery>,
    mut headers: HeaderMap,
) -> Option<Request<()>> {
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()?;
    let mut request = Request::builder().method(method).uri(uri).body(()).ok()?;
    // CloudFront removes Accept-Encoding unless the cache policy enables compression.
    headers.remove(ACCEPT_ENCODING);
    *request.headers_mut() = headers;
    Some(request)
}

fn bad_gateway() -> Response<Body> {
    error_page(StatusCode::BAD_GATEWAY, "CloudFront was not able to connect to the origin.")
}

fn error_page(status: StatusCode, text: &str) -> Response<Body> {
    let page = format!(
        "<!DOCTYPE html>\n<title>ERROR: The request could not be satisfied</title>\n<h1>{status}</h1>\n<p>{text}</p>\n"
    );
    let mut response = Response::new(serve::full(page));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response.headers_mut().insert("server", HeaderValue::from_static("CloudFront"));
    response
}

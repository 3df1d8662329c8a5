//! The requests to the two origins.

use std::net::SocketAddr;
use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, RANGE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::cloudfront::distribution::Distribution;
use crate::serve::{self, Body, BoxError, HttpClient};

/// The characters of a key that a signed path encodes: all except RFC 3986's unreserved characters and `/`.
const KEY_ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A distribution's clients for its origins.
#[derive(Debug, Clone)]
pub struct Origins {
    distribution: Distribution,
    api: HttpClient,
    s3: Client<HttpsConnector<HttpConnector>, Body>,
}

/// A request to the API.
#[derive(Debug)]
pub struct ApiRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path and the query string, without the origin path.
    pub path: &'a str,
    /// The viewer's request headers.
    pub viewer: &'a HeaderMap,
    /// Those that the behaviour forwards.
    pub forwarded: HeaderMap,
    /// The normalized Accept-Encoding.
    pub codings: Option<&'static str>,
    /// The viewer's address.
    pub peer: SocketAddr,
    /// The value of X-Amz-Cf-Id.
    pub id: &'a str,
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

impl Origins {
    /// The clients of a distribution.
    ///
    /// # Errors
    /// If S3 uses TLS and the system's root certificates cannot be read.
    pub fn new(distribution: Distribution) -> Result<Self, BoxError> {
        Ok(Self { api: serve::client(), s3: s3_client(&distribution.bucket.scheme)?, distribution })
    }

    /// Sends a request to the first origin. An error is the error page for the viewer.
    pub async fn request_api(&self, request: ApiRequest<'_>, body: Body) -> Result<Response<Body>, Response<Body>> {
        let ApiRequest { method, path, viewer, forwarded: mut headers, codings, peer, id } = request;
        if let Some(length) = viewer.get(CONTENT_LENGTH) {
            headers.insert(CONTENT_LENGTH, length.clone());
        }
        for value in viewer.get_all("x-forwarded-for") {
            headers.append("x-forwarded-for", value.clone());
        }
        serve::append_forwarded_for(&mut headers, &peer.ip().to_string());
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("Amazon CloudFront"));
        for (name, value) in [("via", self.distribution.via()), ("x-amz-cf-id", id.to_owned())] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        // CloudFront removes Accept-Encoding unless the cache policy enables compression.
        headers.remove(ACCEPT_ENCODING);
        if let Some(codings) = codings {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(codings));
        }
        // A custom origin header replaces the viewer's of the same name. A distribution that signs has none, as in deploy/aws.yaml.
        if self.distribution.origin_access.is_none() {
            headers.insert(self.distribution.auth_header.clone(), self.distribution.secret.value());
        }
        let authority = self.distribution.api.clone();
        let path = format!("{}{path}", self.distribution.api_path);
        if let Some(access) = &self.distribution.origin_access
            && access.sign(method, authority.as_str(), &path, viewer, &mut headers).is_err()
        {
            return Err(unsigned());
        }
        let Some(request) = origin_request(method, Scheme::HTTP, authority, path.parse().ok(), headers) else {
            return Err(error_page(StatusCode::BAD_REQUEST, "The request could not be forwarded."));
        };
        let response = self.api.request(request.map(|()| body)).await.map_err(|_| bad_gateway())?;
        Ok(response.map(serve::streamed))
    }

    /// Sends a request to the second origin. An error is the error page for the viewer.
    pub async fn request_bucket(
        &self,
        method: &Method,
        path: &str,
        viewer: &HeaderMap,
    ) -> Result<Response<Body>, Response<Body>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(method_not_allowed());
        }
        let signed = self.sign(method, path, viewer).map_err(|_| unsigned())?;
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
    headers: HeaderMap,
) -> Option<Request<()>> {
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()?;
    let mut request = Request::builder().method(method).uri(uri).body(()).ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

fn unsigned() -> Response<Body> {
    error_page(StatusCode::BAD_REQUEST, "The request could not be signed.")
}

fn bad_gateway() -> Response<Body> {
    error_page(StatusCode::BAD_GATEWAY, "CloudFront was not able to connect to the origin.")
}

/// The error page for a method that the behaviour does not allow.
pub fn method_not_allowed() -> Response<Body> {
    error_page(
        StatusCode::FORBIDDEN,
        "This distribution is not configured to allow the HTTP request method that was used for this request.",
    )
}

/// An error page of CloudFront.
pub fn error_page(status: StatusCode, text: &str) -> Response<Body> {
    let page = format!(
        "<!DOCTYPE html>\n<title>ERROR: The request could not be satisfied</title>\n<h1>{status}</h1>\n<p>{text}</p>\n"
    );
    let mut response = Response::new(serve::full(page));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response.headers_mut().insert("server", HeaderValue::from_static("CloudFront"));
    response
}

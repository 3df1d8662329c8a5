//! CloudFront: a distribution with two origins, the API and the bucket.
//!
//! [Request and response behaviour for custom origins](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html).
//!
//! - [`distribution`]: the configuration
//! - [`behavior`], [`forward`], [`viewer`]: what a cache behaviour forwards and returns
//! - [`limits`]: CloudFront's limits for a configuration
//! - [`cache`]: the cached responses
//! - [`origin`]: the requests to the origins

pub mod behavior;
pub mod cache;
pub mod distribution;
pub mod forward;
pub mod limits;
pub mod origin;
pub mod viewer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use futures_util::FutureExt;
use http::header::{COOKIE, RANGE, USER_AGENT};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::net::TcpListener;

use self::behavior::{Behavior, Behaviors, EXPERIMENT_HEADERS, Target};
use self::cache::answer::CONDITIONS;
use self::cache::key::Key;
use self::cache::{Cache, OriginRequest, OriginResponse, Source};
use self::distribution::Distribution;
use self::origin::{ApiRequest, Origins, error_page, method_not_allowed};
use crate::cloudwatch::MetricName;
use crate::identity;
use crate::journal::{RequestLine, Via};
use crate::serve::{self, Body, BoxError, Server};

/// The longest URL that CloudFront accepts
/// ([quotas](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html)).
const URL_BYTES_MAX: usize = 8_192;

/// The headers of the walk-through's origin request policy besides the variant's, and those that CloudFront always forwards.
const FORWARDED: [&str; 7] =
    ["redirect", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "content-type"];

#[derive(Clone)]
struct Edge {
    distribution: Distribution,
    origins: Origins,
    cache: Arc<Cache>,
}

/// A response, and how it came about.
struct Outcome {
    response: Response<Body>,
    source: Source,
    /// Whether the API has received the request, which then writes its line.
    reached_api: bool,
    /// Whether the CDN has responded without an origin, by its behaviours.
    edge_only: bool,
}

impl Outcome {
    fn page(response: Response<Body>) -> Self {
        Self { response, source: Source::Miss, reached_api: false, edge_only: false }
    }
}

/// Serves a distribution.
///
/// # Errors
/// If S3 uses TLS and the system's root certificates cannot be read.
pub fn serve(listener: TcpListener, distribution: Distribution) -> Result<Server, BoxError> {
    let cache = Cache::new(Arc::new(SystemTime::now));
    let edge = Edge { origins: Origins::new(distribution.clone())?, cache, distribution };
    Ok(serve::serve(listener, move |request, peer| {
        let edge = edge.clone();
        async move { Ok(edge.handle(request, peer).await) }
    }))
}

impl Edge {
    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let id = format!("{}==", identity::letters(54));
        let started = Instant::now();
        let path = request.uri().path();
        let behavior =
            self.distribution.behaviors.as_ref().and_then(|behaviors| Some((behaviors, behaviors.of(path)?)));
        let to_bucket =
            behavior.map_or_else(|| self.has_bucket_behaviour(path), |(_, behavior)| behavior.target == Target::Bucket);
        let mut line = RequestLine::of(
            &request,
            if to_bucket { Via::EdgeToBucket } else { Via::Edge },
            &self.distribution.version_header,
        );
        let head = request.method() == Method::HEAD;
        let url_bytes = request.uri().path_and_query().map_or(1, |path| path.as_str().len());
        let outcome = if url_bytes > URL_BYTES_MAX {
            Outcome::page(error_page(StatusCode::URI_TOO_LONG, "The URL is longer than 8,192 bytes."))
        } else if let Some((behaviors, behavior)) = behavior {
            self.respond(request, peer, &id, behaviors, behavior).await
        } else {
            let result =
                if to_bucket { self.pass_to_bucket(request).await } else { self.pass_to_api(request, peer, &id).await };
            let reached_api = result.is_ok() && !to_bucket;
            Outcome {
                response: result.unwrap_or_else(|page| page),
                source: Source::Miss,
                reached_api,
                edge_only: false,
            }
        };
        let Outcome { mut response, source, reached_api, edge_only } = outcome;
        let cache = match source {
            _ if response.status().is_client_error() || response.status().is_server_error() => "Error from cloudfront",
            Source::Hit => "Hit from cloudfront",
            Source::RefreshHit => "RefreshHit from cloudfront",
            Source::Miss => "Miss from cloudfront",
        };
        let headers = response.headers_mut();
        headers.insert("x-cache", HeaderValue::from_static(cache));
        headers.insert("x-amz-cf-pop", HeaderValue::from_static("LOCAL1-P1"));
        for (name, value) in [("via", self.distribution.via()), ("x-amz-cf-id", id)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        if edge_only {
            line.via = Via::EdgeOnly;
        }
        line.respond(&response);
        line.bytes = if head { 0 } else { response.body().size_hint().lower() };
        line.duration = started.elapsed();
        if !reached_api {
            self.distribution.journal.request(&line);
        }
        self.record_metrics(&line, source);
        response
    }

    /// Records the metrics of one request, including the additional metrics
    /// ([CloudFront metrics](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/programming-cloudwatch-metrics.html)).
    fn record_metrics(&self, line: &RequestLine, source: Source) {
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
        if source != Source::Hit {
            put("OriginLatency", line.duration.as_secs_f64() * 1e3);
        }
        if self.distribution.behaviors.is_some() {
            put("CacheHitRate", percent(source == Source::Hit));
        }
    }

    fn has_bucket_behaviour(&self, path: &str) -> bool {
        let first = path.strip_prefix('/').and_then(|path| path.split_once('/')).map(|(first, _)| first);
        first.is_some_and(|first| self.distribution.bucket_prefixes.iter().any(|prefix| prefix == first))
    }

    /// Sends a request to the API without caching. An error is the error page for the viewer.
    async fn pass_to_api(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        id: &str,
    ) -> Result<Response<Body>, Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let mut forwarded = HeaderMap::new();
        let policy = FORWARDED.iter().map(|name| HeaderName::from_static(name)).chain([COOKIE, RANGE]);
        let policy = policy.chain([self.distribution.version_header.clone()]);
        for name in policy.chain(self.distribution.forwarded.iter().cloned()) {
            for value in parts.headers.get_all(&name) {
                forwarded.append(name.clone(), value.clone());
            }
        }
        forwarded.remove(USER_AGENT);
        if self.distribution.experiments.load(Ordering::Relaxed) {
            viewer::describe(&mut parts.headers, peer);
            for name in EXPERIMENT_HEADERS.map(HeaderName::from_static) {
                forwarded.remove(&name);
                for value in parts.headers.get_all(&name) {
                    forwarded.append(name.clone(), value.clone());
                }
            }
        }
        let request = ApiRequest {
            method: &parts.method,
            path: parts.uri.path_and_query().map_or("/", PathAndQuery::as_str),
            viewer: &parts.headers,
            forwarded,
            codings: forward::codings(&parts.headers, self.distribution.codings),
            peer,
            id,
        };
        self.origins.request_api(request, serve::streamed(body)).await
    }

    /// Sends a request to the bucket without caching. An error is the error page for the viewer.
    async fn pass_to_bucket(&self, request: Request<Incoming>) -> Result<Response<Body>, Response<Body>> {
        self.origins.request_bucket(request.method(), request.uri().path(), request.headers()).await
    }

    /// Responds by a cache behaviour.
    async fn respond(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        id: &str,
        behaviors: &Behaviors,
        behavior: &Behavior,
    ) -> Outcome {
        let (mut parts, body) = request.into_parts();
        if !behavior.methods.contains(parts.method.as_str()) {
            return Outcome { edge_only: true, ..Outcome::page(method_not_allowed()) };
        }
        viewer::describe(&mut parts.headers, peer);
        let parts = Arc::new(parts);
        let forwarding = Arc::new(Forwarding::new(&parts, behavior, peer, id));
        let rules = behaviors.rules(behavior, &parts.method);
        let reached_api = Arc::new(AtomicBool::new(false));
        let (mut response, source) = if rules.caches_objects || rules.caches_errors {
            let (path, query) = (parts.uri.path(), parts.uri.query());
            let key = Key::of(&parts.method, path, query, &parts.headers, &behavior.cache);
            let (edge, reached, forwarding) = (self.clone(), reached_api.clone(), forwarding.clone());
            let origin = Arc::new(move |request: OriginRequest| {
                let (edge, reached, forwarding) = (edge.clone(), reached.clone(), forwarding.clone());
                async move { edge.request_origin(&forwarding, request, serve::full(""), &reached).await }.boxed()
            });
            self.cache.respond(key, &parts.headers, &rules, origin).await
        } else {
            let body = serve::streamed(body);
            let result = self.request_origin(&forwarding, OriginRequest::AsReceived, body, &reached_api).await;
            (result.response, Source::Miss)
        };
        viewer::remove_fields(response.headers_mut(), behavior);
        // A stale object that replaces an error is a hit too, but the origin has received the request.
        let reached_api = reached_api.load(Ordering::Relaxed);
        Outcome { response, source, reached_api, edge_only: source == Source::Hit && !reached_api }
    }

    async fn request_origin(
        &self,
        forwarding: &Forwarding,
        request: OriginRequest,
        body: Body,
        reached_api: &AtomicBool,
    ) -> OriginResponse {
        let Forwarding { parts, path, headers, codings, target, peer, id } = forwarding;
        let mut headers = headers.clone();
        if let OriginRequest::Revalidation(conditions) = request {
            for name in CONDITIONS {
                headers.remove(name);
            }
            headers.extend(conditions);
        }
        let result = match target {
            Target::Bucket => self.origins.request_bucket(&parts.method, parts.uri.path(), &headers).await,
            Target::Api => {
                let (method, viewer) = (&parts.method, &parts.headers);
                let request =
                    ApiRequest { method, path, viewer, forwarded: headers, codings: *codings, peer: *peer, id };
                let result = self.origins.request_api(request, body).await;
                reached_api.store(result.is_ok(), Ordering::Relaxed);
                result
            }
        };
        let reachable = result.is_ok();
        OriginResponse { response: result.unwrap_or_else(|page| page), reachable }
    }
}

/// A viewer's request as a behaviour forwards it.
struct Forwarding {
    parts: Arc<Parts>,
    path: String,
    headers: HeaderMap,
    codings: Option<&'static str>,
    target: Target,
    peer: SocketAddr,
    id: String,
}

impl Forwarding {
    fn new(parts: &Arc<Parts>, behavior: &Behavior, peer: SocketAddr, id: &str) -> Self {
        let path = parts.uri.path();
        Self {
            path: behavior
                .forwarded_query(parts.uri.query())
                .map_or(path.to_owned(), |query| format!("{path}?{query}")),
            headers: behavior.forwarded_headers(&parts.method, &parts.headers),
            codings: forward::codings(&parts.headers, behavior.cache.codings),
            target: behavior.target,
            peer,
            id: id.to_owned(),
            parts: parts.clone(),
        }
    }
}

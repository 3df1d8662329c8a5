//! Requests to the real origin, over the objects of a folder instead of S3.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::HOST;
use http::{HeaderValue, Request};
use nearedge::config::Config;
use nearedge::origin::{Origin, Site};
use nearedge_core::request::event::parse_visit;
use nearedge_core::request::header_names::VERSION_HEADER;
use nearedge_core::request::visit::Visit;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use crate::gateway::door::{Api, Door};
use crate::gateway::event::build;
use crate::gateway::event::received::{ReceivedRequest, Unroutable};
use crate::rules::object::{FolderStore, Objects};

/// The secret of the tried function. It opens nothing else.
const SECRET: &str = "assumed";

/// Characters that no URL contains as such (RFC 3986 §2).
const URL_ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'{').add(b'}');

/// The longest time that a request may take. No request waits.
const DEADLINE: Duration = Duration::from_secs(60);

/// The variables that Lambda sets.
const LAMBDA: [(&str, &str); 6] = [
    ("AWS_LAMBDA_RUNTIME_API", "local"),
    ("AWS_LAMBDA_FUNCTION_NAME", "nearedge"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
    ("AWS_REGION", "us-east-1"),
    ("bucket", "the-site"),
];

/// A request for a trial.
#[derive(Debug, Clone)]
pub(super) struct TrialRequest<'a> {
    /// The method.
    pub(super) method: &'a str,
    /// The host that the viewer requested.
    pub(super) host: &'a str,
    /// The path and the query string, percent-encoded.
    pub(super) target: String,
    /// The header fields.
    pub(super) headers: &'a [(String, String)],
}

impl<'a> TrialRequest<'a> {
    /// A GET.
    pub(super) fn get(host: &'a str, target: &str, headers: &'a [(String, String)]) -> Self {
        Self { method: "GET", host, target: encode(target), headers }
    }
}

/// A response.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    /// The status.
    pub(super) status: u16,
    /// The name of the outcome, as in logs and metrics.
    pub(super) outcome: &'static str,
    /// The version of the request.
    pub(super) variant: Option<String>,
    /// The header fields, sorted by name.
    pub(super) headers: Vec<(String, String)>,
    /// The values of Set-Cookie.
    pub(super) cookies: Vec<String>,
}

impl Reply {
    /// The value of a header field.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// The origin of a site.
#[derive(Debug)]
pub(super) struct Trial {
    origin: Origin<FolderStore>,
    /// The settings of the function.
    pub(super) config: Config,
    version_header: String,
}

impl Trial {
    /// The origin over these objects with these settings, the last value of a setting first in rank. `site` is its usual
    /// address.
    ///
    /// # Errors
    /// If a setting is invalid: a message in one line.
    pub(super) fn new(objects: &Arc<Objects>, site: &str, settings: &[(String, String)]) -> Result<Self, String> {
        let config = Config::from_env(|name| {
            let set = settings.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
            let default = || LAMBDA.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            match name {
                "lambda_auth" => Some(SECRET.to_owned()),
                "redirect_path" => set.or_else(|| Some(site.to_owned())),
                _ => set.or_else(default),
            }
        });
        let config = config.map_err(|error| error.to_string())?;
        let set = settings.iter().rev().find(|(name, value)| name == "version_header" && !value.trim().is_empty());
        let version_header = set.map_or(VERSION_HEADER, |(_, value)| value.trim()).to_ascii_lowercase();
        let store = FolderStore(objects.clone());
        let site = Site::new(config.site.clone());
        site.load(&store, Instant::now() + DEADLINE).now_or_never().ok_or("the files were not loaded at once")?;
        let (policy, presentation) = (config.policy.clone(), config.presentation.clone());
        let origin = Origin::new(store, policy, presentation, config.exceptions.clone()).with_site(site);
        Ok(Self { origin, config, version_header })
    }

    /// The event of a request, as API Gateway builds it behind CloudFront.
    ///
    /// # Errors
    /// If no such request can be sent: the reason in one line.
    pub(super) fn event(&self, request: &TrialRequest<'_>) -> Result<Vec<u8>, String> {
        let mut builder = Request::builder().method(request.method).uri(&request.target);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let (mut parts, ()) = builder.body(()).map_err(|error| error.to_string())?.into_parts();
        let host = HeaderValue::from_str(request.host).map_err(|_| format!("invalid host {}", request.host))?;
        parts.headers.insert(HOST, host);
        // An API with a domain name of the site sees the viewer's host.
        let api =
            Api { domain_name: request.host.to_owned(), ..Api::new("api", "us-east-1", "$default", Door::HttpApi) };
        let (source_ip, request_id) = (IpAddr::V4(Ipv4Addr::LOCALHOST), "explained");
        let received = ReceivedRequest { parts: &parts, body: &Bytes::new(), source_ip, request_id, signed_by: None };
        let event = build(&api, &received).map_err(|error| match error {
            Unroutable::BadPath => "the path is not percent-encoded UTF-8: API Gateway responds with 400".to_owned(),
            Unroutable::NoRoute => "the path has no route".to_owned(),
        })?;
        Ok(event.to_string().into_bytes())
    }

    /// The request of an event, and the visit that it fills.
    ///
    /// # Errors
    /// If the event is invalid.
    pub(super) fn parse<'e>(
        &self,
        event: &'e [u8],
        visit: &mut Visit<'e>,
    ) -> Result<nearedge_core::request::Request<'e>, String> {
        let mut request = parse_visit(event, visit).map_err(|error| error.to_string())?;
        if let Some(names) = &self.config.header_names {
            names.apply(event, &mut request);
        }
        request.lambda_auth = Some(SECRET.into());
        Ok(request)
    }

    /// The name of the header with which a client states a version.
    pub(super) fn version_header(&self) -> &str {
        &self.version_header
    }

    /// Responds to a request.
    ///
    /// # Errors
    /// If no such request can be sent: the reason in one line.
    pub(super) fn respond(&self, request: &TrialRequest<'_>) -> Result<Reply, String> {
        let event = self.event(request)?;
        let detail = self.origin.visit_detail();
        let mut visit = Visit::with_detail(detail.unwrap_or_default());
        let request = self.parse(&event, &mut visit)?;
        let visit = detail.is_some().then_some(&visit);
        let response = self.origin.respond(&request, visit, Instant::now() + DEADLINE).now_or_never();
        let response = response.ok_or("the origin waited for something other than the folder")?;
        let payload: Vec<u8> = response.payload.parts().iter().flatten().copied().collect();
        let payload: Value = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
        let headers = payload["headers"].as_object().into_iter().flatten();
        let mut headers: Vec<(String, String)> = headers
            .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        headers.sort();
        let cookies = payload["cookies"].as_array().into_iter().flatten();
        Ok(Reply {
            status: response.record.status,
            outcome: response.record.outcome,
            variant: response.record.variant().map(str::to_owned),
            headers,
            cookies: cookies.filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }
}

/// A URL with the characters encoded that none contains; what is encoded already stays.
pub(super) fn encode(url: &str) -> String {
    utf8_percent_encode(url, URL_ENCODED).to_string()
}

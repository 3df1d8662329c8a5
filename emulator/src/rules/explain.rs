//! `rules explain`: what the real origin does with a request, stage by stage.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use http::Uri;
use nearedge_core::access::known::KnownTokens;
use nearedge_core::access::query::remove;
use nearedge_core::experiment::assign::Experiments;
use nearedge_core::experiment::cookie::ID_BYTES;
use nearedge_core::request::Request;
use nearedge_core::request::visit::{Detail, Visit};
use nearedge_core::rules::{AccessControl, Active, Decision, RequestViewer, decide};

use crate::mask::mask;
use crate::policy::command::name_and_value;
use crate::rules::explained::Explained;
use crate::rules::explanation::Explanation;
use crate::rules::site::{Site, Sources, Unreadable};
use crate::rules::stage;
use crate::rules::trial::{Reply, TrialRequest, encode};

/// The most responses that are tried until one is for the same variation as the explained decision.
const VISITORS_MAX: usize = 2_000;

/// The arguments of `rules explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The URL, or a path of the site
    #[arg(value_name = "URL")]
    url: String,
    /// The folder of the site
    #[arg(long, value_name = "DIR", default_value = ".")]
    site: PathBuf,
    /// A header field of the request, such as 'accept: text/html' or 'cloudfront-viewer-country: CN'; repeatable
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// A cookie of the request; repeatable
    #[arg(long = "cookie", value_name = "NAME=VALUE", value_parser = name_and_value)]
    cookies: Vec<(String, String)>,
    /// The method of the request
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A setting of the function, such as html_handling=auto-trailing-slash; repeatable
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = name_and_value)]
    settings: Vec<(String, String)>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Parses `NAME: VALUE`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE, such as 'accept: text/html'")?;
    match name.trim().parse::<http::HeaderName>() {
        Ok(name) => Ok((name.as_str().to_owned(), value.trim().to_owned())),
        Err(_) => Err(format!("expected the name of a header field, found {name:?}")),
    }
}

/// Runs the command.
pub(super) fn run(arguments: &Explain) -> ExitCode {
    match arguments.explain() {
        Ok(explanation) => {
            let mut out = io::stdout().lock();
            let mut text = Vec::new();
            let written = match arguments.json {
                true => writeln!(text, "{}", explanation.json()),
                false => explanation.write(&mut text),
            };
            // A redirect of an open path carries the whole query on.
            let written = written.and_then(|()| out.write_all(mask(&String::from_utf8_lossy(&text)).as_bytes()));
            if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(Unreadable(reason)) => {
            drop(writeln!(io::stderr(), "rules explain: {}", mask(&reason)));
            ExitCode::from(2)
        }
    }
}

impl Explain {
    fn explain(&self) -> Result<Explanation, Unreadable> {
        if !self.site.is_dir() {
            return Err(Unreadable(format!(
                "{} is not a folder: name the folder of the site with --site",
                self.site.display()
            )));
        }
        let (scheme, host, target) = split(&self.url).map_err(Unreadable)?;
        let mut sources = Sources::read(std::slice::from_ref(&self.site))?;
        sources.shorten_names(&self.site);
        let (site, _) = sources.parse(&format!("{scheme}://{host}"), &self.settings)?;
        let mut headers = self.headers.clone();
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            headers.push(("cookie".to_owned(), cookies.join("; ")));
        }
        let trial = TrialRequest { method: &self.method, host: &host, target: target.clone(), headers: &headers };
        let event = site.trial.event(&trial).map_err(Unreadable)?;
        let mut visit = Visit::with_detail(Detail::Attributes);
        let complete = site.trial.parse(&event, &mut visit).map_err(Unreadable)?;
        let policy = &site.trial.config.policy;
        let viewer = RequestViewer::new(&complete, &visit, policy.site());
        let request = without_tokens(&site, &complete);
        let known = KnownTokens::new();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let settings = site.trial.config.site.experiments.as_ref().map(|config| &config.settings);
        let experiments = settings.map(|settings| Experiments {
            definition: site.definition(),
            settings,
            visit: &visit,
            new_id: &new_id,
        });
        let access = site.access.as_ref().map(|file| AccessControl { rules: file.parsed.as_ref(), known: &known, now });
        let redirects = site.redirects().map(|(_, redirects)| redirects);
        let decision = decide(&request, policy, Active { experiments, redirects, access, viewer: Some(&viewer) });
        let reply = reply(&site, &trial, &decision).map_err(Unreadable)?;
        let explained = Explained {
            site: &site,
            complete: &complete,
            request: &request,
            viewer: &viewer,
            decision: &decision,
            now,
        };
        let url = format!("{scheme}://{host}{}", without_values(&site, &complete.path, &target));
        Ok(Explanation { method: self.method.clone(), url, stages: stage::all(&explained), reply })
    }
}

/// The scheme, the host, and the encoded path with the query of a URL.
fn split(url: &str) -> Result<(String, String, String), String> {
    let url = encode(url.split('#').next().unwrap_or_default());
    if url.starts_with('/') {
        return Ok(("https".to_owned(), "site.example".to_owned(), url));
    }
    let expected = || format!("expected a URL such as https://www.example.com/a, or a path, found {url:?}");
    let uri: Uri = url.parse().map_err(|_| expected())?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
    let (Some(scheme), Some(host)) = (scheme, uri.authority()) else { return Err(expected()) };
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
    Ok((scheme.to_owned(), host.as_str().to_owned(), target))
}

/// The request that the stages after access see: without the parameters with tokens and signatures.
fn without_tokens<'a>(site: &Site, request: &Request<'a>) -> Request<'a> {
    let parameters = site.access().map(|(_, rules)| rules.parameters(&request.path)).unwrap_or_default();
    let query = remove(&request.query, &parameters).into_owned();
    Request { query: query.into(), ..request.clone() }
}

/// A path and a query in which the values of tokens and signatures are replaced.
fn without_values(site: &Site, path: &str, target: &str) -> String {
    let Some((start, query)) = target.split_once('?') else { return target.to_owned() };
    let parameters = site.access().map(|(_, rules)| rules.parameters(path)).unwrap_or_default();
    let pairs = query.split('&').map(|pair| match remove(pair, &parameters) {
        Cow::Borrowed(_) => pair.to_owned(),
        Cow::Owned(_) => format!("{}=…", pair.split('=').next().unwrap_or_default()),
    });
    format!("{start}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// The response of the origin. New visitors are assigned at random, so it is asked until it decides the same.
fn reply(site: &Site, request: &TrialRequest<'_>, decision: &Decision<'_>) -> Result<Reply, String> {
    let assignment = decision.assignment.as_ref();
    let timing = assignment.and_then(|assignment| assignment.personal.server_timing.as_deref());
    let timing = timing.map(|timing| timing.replace("\\\"", "\""));
    let mut reply = site.trial.respond(request)?;
    for _ in 0..VISITORS_MAX {
        if reply.variant.as_deref() == decision.variant && reply.header("server-timing") == timing.as_deref() {
            break;
        }
        reply = site.trial.respond(request)?;
    }
    Ok(reply)
}

/// Random bytes for the id of a new visitor.
fn new_id() -> Option<[u8; ID_BYTES]> {
    let mut random = [0; ID_BYTES];
    fastrand::Rng::new().fill(&mut random);
    Some(random)
}

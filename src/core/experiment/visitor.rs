//! A visitor, as a request describes one.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use smallvec::SmallVec;

use crate::experiment::assignment::Assignments;
use crate::experiment::attribute::{Attribute, Attributes, Field, Operand, Used};
use crate::experiment::bot::is_bot;
use crate::experiment::client::{browser, system};
use crate::experiment::evaluation::{Assigned, Hashed, Sticky, Visitor};
use crate::experiment::settings::ExperimentSettings;
use crate::experiment::spec::Experiment;
use crate::experiment::url::{parameter, query_string_override};
use crate::experiment::value::{Found, Value};
use crate::request::Request;
use crate::request::visit::Visit;

/// The characters that a path in a URL encodes (RFC 3986 §3.3); the path of a request is decoded.
const PATH_ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// A participation in an experiment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Participation<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) variation: usize,
    /// Whether the request forces the variation.
    pub(super) forced: bool,
}

/// A visitor.
pub(super) struct RequestVisitor<'a, 'i> {
    request: &'a Request<'a>,
    visit: &'a Visit<'a>,
    settings: &'a ExperimentSettings,
    id: Option<&'i str>,
    /// The claims of the visitor's token.
    claims: Option<&'i Value>,
    url: OnceCell<String>,
    pub(super) assignments: RefCell<Assignments<'a>>,
    pub(super) participations: RefCell<SmallVec<[Participation<'a>; 4]>>,
    used: Cell<Used>,
}

impl<'a, 'i> RequestVisitor<'a, 'i> {
    pub(super) fn new(
        request: &'a Request<'a>,
        visit: &'a Visit<'a>,
        settings: &'a ExperimentSettings,
        id: Option<&'i str>,
        claims: Option<&'i Value>,
        assignments: Assignments<'a>,
    ) -> Self {
        Self {
            request,
            visit,
            settings,
            id,
            claims,
            url: OnceCell::new(),
            assignments: RefCell::new(assignments),
            participations: RefCell::default(),
            used: Cell::default(),
        }
    }

    /// What the evaluation has used so far.
    pub(super) fn used(&self) -> Used {
        self.used.get()
    }

    fn note(&self, more: Used) {
        self.used.set(self.used.get().with(more));
    }

    /// The value of a field.
    fn value(&self, field: &Field) -> Operand<'_> {
        fn borrowed(text: &str) -> Operand<'_> {
            Operand::Text(Cow::Borrowed(text))
        }
        fn optional(value: Option<Cow<'_, str>>) -> Operand<'_> {
            value.map_or(Operand::Null, Operand::Text)
        }
        let visit = self.visit;
        match field {
            Field::Id => self.id.map_or(Operand::Null, borrowed),
            Field::Url => Operand::Text(Cow::Owned(self.full_url())),
            Field::Host => Operand::Text(self.host()),
            Field::Path => borrowed(&self.request.path),
            Field::Query(name) => optional(parameter(&self.request.query, name)),
            Field::Cookie(name) => self.visit.cookies.get(name).map_or(Operand::Null, borrowed),
            Field::Header(name) => optional(self.visit.header(name)),
            Field::Country => optional(visit.field(&visit.country, "cloudfront-viewer-country")),
            Field::Region => optional(visit.field(&visit.region, "cloudfront-viewer-country-region")),
            Field::City => {
                let city = visit.field(&visit.city, "cloudfront-viewer-city");
                // CloudFront percent-encodes names that are not ASCII.
                optional(city.map(|city| Cow::Owned(percent_decode_str(&city).decode_utf8_lossy().into_owned())))
            }
            Field::DeviceType => self.device_type().map_or(Operand::Null, borrowed),
            Field::Language => {
                optional(visit.field(&visit.accept_language, "accept-language").and_then(first_language))
            }
            Field::Browser => visit.user_agent().map_or(Operand::Null, |agent| borrowed(browser(&agent))),
            Field::Os => visit.user_agent().map_or(Operand::Null, |agent| borrowed(system(&agent))),
            Field::Bot => Operand::Bool(self.is_bot()),
            Field::Referrer => optional(visit.field(&visit.referer, "referer")),
            Field::Utm(name) => optional(parameter(&self.request.query, name)),
            Field::Claim(path) => match self.claims.map(|claims| claims.at_path(path)) {
                None => Operand::Null,
                Some(Found::Value(value)) => value.into(),
                Some(Found::Length(length)) => Operand::Number(length as f64),
            },
        }
    }

    /// The text of a field for log lines; `None` if it is absent, or contains the secret.
    pub(super) fn text(&self, field: &Field) -> Option<Cow<'_, str>> {
        let Operand::Text(text) = self.value(field) else { return None };
        let contains_secret = self.request.lambda_auth.as_deref().is_some_and(|secret| text.contains(secret));
        (!contains_secret && !text.is_empty()).then_some(text)
    }

    /// Notes that the answer depends on what neither the assignments nor the CDN's cache key contain.
    pub(super) fn uncacheable(&self) {
        self.note(Used { uncacheable: true, ..Used::default() });
    }

    /// Whether the client is a known bot.
    pub(super) fn is_bot(&self) -> bool {
        self.visit.user_agent().is_some_and(|user_agent| is_bot(&user_agent, &self.settings.bots))
    }

    fn device_type(&self) -> Option<&'static str> {
        let visit = self.visit;
        [
            (&visit.is_tv, "cloudfront-is-smarttv-viewer", "tv"),
            (&visit.is_tablet, "cloudfront-is-tablet-viewer", "tablet"),
            (&visit.is_mobile, "cloudfront-is-mobile-viewer", "mobile"),
            (&visit.is_desktop, "cloudfront-is-desktop-viewer", "desktop"),
        ]
        .into_iter()
        .find_map(|(flag, header, name)| (visit.field(flag, header)? == "true").then_some(name))
    }

    /// The host of the site.
    fn host(&self) -> Cow<'_, str> {
        self.visit.site_host(&self.settings.site)
    }

    fn full_url(&self) -> String {
        let scheme = self.settings.site.split_once("://").map_or("https", |(scheme, _)| scheme);
        let mut url = String::with_capacity(self.request.path.len() + self.request.query.len() + 64);
        // Writing to a String cannot fail.
        let _ = write!(url, "{scheme}://{}", self.host());
        url.extend(utf8_percent_encode(&self.request.path, PATH_ENCODED));
        if !self.request.query.is_empty() {
            url.push('?');
            url.push_str(&self.request.query);
        }
        url
    }

    fn operand(&self, attribute: &Attribute) -> Operand<'_> {
        attribute.field.as_ref().map_or(Operand::Null, |field| self.value(field))
    }
}

impl Attributes for RequestVisitor<'_, '_> {
    fn tested(&self, attribute: &Attribute) -> Operand<'_> {
        self.note(attribute.if_tested);
        self.operand(attribute)
    }

    fn hashed(&self, attribute: &Attribute) -> Operand<'_> {
        self.note(attribute.if_hashed);
        self.operand(attribute)
    }
}

impl<'a> Visitor<'a> for RequestVisitor<'a, '_> {
    fn url(&self) -> &str {
        self.url.get_or_init(|| self.full_url())
    }

    fn forced(&self, experiment: &'a Experiment) -> Option<i64> {
        if !self.settings.preview || self.request.query.is_empty() {
            return None;
        }
        let variation = query_string_override(&experiment.key, &self.request.query, experiment.variations.len())?;
        self.uncacheable();
        self.take_part(experiment, variation, true, false);
        variation.try_into().ok()
    }

    fn sticky(&self, experiment: &'a Experiment, _: &Hashed<'_>) -> Sticky {
        self.assignments.borrow().sticky(&experiment.label)
    }

    fn assigned(&self, assigned: &Assigned<'a>, _: &Hashed<'_>) {
        if assigned.in_experiment {
            self.take_part(assigned.experiment, assigned.variation, false, assigned.sticky_used);
        }
    }

    fn tested_query(&self) {
        if !self.settings.has_cache_key("url") {
            self.uncacheable();
        }
    }

    fn decided_by_hash(&self) {
        self.uncacheable();
    }
}

impl<'a> RequestVisitor<'a, '_> {
    /// Notes a participation, which is the visitor's assignment from now on if it was not before.
    fn take_part(&self, experiment: &'a Experiment, variation: usize, forced: bool, is_known: bool) {
        if !is_known {
            self.assignments.borrow_mut().put(&experiment.label, variation);
        }
        let mut participations = self.participations.borrow_mut();
        if !participations.iter().any(|known| known.experiment.label.key == experiment.label.key) {
            participations.push(Participation { experiment, variation, forced });
        }
    }
}

/// The first language of Accept-Language.
fn first_language(list: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let first = |list: &str| list.split([',', ';']).next().map_or(0, str::len);
    let language = match list {
        Cow::Borrowed(list) => Cow::Borrowed(list[..first(list)].trim()),
        Cow::Owned(list) => Cow::Owned(list[..first(&list)].trim().to_owned()),
    };
    (!language.is_empty()).then_some(language)
}

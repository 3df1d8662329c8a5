use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::request::door::Door;
use crate::request::event::{convert, parse, parse_visit};
use crate::request::visit::{Detail, Visit};
use crate::request::{Method, Request};

fn bytes(event: &Value) -> Vec<u8> {
    event.to_string().into_bytes()
}

/// Checks the request of an event, as the invocation loop parses it.
fn with_request(event: &Value, check: impl FnOnce(&Request<'_>, &Visit<'_>)) {
    with_request_of(&bytes(event), check);
}

fn with_request_of(event: &[u8], check: impl FnOnce(&Request<'_>, &Visit<'_>)) {
    let converted = convert(event);
    let mut visit = Visit::with_detail(Detail::Attributes);
    match (parse_visit(event, &mut visit), &converted) {
        (Ok(request), _) => check(&request, &visit),
        (Err(_), Some((event, door))) => {
            let request = parse_visit(event, &mut visit).unwrap();
            check(&Request { door: *door, ..request }, &visit);
        }
        (Err(error), None) => panic!("{error}"),
    }
}

fn path_of(event: &Value) -> String {
    let mut path = String::new();
    with_request(event, |request, _| path = request.path.to_string());
    path
}

#[derive(serde::Deserialize)]
struct Case {
    source: String,
    expected: Value,
    /// Unparsed, because a [`Value`] sorts its members.
    event: Box<serde_json::value::RawValue>,
}

/// The name of a door in the suite.
fn name(door: Door) -> &'static str {
    match door {
        Door::HttpApi | Door::HttpApiFormat1 => "http_api",
        Door::FunctionUrl { .. } => "function_url",
        Door::RestApi => "rest_api",
        Door::LoadBalancer { .. } => "load_balancer",
        Door::Lattice => "lattice",
    }
}

/// The events of aws_lambda_events 1.2.1 and lambda_http 1.3.2 (MIT or Apache-2.0), without what the origin does not read.
#[test]
fn the_events_of_other_projects_are_understood() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/suites/door_events.json")).unwrap();
    let mut doors = BTreeSet::new();
    for Case { source, expected, event } in &cases {
        with_request_of(event.get().as_bytes(), |request, visit| {
            let method = match request.method {
                Method::Get => "GET",
                _ => &request.other_method,
            };
            assert_eq!(
                (name(request.door), method),
                (expected["door"].as_str().unwrap(), expected["method"].as_str().unwrap())
            );
            assert_eq!(
                (&*request.path, &*request.query),
                (expected["path"].as_str().unwrap(), expected["query"].as_str().unwrap()),
                "{source}"
            );
            if let Some(lists) = expected.get("lists") {
                assert_eq!(json!(request.door == Door::LoadBalancer { multi_value: true }), *lists, "{source}");
            }
            if let Some([name, value]) = expected["header"].as_array().map(Vec::as_slice) {
                assert_eq!(visit.header(name.as_str().unwrap()).as_deref(), value.as_str(), "{source}");
            }
            for cookie in expected["cookies"].as_array().unwrap() {
                let (name, value) = cookie.as_str().unwrap().split_once('=').unwrap_or(("", ""));
                assert_eq!(visit.cookies.get(name), Some(value).filter(|_| !name.is_empty()), "{source}");
            }
            doors.insert(name(request.door));
        });
    }
    assert_eq!(doors.len(), 5, "a door without an event: {doors:?}");
}

#[test]
fn a_field_of_a_visit_is_read_once() {
    let headers =
        json!({"authorization": "Bearer a", "user-agent": "x", "sec-fetch-dest": "document", "cookie": "a=1"});
    let event = json!({
        "resource": "/", "path": "/", "httpMethod": "GET", "headers": headers, "requestContext": {"stage": "prod", "path": "/prod/"},
    });
    with_request(&event, |_, visit| {
        let fields = [&visit.authorization, &visit.user_agent, &visit.sec_fetch_dest].map(Option::as_deref);
        assert_eq!(fields, [Some("Bearer a"), Some("x"), Some("document")]);
        assert_eq!(visit.cookies.get("a"), Some("1"));
    });
}

fn rest(path: &str, resource: &str, proxy: Option<&str>) -> Value {
    json!({
        "resource": resource, "path": path, "httpMethod": "GET", "pathParameters": proxy.map(|proxy| json!({"proxy": proxy})),
        "multiValueHeaders": {"Lambda_Auth": ["a"], "Test_Version": ["v1"]},
        "requestContext": {"stage": "prod", "path": format!("/prod{path}")},
    })
}

#[test]
fn the_base_path_of_a_custom_domain_is_removed() {
    for (path, resource, proxy, expected) in [
        ("/test.html", "/{proxy+}", Some("test.html"), "/test.html"),
        ("/shop/test.html", "/{proxy+}", Some("test.html"), "/test.html"),
        ("/shop/eu/a/b", "/{proxy+}", Some("a/b"), "/a/b"),
        ("/shop/shop/x", "/{proxy+}", Some("shop/x"), "/shop/x"),
        ("/shop/docs/", "/{proxy+}", Some("docs"), "/docs/"),
        ("/shop/a%20b", "/{proxy+}", Some("a b"), "/a b"),
        ("/shop/a%20b", "/{proxy+}", Some("a%20b"), "/a b"),
        ("/shop/site/x", "/site/{proxy+}", Some("x"), "/site/x"),
        ("//x", "/{proxy+}", Some("x"), "//x"),
        ("/shop//x", "/{proxy+}", Some("x"), "//x"),
        ("/shop", "/", None, "/"),
        ("/shop/", "/", None, "/"),
        ("/", "/", None, "/"),
        ("/prod/x", "/{proxy+}", Some("prod/x"), "/prod/x"),
        ("/x", "/{id}", None, "/x"),
    ] {
        assert_eq!(path_of(&rest(path, resource, proxy)), expected, "{path} {resource} {proxy:?}");
    }
}

#[test]
fn payload_format_1_of_an_http_api_has_a_decoded_path_with_its_stage() {
    let event = |path: &str, stage: &str| {
        let mut event = rest(path, "$default", None);
        event["version"] = json!("1.0");
        event["requestContext"]["stage"] = json!(stage);
        path_of(&event)
    };
    assert_eq!(event("/prod/a%20b", "prod"), "/a%20b");
    assert_eq!(event("/production/a", "prod"), "/production/a");
    assert_eq!(event("/prod", "prod"), "/");
    assert_eq!(event("/prod/a", "$default"), "/prod/a");
}

#[test]
fn a_repeated_secret_is_joined_and_so_refused() {
    let mut event = rest("/", "/", None);
    event["multiValueHeaders"]["lambda_auth"] = json!(["open", "open"]);
    with_request(&event, |request, _| {
        let presented = request.lambda_auth.as_deref().unwrap();
        assert!(presented.contains(',') && presented.contains("open"), "{presented}");
    });
}

#[test]
fn an_event_with_an_odd_type_is_of_no_door() {
    for change in [
        json!({"httpMethod": 5}),
        json!({"path": null}),
        json!({"multiValueHeaders": "x"}),
        json!({"multiValueHeaders": {"a": [5]}}),
        json!({"requestContext": null}),
        json!({"queryStringParameters": {"a": {}}}),
    ] {
        let mut event = rest("/", "/", None);
        for (name, value) in change.as_object().unwrap() {
            event[name] = value.clone();
        }
        assert!(convert(&bytes(&event)).is_none() && parse(&bytes(&event)).is_err(), "{change}");
    }
}

proptest! {
    // A viewer chooses path, query and headers.
    #[test]
    fn every_path_of_a_viewer_is_decoded_once(path in "(/[^?]{0,12}){1,3}", lists in any::<bool>()) {
        let encoded = percent_encoding::utf8_percent_encode(&path, percent_encoding::NON_ALPHANUMERIC).to_string();
        let headers = if lists { "multiValueHeaders" } else { "headers" };
        let value = if lists { json!(["h"]) } else { json!("h") };
        let event = json!({
            "path": encoded, "httpMethod": "GET", headers: {"host": value}, "requestContext": {"elb": {}},
        });
        prop_assert_eq!(path_of(&event), path);
    }

    #[test]
    fn a_query_of_a_rest_api_keeps_every_name_and_value(
        pairs in prop::collection::vec(("(?s:.){1,6}", "(?s:.){0,6}"), 0..4),
    ) {
        let mut event = rest("/", "/", None);
        let lists: serde_json::Map<String, Value> = pairs.iter().map(|(name, value)| (name.clone(), json!([value]))).collect();
        event["multiValueQueryStringParameters"] = json!(lists);
        with_request(&event, |request, _| {
            let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
            let parts = request.query.split('&').filter(|part| !part.is_empty());
            let read: Vec<(String, Value)> = parts
                .map(|part| part.split_once('=').unwrap())
                .map(|(name, value)| (decode(name), json!([decode(value)])))
                .collect();
            assert_eq!(serde_json::Map::from_iter(read), lists);
        });
    }
}

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn event() -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/a b.html",
        "rawQueryString": "x=%20",
        "cookies": ["lambda_auth=nonsense"],
        "headers": {"lambda_auth": "open", "host": "h", "test_version": "v1", "accept": "*/*"},
        "requestContext": {
            "domainName": "abc.execute-api.us-east-1.amazonaws.com",
            "stage": "$default",
            "http": {"method": "GET", "path": "/a b.html"},
        },
        "isBase64Encoded": false,
    })
}

fn with(pointer: &str, value: Value) -> Vec<u8> {
    let mut event = event();
    *event.pointer_mut(pointer).unwrap() = value;
    serde_json::to_vec(&event).unwrap()
}

fn path_of(event: &[u8]) -> String {
    parse(event).unwrap().path.into_owned()
}

fn error_of(event: &[u8]) -> String {
    parse(event).unwrap_err().to_string()
}

#[test]
fn an_http_api_event_is_parsed_without_copying() {
    let event = serde_json::to_vec(&event()).unwrap();
    let request = parse(&event).unwrap();
    let expected = Request {
        method: Method::Get,
        path: "/a b.html".into(),
        query: "x=%20".into(),
        lambda_auth: Some("open".into()),
        test_version: Some("v1".into()),
        accept: Some("*/*".into()),
        ..Request::default()
    };
    assert_eq!(request, expected);
    assert!(matches!(request.path, Cow::Borrowed(_)));
    assert!(matches!(request.lambda_auth, Some(Cow::Borrowed(_))));
}

#[test]
fn a_refused_method_keeps_its_name() {
    for (name, expected) in [("POST", "POST"), ("PURGE", "PURGE"), ("get", "get"), ("", "")] {
        let event = with("/requestContext/http/method", json!(name));
        let request = parse(&event).unwrap();
        assert_eq!((request.method, &*request.other_method), (Method::Other, expected));
    }
    assert_eq!(parse(&with("/requestContext/http/method", json!("HEAD"))).unwrap().other_method, "");
}

#[test]
fn every_path_is_percent_decoded_exactly_once() {
    assert_eq!(path_of(&with("/rawPath", json!("/100%25+b"))), "/100%25+b");
    let mut url = event();
    url["requestContext"]["domainName"] = json!("abc.lambda-url.us-east-1.on.aws");
    url["rawPath"] = json!("/100%2525+b%3Fc/%E6%97%A5");
    assert_eq!(path_of(&serde_json::to_vec(&url).unwrap()), "/100%25+b?c/日");
    url["rawPath"] = json!("/%ff");
    assert_eq!(path_of(&serde_json::to_vec(&url).unwrap()), "/\u{fffd}");
}

#[test]
fn only_the_prefix_of_a_named_stage_is_removed() {
    for (stage, raw_path, expected) in [
        ("prod", "/prod/test.html", "/test.html"),
        ("prod", "/prod", ""),
        ("prod", "/prod/", "/"),
        ("prod", "/production/x", "/production/x"),
        ("prod", "/prod/prod/x", "/prod/x"),
        ("$default", "/$default/x", "/$default/x"),
    ] {
        let mut event = event();
        event["requestContext"]["stage"] = json!(stage);
        event["rawPath"] = json!(raw_path);
        assert_eq!(path_of(&serde_json::to_vec(&event).unwrap()), expected, "{stage} {raw_path}");
    }
}

#[test]
fn header_names_ignore_case_and_repeated_fields_are_joined() {
    let headers = json!({"Lambda_Auth": "a", "lambda_auth": "b", "REDIRECT": "true"});
    let event = with("/headers", headers);
    let request = parse(&event).unwrap();
    assert_eq!(request.lambda_auth.as_deref(), Some("a,b"));
    assert_eq!(request.redirect.as_deref(), Some("true"));
}

#[test]
fn only_the_lambda_auth_header_is_read_as_the_secret() {
    let event = with("/headers", json!({"cookie": "lambda_auth=open", "x-lambda_auth": "open"}));
    assert_eq!(parse(&event).unwrap().lambda_auth, None);
}

#[test]
fn warm_up_events_are_told_from_other_foreign_events() {
    for event in [
        json!({"source": "serverless-plugin-warmup"}),
        json!({"warmer": true, "concurrency": 3}),
        json!({"warmup": true}),
        json!({"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}),
        json!({"version": "0", "detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}"}),
    ] {
        assert!(is_warm_up(event.to_string().as_bytes()), "{event}");
        assert!(parse(event.to_string().as_bytes()).is_err());
    }
    for event in [
        json!({}),
        json!({"warmer": "true"}),
        json!({"warmer": false}),
        json!({"source": "aws.s3", "detail-type": "Object Created"}),
        json!({"source": "aws.health", "detail-type": "Scheduled Event"}),
        json!({"Records": [{"eventSource": "aws:sqs"}]}),
        json!("serverless-plugin-warmup"),
    ] {
        assert!(!is_warm_up(event.to_string().as_bytes()), "{event}");
    }
    assert!(!is_warm_up(b"{\"warmer\":true"));
}

#[test]
fn an_error_names_the_unsupported_event_source() {
    for (event, source) in [
        (json!({"version": "1.0", "httpMethod": "GET", "path": "/"}), "payload format 1.0 without"),
        (json!({"httpMethod": "GET", "requestContext": {"stage": "prod"}}), "unknown source"),
        (json!({"Records": []}), "unknown source"),
        (json!({"version": "2.0", "rawPath": "/"}), "without rawPath or requestContext.http"),
    ] {
        let event = serde_json::to_vec(&event).unwrap();
        let error = error_of(&event);
        assert!(convert(&event).is_none() && error.contains(source) && error.contains("HTTP API"), "{error}");
    }
}

#[test]
fn an_error_locates_malformed_json_without_quoting_it() {
    for event in [&b""[..], b"{", b"[1,2]", b"\"swordfish\"", br#"{"version":{"swordfish":1}}"#, b"\xff\xfe"] {
        let error = error_of(event);
        assert!(error.contains("malformed") && !error.contains("swordfish"), "{error}");
    }
}

#[test]
fn only_a_function_url_with_iam_authenticates_its_caller() {
    let door = |domain_name: &str, account: Value| {
        let mut event = event();
        event["requestContext"]["domainName"] = json!(domain_name);
        event["requestContext"]["accountId"] = account;
        parse(&serde_json::to_vec(&event).unwrap()).unwrap().door
    };
    let url = "abc.lambda-url.eu-west-1.on.aws";
    assert_eq!(door(url, json!("123456789012")), Door::FunctionUrl { by_iam: true });
    assert_eq!(door(url, json!("anonymous")), Door::FunctionUrl { by_iam: false });
    assert_eq!(door(url, Value::Null), Door::FunctionUrl { by_iam: false });
    assert_eq!(door(url, json!("")), Door::FunctionUrl { by_iam: false });
    let mut event = event();
    // A viewer chooses the query.
    event["queryStringParameters"] = json!({"accountId": "123456789012", "requestContext": "{\"accountId\":\"1\"}"});
    for account in [json!("anonymous"), Value::Null] {
        event["requestContext"] = json!({"domainName": url, "accountId": account, "http": {"method": "GET"}});
        for event in [serde_json::to_vec(&event).unwrap(), serde_json::to_vec_pretty(&event).unwrap()] {
            assert_eq!(parse(&event).unwrap().door, Door::FunctionUrl { by_iam: false }, "{account}");
        }
    }
    assert_eq!(door("abc.execute-api.eu-west-1.amazonaws.com", json!("123456789012")), Door::HttpApi);
    assert_eq!(door("abc.lambda-url.on.aws.example.com", json!("123456789012")), Door::HttpApi);
}

proptest! {
    #[test]
    fn no_event_bytes_make_the_parser_panic(event in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&event);
        let _ = convert(&event);
    }

    #[test]
    fn function_url_and_http_api_paths_give_the_same_key(path in "/[^?]{0,40}") {
        let api = path_of(&with("/rawPath", json!(path)));
        let mut url = event();
        url["requestContext"]["domainName"] = json!("abc.lambda-url.eu-west-1.on.aws");
        let encoded = percent_encoding::utf8_percent_encode(&path, percent_encoding::NON_ALPHANUMERIC).to_string();
        url["rawPath"] = json!(encoded.replace("%2F", "/"));
        prop_assert_eq!(path_of(&serde_json::to_vec(&url).unwrap()), api);
    }
}

//! The front door of the function, HTTP API or function URL, the move between them, and the settings of metrics.

use crate::rendered::{Rendered, settings};
use serde_json::{Value, json};

/// The values of `FrontDoor` in the order of a move.
const DOORS: [&str; 4] = ["HttpApi", "HttpApiWithFunctionUrl", "FunctionUrlWithHttpApi", "FunctionUrl"];

fn at(door: &str, more: &[(&str, &str)]) -> Rendered {
    Rendered::in_region("eu-west-1", &[&[("FrontDoor", door), ("LambdaAuth", "given")], more].concat())
}

fn count(rendered: &Rendered, kind: &str) -> usize {
    rendered.template.resources(kind).unwrap().len()
}

/// The first origin: the function, by the front door in use.
fn origin(rendered: &Rendered) -> Value {
    rendered.distribution()["Origins"][0].clone()
}

/// The type of the resource that the distribution sends requests to.
fn used(rendered: &Rendered) -> &'static str {
    let domain = origin(rendered)["DomainName"].as_str().unwrap().to_owned();
    if domain.starts_with("${Url}.lambda-url.") { "AWS::Lambda::Url" } else { "AWS::ApiGatewayV2::Api" }
}

#[test]
fn each_door_has_its_resources() {
    for (door, has_api, has_url) in
        [(DOORS[0], true, false), (DOORS[1], true, true), (DOORS[2], true, true), (DOORS[3], false, true)]
    {
        let rendered = at(door, &[]);
        for kind in ["Api", "Integration", "Route", "Stage"] {
            assert_eq!(count(&rendered, &format!("AWS::ApiGatewayV2::{kind}")), usize::from(has_api), "{door}: {kind}");
        }
        assert_eq!(count(&rendered, "AWS::Lambda::Url"), usize::from(has_url), "{door}");
        assert_eq!(
            count(&rendered, "AWS::Lambda::Permission"),
            usize::from(has_api) + 2 * usize::from(has_url),
            "{door}"
        );
    }
}

#[test]
fn the_url_requires_a_signature_of_this_distribution() {
    for door in &DOORS[1..] {
        let rendered = at(door, &[]);
        let url = rendered.only("AWS::Lambda::Url");
        assert_eq!((&url["AuthType"], &url["Qualifier"]), (&json!("AWS_IAM"), &json!("live")));
        let control = rendered.named("AWS::CloudFront::OriginAccessControl", "UrlAccessControl");
        assert_eq!(
            control["OriginAccessControlConfig"],
            json!({"Name": "${AWS::StackName}-eu-west-1-url", "OriginAccessControlOriginType": "lambda",
                "SigningBehavior": "always", "SigningProtocol": "sigv4"})
        );
        // Both are required since October 2025 (https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html).
        for (id, action, restriction, value) in [
            ("UrlPermission", "lambda:InvokeFunctionUrl", "FunctionUrlAuthType", json!("AWS_IAM")),
            ("UrlInvokePermission", "lambda:InvokeFunction", "InvokedViaFunctionUrl", json!(true)),
        ] {
            let permission = rendered.named("AWS::Lambda::Permission", id);
            assert_eq!((&permission["Action"], &permission[restriction]), (&json!(action), &value));
            assert_eq!(permission["FunctionName"], "${LiveAlias}");
            assert_eq!(permission["Principal"], "cloudfront.amazonaws.com");
            assert!(
                permission["SourceArn"].as_str().unwrap().ends_with(":distribution/${Distribution}"),
                "{permission}"
            );
        }
    }
}

#[test]
fn the_distribution_sends_the_secret_or_signs() {
    for (door, uses_url) in [(DOORS[0], false), (DOORS[1], false), (DOORS[2], true), (DOORS[3], true)] {
        let origin = origin(&at(door, &[]));
        let domain = origin["DomainName"].as_str().unwrap();
        if uses_url {
            assert_eq!(domain, "${Url}.lambda-url.eu-west-1.on.aws", "{door}");
            assert_eq!(origin["OriginAccessControlId"], "${UrlAccessControl.Id}", "{door}");
        } else {
            assert!(domain.starts_with("${Api}.execute-api."), "{door}: {domain}");
            assert_eq!(origin["OriginCustomHeaders"][0]["HeaderName"], "lambda_auth", "{door}");
        }
        assert_eq!(origin.get("OriginCustomHeaders").is_none(), uses_url, "{door}");
        assert_eq!(origin.get("OriginAccessControlId").is_some(), uses_url, "{door}");
        assert_eq!(origin["CustomOriginConfig"]["HTTPSPort"], 443, "{door}");
    }
}

/// While a step is deployed, some edge locations still have the distribution of before it, and others already that of after it: both
/// need their door, before the step and after it.
#[test]
fn each_step_of_a_move_keeps_the_doors_that_edges_use() {
    for pair in DOORS.windows(2) {
        let [left, right] = [at(pair[0], &[]), at(pair[1], &[])];
        for (from, to) in [(&left, &right), (&right, &left)] {
            assert_eq!(count(to, used(from)), 1, "{pair:?}: the door of before must exist after the step");
            assert_eq!(count(from, used(to)), 1, "{pair:?}: the new door must exist before the step");
        }
    }
}

#[test]
fn only_the_step_that_creates_the_url_changes_the_function() {
    let of = |door: &str| settings(&at(door, &[("Streaming", "on")]));
    assert_eq!(of(DOORS[0]).get("function_url_iam"), None);
    assert_eq!(of(DOORS[1])["function_url_iam"], "true");
    assert_eq!(of(DOORS[1])["lambda_auth"], "${LambdaAuth}", "both doors work during a move");
    assert_eq!(of(DOORS[1]), of(DOORS[2]));
    assert_eq!(of(DOORS[2]), of(DOORS[3]));
    // A stack that never had the API needs no secret.
    let without_secret = settings(&Rendered::in_region("eu-west-1", &[("FrontDoor", "FunctionUrl")]));
    assert_eq!((without_secret.get("lambda_auth"), &without_secret["function_url_iam"]), (None, &json!("true")));
}

#[test]
fn the_function_streams_exactly_if_its_url_does() {
    for streaming in ["off", "on"] {
        let api = at("HttpApi", &[("Streaming", streaming)]);
        assert_eq!(
            (settings(&api).get("streaming"), api.only("AWS::Lambda::Function")["Timeout"].clone()),
            (None, json!(20))
        );
        for door in &DOORS[1..] {
            let rendered = at(door, &[("Streaming", streaming)]);
            let mode = rendered.only("AWS::Lambda::Url")["InvokeMode"].clone();
            let timeout = rendered.only("AWS::Lambda::Function")["Timeout"].clone();
            let expected = if streaming == "on" {
                (json!("RESPONSE_STREAM"), json!("true"), json!(120))
            } else {
                (json!("BUFFERED"), Value::Null, json!(20))
            };
            assert_eq!((mode, settings(&rendered)["streaming"].clone(), timeout), expected, "{door}");
        }
    }
}

#[test]
fn dashboards_and_alarms_name_only_doors_that_exist() {
    for door in DOORS {
        let rendered = at(door, &[]);
        let alarms = rendered.template.resources("AWS::CloudWatch::Alarm").unwrap();
        let has = |id: &str| alarms.iter().any(|(name, _)| name == id);
        assert_eq!(
            (has("AlarmApiFailing"), has("AlarmUrlFailing")),
            (door != "FunctionUrl", door != "HttpApi"),
            "{door}"
        );
        let board = rendered.named("AWS::CloudWatch::Dashboard", "DashboardLatency")["DashboardBody"].clone();
        let body = board.as_str().unwrap();
        assert_eq!(body.contains("${Api}"), door != "FunctionUrl", "{door}");
        assert!(body.contains("UrlRequestLatency") && body.contains("lambdaapi:live"), "{door}");
        let widgets: Value = serde_json::from_str(body).unwrap();
        assert_eq!(widgets["widgets"].as_array().unwrap().len(), 8, "{door}");
    }
}

#[test]
fn aws_china_has_no_function_url() {
    for rendered in Rendered::all(&[]).iter().filter(|rendered| rendered.china) {
        assert_eq!((count(rendered, "AWS::Lambda::Url"), count(rendered, "AWS::ApiGatewayV2::Api")), (0, 1));
        let alarms = rendered.template.resources("AWS::CloudWatch::Alarm").unwrap();
        assert!(alarms.iter().all(|(name, _)| name != "AlarmUrlFailing"));
        let settings = settings(rendered);
        assert!(settings.get("function_url_iam").is_none() && settings.get("streaming").is_none());
    }
}

#[test]
fn the_parameters_of_metrics_are_settings_of_the_function() {
    let of = |rendered: &Rendered| ["metrics", "log_ratio", "slow_ms"].map(|name| settings(rendered)[name].clone());
    for rendered in Rendered::all(&[]) {
        assert_eq!(of(&rendered), [Value::Null, Value::Null, Value::Null], "the function's own defaults");
        assert_eq!(rendered.only("AWS::Lambda::Function")["LoggingConfig"]["SystemLogLevel"], "INFO");
    }
    let values = [("Metrics", "batch"), ("LogRatio", "0.1"), ("SlowMs", "250"), ("SystemLogLevel", "WARN")];
    for rendered in Rendered::all(&values) {
        assert_eq!(of(&rendered), [json!("batch"), json!("0.1"), json!("250")]);
        assert_eq!(rendered.only("AWS::Lambda::Function")["LoggingConfig"]["SystemLogLevel"], "WARN");
    }
}

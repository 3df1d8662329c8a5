//! The event of a REST API, with payload format 1.0.
//!
//! [Input format](https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html#api-gateway-simple-proxy-for-lambda-input-format).

use serde_json::{Value, json};

use crate::gateway::door::{Api, Door};
use crate::gateway::event::field;
use crate::gateway::event::received::{ReceivedRequest, Unroutable};
use crate::identity;

/// The resource of all paths but the root.
const PROXY_RESOURCE: &str = "/{proxy+}";

/// Builds the event of a request. The API has the resources `/` and `/{proxy+}`, and the binary media type `*/*`.
///
/// Paths stay percent-encoded. With a base path mapping, `path` contains the base path, and `pathParameters` does not
/// (aws/serverless-java-container #112).
///
/// # Errors
/// If the path does not start with the stage or the base path.
pub fn build(api: &Api, request: &ReceivedRequest<'_>) -> Result<Value, Unroutable> {
    let ReceivedRequest { parts, body, source_ip, request_id, .. } = *request;
    let full_path = parts.uri.path();
    let proxied = api.proxied(full_path).ok_or(Unroutable::NoRoute)?;
    let on_custom_domain = matches!(&api.door, Door::Rest { base_path: Some(_), .. });
    let path = match proxied {
        _ if on_custom_domain => full_path,
        "" => "/",
        proxied => proxied,
    };
    let proxy = proxied.trim_start_matches('/');
    let resource = if proxy.is_empty() { "/" } else { PROXY_RESOURCE };
    let headers = field::all_headers(&parts.headers);
    let parameters = field::decoded_parameters(parts.uri.query().unwrap_or_default());
    let has_parameters = !parameters.is_empty();
    let (body, encoded) = field::body_text(body, false);
    let domain_prefix = api.domain_name.split('.').next().unwrap_or_default();
    Ok(json!({
        "resource": resource,
        "path": path,
        "httpMethod": parts.method.as_str(),
        "headers": field::last_values(&headers),
        "multiValueHeaders": headers,
        "queryStringParameters": has_parameters.then(|| field::last_values(&parameters)),
        "multiValueQueryStringParameters": has_parameters.then_some(&parameters),
        "pathParameters": (!proxy.is_empty()).then(|| json!({"proxy": proxy})),
        "stageVariables": null,
        "requestContext": {
            "accountId": field::ACCOUNT_ID,
            "apiId": api.id,
            "domainName": api.domain_name,
            "domainPrefix": domain_prefix,
            "extendedRequestId": request_id,
            "httpMethod": parts.method.as_str(),
            "identity": {
                "accessKey": null,
                "accountId": null,
                "caller": null,
                "cognitoAuthenticationProvider": null,
                "cognitoAuthenticationType": null,
                "cognitoIdentityId": null,
                "cognitoIdentityPoolId": null,
                "principalOrgId": null,
                "sourceIp": source_ip,
                "user": null,
                "userAgent": headers.get("user-agent").and_then(|values| values.last()),
                "userArn": null,
            },
            "path": full_path,
            "protocol": "HTTP/1.1",
            "requestId": request_id,
            "requestTime": field::clock(),
            "requestTimeEpoch": identity::now_ms(),
            "resourceId": if proxy.is_empty() { "root000000" } else { "proxy00000" },
            "resourcePath": resource,
            "stage": api.stage,
        },
        "body": (!body.is_empty()).then_some(body),
        "isBase64Encoded": encoded,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::net::Ipv4Addr;

    fn build_at(
        request: http::request::Builder,
        body: &'static [u8],
        base_path: Option<&str>,
    ) -> Result<Value, Unroutable> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let door = Door::Rest { base_path: base_path.map(str::to_owned), streaming: None };
        let api = Api::new("local", "x", "test", door);
        let body = Bytes::from_static(body);
        let (source_ip, request_id) = (Ipv4Addr::LOCALHOST.into(), "id");
        build(&api, &ReceivedRequest { parts: &parts, body: &body, source_ip, request_id, signed_by: None })
    }

    fn event(request: http::request::Builder, body: &'static [u8]) -> Value {
        build_at(request, body, None).unwrap()
    }

    #[test]
    fn the_path_is_encoded_and_without_the_stage() {
        for (uri, path, proxy) in [
            ("/test/a%20b", "/a%20b", json!({"proxy": "a%20b"})),
            ("/test/a%2Fb%3F+", "/a%2Fb%3F+", json!({"proxy": "a%2Fb%3F+"})),
            ("/test/x/y/", "/x/y/", json!({"proxy": "x/y/"})),
            ("/test/", "/", Value::Null),
            ("/test", "/", Value::Null),
        ] {
            let event = event(http::Request::builder().uri(uri), b"");
            assert_eq!((&event["path"], &event["pathParameters"]), (&json!(path), &proxy), "{uri}");
            let resource = if proxy.is_null() { "/" } else { "/{proxy+}" };
            assert_eq!(event["resource"], json!(resource), "{uri}");
            let context = &event["requestContext"];
            assert_eq!((&context["path"], &context["stage"]), (&json!(uri), &json!("test")), "{uri}");
            assert_eq!(context["resourcePath"], json!(resource), "{uri}");
        }
    }

    #[test]
    fn a_base_path_stays_in_the_path_but_not_in_the_proxy() {
        for (uri, base_path, proxy) in [
            ("/shop/x", "shop", json!({"proxy": "x"})),
            ("/shop/a%20b/", "shop", json!({"proxy": "a%20b/"})),
            ("/shop", "shop", Value::Null),
            ("/shop/shop/x", "shop", json!({"proxy": "shop/x"})),
            ("/x", "", json!({"proxy": "x"})),
        ] {
            let event = build_at(http::Request::builder().uri(uri), b"", Some(base_path)).unwrap();
            assert_eq!((&event["path"], &event["requestContext"]["path"]), (&json!(uri), &json!(uri)), "{uri}");
            assert_eq!(event["pathParameters"], proxy, "{uri}");
        }
    }

    #[test]
    fn a_path_outside_the_stage_or_the_base_path_has_no_route() {
        for (uri, base_path) in [("/x", None), ("/tests/x", None), ("/x", Some("shop")), ("/test/x", Some("shop"))] {
            let result = build_at(http::Request::builder().uri(uri), b"", base_path);
            assert_eq!(result.unwrap_err(), Unroutable::NoRoute, "{uri}");
        }
    }

    #[test]
    fn headers_have_the_last_value_and_multi_value_headers_all() {
        let request = http::Request::builder()
            .uri("/test/")
            .header("Lambda_Auth", "a")
            .header("lambda_auth", "b")
            .header("cookie", "x=1; y=2");
        let event = event(request, b"");
        assert_eq!(event["headers"], json!({"lambda_auth": "b", "cookie": "x=1; y=2"}));
        assert_eq!(event["multiValueHeaders"], json!({"lambda_auth": ["a", "b"], "cookie": ["x=1; y=2"]}));
    }

    #[test]
    fn query_parameters_are_decoded_and_null_without_a_query() {
        let with = event(http::Request::builder().uri("/test/x?a=1&b=%20&a=2+3&c"), b"");
        assert_eq!(with["queryStringParameters"], json!({"a": "2 3", "b": " ", "c": ""}));
        assert_eq!(with["multiValueQueryStringParameters"], json!({"a": ["1", "2 3"], "b": [" "], "c": [""]}));
        let without = event(http::Request::builder().uri("/test/x"), b"");
        for name in ["queryStringParameters", "multiValueQueryStringParameters", "stageVariables", "body"] {
            assert_eq!(without.get(name), Some(&Value::Null), "{name}");
        }
    }

    #[test]
    fn every_body_is_base64_because_all_types_are_binary() {
        let request = || http::Request::builder().method("POST").uri("/test/x").header("content-type", "text/plain");
        let some = event(request(), b"hi");
        assert_eq!((&some["body"], &some["isBase64Encoded"]), (&json!("aGk="), &json!(true)));
        assert_eq!(some["httpMethod"], json!("POST"));
        assert_eq!(event(request(), b"")["isBase64Encoded"], json!(false));
    }
}

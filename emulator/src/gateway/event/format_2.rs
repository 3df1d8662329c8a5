//! Payload format 2.0, which HTTP APIs and function URLs have in common.

use serde_json::{Value, json};

use crate::gateway::door::Api;
use crate::gateway::event::field;
use crate::gateway::event::received::ReceivedRequest;
use crate::identity;

/// Builds the event of a request for `path`, as the door writes it.
pub(super) fn build(api: &Api, request: &ReceivedRequest<'_>, path: &str, stage: &str) -> Value {
    let ReceivedRequest { parts, body, source_ip, request_id, .. } = *request;
    let query = parts.uri.query().unwrap_or_default();
    let (headers, cookies) = field::join_headers(&parts.headers);
    let (body, encoded) = field::body_text(body, field::is_text(&parts.headers));
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": field::ACCOUNT_ID,
            "apiId": api.id,
            "domainName": api.domain_name,
            "domainPrefix": api.id,
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": source_ip,
                "userAgent": headers.get("user-agent").cloned().unwrap_or_default(),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": stage,
            "time": field::clock(),
            "timeEpoch": identity::now_ms(),
        },
        "isBase64Encoded": encoded,
    });
    if let Some(event) = event.as_object_mut() {
        field::insert_if_some(event, "cookies", (!cookies.is_empty()).then(|| json!(cookies)));
        let parameters = field::decoded_parameters(query);
        let joined = || parameters.iter().map(|(name, values)| (name.clone(), json!(values.join(",")))).collect();
        field::insert_if_some(
            event,
            "queryStringParameters",
            (!parameters.is_empty()).then(|| Value::Object(joined())),
        );
        field::insert_if_some(event, "body", (!body.is_empty()).then(|| json!(body)));
    }
    event
}

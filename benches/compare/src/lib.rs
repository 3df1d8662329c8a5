//! Shared by the driver and the handlers that it drives.

use std::sync::OnceLock;

use lambda_http::http::HeaderMap;

/// The bucket name in the handlers' settings.
pub const BUCKET: &str = "lambda-api-2022";

/// Content type and body of the object at a path that ends in `/<bytes>`; `None` for other paths.
///
/// A path that contains `/text` is a page, any other a picture. The reference sends both as base64; lambda_http sends
/// a page as text.
pub fn object(path: &str) -> Option<(&'static str, Vec<u8>)> {
    let name = path.rsplit('/').next()?;
    if name == DEFINITION {
        return Some(("application/json", DEFINITION_TEXT.get_or_init(definition).clone()));
    }
    let bytes = name.parse().ok()?;
    let line = b"<p>The quick brown fox jumps over the lazy dog, and the one variant is as good as the other.</p>\n";
    Some(match path.contains("/text") {
        true => ("text/html", line.iter().copied().cycle().take(bytes).collect()),
        false => ("image/png", (0..=255_u8).rev().cycle().take(bytes).collect()),
    })
}

/// The definition, made once: S3 would only send it.
static DEFINITION_TEXT: OnceLock<Vec<u8>> = OnceLock::new();

/// The key of a definition of experiments.
pub const DEFINITION: &str = "experiments.json";

/// A definition of 10 kB: rules with conditions of every common kind, and an experiment.
pub fn definition() -> Vec<u8> {
    let conditions = [
        r#"{"country": {"$in": ["US", "CA", "MX"]}}"#,
        r#"{"path": {"$regex": "^/checkout/[a-z]+/[0-9]+$"}}"#,
        r#"{"deviceType": "mobile", "browser": {"$nin": ["safari", "wechat"]}}"#,
        r#"{"$or": [{"language": {"$in": ["de", "fr"]}}, {"header.x-plan": {"$vgte": "2.10.0"}}]}"#,
        r#"{"query.utm_source": "partner", "cookie.plan": {"$exists": true}}"#,
    ];
    let rules = (0..26).map(|rule| {
        format!(
            r#"{{"key": "experiment-{rule}", "seed": "seed-{rule}", "hashAttribute": "id", "hashVersion": 2, "phase": "0",
  "variations": ["v1", "v2"], "weights": [0.5, 0.5], "coverage": 1, "name": "The name of experiment {rule}",
  "meta": [{{"key": "control", "name": "The page of today"}}, {{"key": "treatment", "name": "The page with a change"}}],
  "condition": {}}}"#,
            conditions[rule % conditions.len()]
        )
    });
    let rules: Vec<String> = rules.collect();
    let rules = rules.join(",\n");
    format!(r#"{{"features": {{"test_version": {{"defaultValue": "v1", "rules": [{rules}]}}}}}}"#).into_bytes()
}

/// Applies the walk-through's rules: the key, or `None` for a wrong secret.
pub fn plain_key(headers: &HeaderMap, path: &str, secret: &str) -> Option<String> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if header("lambda_auth") != Some(secret) {
        return None;
    }
    let key = path.trim_start_matches('/');
    let key = if key.is_empty() { "index.html" } else { key };
    Some(match header("test_version") {
        Some(version) => format!("{version}/{key}"),
        None => key.to_owned(),
    })
}

/// The value of a header field of an HTTP/1.1 message; `name` is case-insensitive.
pub fn header<'a>(message: &'a [u8], name: &str) -> Option<&'a str> {
    let head = &message[..head_bytes(message)?];
    std::str::from_utf8(head).ok()?.lines().skip(1).find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Length of a message's head, including the empty line; `None` until the head is complete.
pub fn head_bytes(message: &[u8]) -> Option<usize> {
    message.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Length of a whole message; `None` until its head is complete.
pub fn message_bytes(message: &[u8]) -> Option<usize> {
    let head = head_bytes(message)?;
    Some(head + header(message, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0))
}

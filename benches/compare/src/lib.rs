//! What the driver and those that it drives have in common.

use lambda_http::http::HeaderMap;

/// The secret of the events.
pub const SECRET: &str = "a-secret-of-thirty-two-characters";

/// The bucket.
pub const BUCKET: &str = "lambda-api-2022";

/// The object under a path that ends in `/<bytes>`: a page where the path has `/text` in it, else a picture. Of both
/// the reference sends base64; lambda_http sends a page as it is.
pub fn object(path: &str) -> Option<(&'static str, Vec<u8>)> {
    let bytes = path.rsplit('/').next()?.parse().ok()?;
    let line = b"<p>The quick brown fox jumps over the lazy dog, and the one variant is as good as the other.</p>\n";
    Some(match path.contains("/text") {
        true => ("text/html", line.iter().copied().cycle().take(bytes).collect()),
        false => ("image/png", (0..=255_u8).rev().cycle().take(bytes).collect()),
    })
}

/// The walk-through's rules, as the plain handlers have them: the key, or `None` for a wrong secret.
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

/// The value of a header of an HTTP/1.1 message; names are compared whatever their case.
pub fn header<'a>(message: &'a [u8], name: &str) -> Option<&'a str> {
    let head = &message[..head_bytes(message)?];
    std::str::from_utf8(head).ok()?.lines().skip(1).find_map(|line| {
        let (given, value) = line.split_once(':')?;
        given.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// How long the head of a message is, its empty line included.
pub fn head_bytes(message: &[u8]) -> Option<usize> {
    message.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// How long a message is, once its head is there.
pub fn message_bytes(message: &[u8]) -> Option<usize> {
    let head = head_bytes(message)?;
    Some(head + header(message, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0))
}

//! Object keys.

use std::fmt;

/// The longest key of S3, in bytes of UTF-8
/// ([S3 user guide, object keys](https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html)).
pub const KEY_BYTES_MAX: usize = 1024;

/// The key of an object in the bucket: decoded UTF-8, never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Wraps `key`, which must not be empty.
    pub fn new(key: String) -> Self {
        debug_assert!(!key.is_empty());
        Self(key)
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a client would resolve a segment of the key's URL, and request another key instead
    /// ([RFC 3986 §5.2.4](https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4); clients resolve encoded dots too).
    pub fn has_dot_segment(&self) -> bool {
        self.0.split('/').any(|segment| matches!(segment, "." | ".."))
    }

    /// Whether `..` segments lead above the bucket. S3 responds to such a key with 400
    /// ([object key names](https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html#object-key-guidelines)),
    /// other servers respond with an object of another bucket.
    fn climbs_out(&self) -> bool {
        let mut depth = 0_i32;
        let mut climbs = |segment: &str| {
            match segment {
                ".." => depth -= 1,
                "" | "." => {}
                _ => depth += 1,
            }
            depth < 0
        };
        self.0.as_bytes().windows(2).any(|pair| pair == b"..") && self.0.split('/').any(&mut climbs)
    }

    /// Whether an object of this key can exist in S3. The SDK treats a key of white space as absent.
    pub fn can_exist(&self) -> bool {
        self.0.len() <= KEY_BYTES_MAX && !self.0.trim().is_empty() && !self.climbs_out()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

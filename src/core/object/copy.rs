//! Copies: other representations of an object, in a content coding or in another image format.

use std::hash::{DefaultHasher, Hasher};

/// A kind of copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyKind {
    /// Brotli (RFC 7932).
    Br,
    /// Zstandard (RFC 8878).
    Zstd,
    /// Gzip (RFC 1952).
    Gzip,
    /// The image as AVIF.
    Avif,
    /// The image as WebP.
    Webp,
}

impl CopyKind {
    /// Every kind. The index of a kind is its discriminant.
    pub const ALL: [Self; 5] = [Self::Br, Self::Zstd, Self::Gzip, Self::Avif, Self::Webp];

    /// The name in settings, tags, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Avif => "avif",
            Self::Webp => "webp",
        }
    }

    /// The suffix of an uploaded copy's key: `app.js.br`, `hero.jpg.avif`.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Br => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Avif => ".avif",
            Self::Webp => ".webp",
        }
    }

    /// The content coding
    /// ([registry](https://www.iana.org/assignments/http-parameters/http-parameters.xhtml#content-coding)); `None` for an
    /// image format.
    pub fn coding(self) -> Option<&'static str> {
        matches!(self, Self::Br | Self::Zstd | Self::Gzip).then(|| self.name())
    }

    /// The media type of an image format; `None` for a coding.
    pub fn media_type(self) -> Option<&'static str> {
        match self {
            Self::Br | Self::Zstd | Self::Gzip => None,
            Self::Avif => Some("image/avif"),
            Self::Webp => Some("image/webp"),
        }
    }

    /// The kind with this content coding; `x-gzip` is an alias (RFC 9110 §8.4.1.3).
    pub fn of_coding(name: &str) -> Option<Self> {
        let is_named = |kind: &Self| kind.coding().is_some_and(|coding| coding.eq_ignore_ascii_case(name));
        Self::ALL.into_iter().find(is_named).or_else(|| name.eq_ignore_ascii_case("x-gzip").then_some(Self::Gzip))
    }

    /// The kind of this image format.
    pub fn of_media_type(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.media_type().is_some_and(|own| own.eq_ignore_ascii_case(name)))
    }
}

/// The keys of which `key` could be an uploaded copy: `a.js` of `a.js.br`.
pub fn sources_of_copy(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(source_of_copy(key), |key| source_of_copy(key))
}

fn source_of_copy(key: &str) -> Option<&str> {
    let source = CopyKind::ALL.into_iter().find_map(|kind| key.strip_suffix(kind.suffix()))?;
    (!source.is_empty() && !source.ends_with('/')).then_some(source)
}

/// The entity tag of a copy: that of its source, the kind and a hash of the copy's identity, such as `"abc-br-0123456789abcdef"`.
///
/// A strong tag must never name two different byte sequences (RFC 9110 §8.8.1). `identity` therefore distinguishes all copies
/// of one source: it is the bytes of a copy that the function has made, whose encoder may change with an update, or the tag
/// that S3 gave to an uploaded copy.
pub fn copy_tag(source: &str, kind: CopyKind, identity: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(identity);
    format!("{}-{}-{:016x}\"", source.strip_suffix('"').unwrap_or(source), kind.name(), hasher.finish())
}

/// The parts of a copy's tag, without its quotes: the tag of its source, and the kind; `None` for any other tag.
pub fn split_copy_tag(opaque: &str) -> Option<(&str, CopyKind)> {
    let (rest, hash) = opaque.rsplit_once('-')?;
    let (source, name) = rest.rsplit_once('-')?;
    let is_hash = hash.len() == 16 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let kind = CopyKind::ALL.into_iter().find(|kind| kind.name() == name)?;
    (is_hash && !source.is_empty()).then_some((source, kind))
}

/// The kinds of copies that an object may have, by its metadata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Copyable {
    /// None.
    #[default]
    No,
    /// In a content coding: a text without one.
    Text {
        /// Whether Cache-Control lets others transform the text (RFC 9110 §7.7, RFC 9111 §5.2.2.6).
        may_transform: bool,
    },
    /// In another format: a photograph or a drawing.
    Image,
}

/// The least size of a text that is worth coding, in bytes: CloudFront's
/// ([compressed files](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/ServingCompressedFiles.html)).
pub const CODED_BYTES_MIN: u64 = 1000;

/// The kinds of copies that an object with these fields may have.
pub(super) fn copyable(
    media_type: &str,
    size_bytes: u64,
    content_encoding: Option<&str>,
    cache_control: Option<&str>,
) -> Copyable {
    let media_type = media_type.split(';').next().unwrap_or_default().trim_ascii();
    if content_encoding.is_some_and(|coding| !coding.trim_ascii().is_empty()) {
        return Copyable::No;
    }
    if ["image/jpeg", "image/png"].iter().any(|image| media_type.eq_ignore_ascii_case(image)) {
        return Copyable::Image;
    }
    if size_bytes < CODED_BYTES_MIN || !is_text(&media_type.to_ascii_lowercase()) {
        return Copyable::No;
    }
    let mut directives = cache_control.unwrap_or_default().split(',').map(str::trim_ascii);
    Copyable::Text { may_transform: !directives.any(|name| name.eq_ignore_ascii_case("no-transform")) }
}

/// Whether content of this type shrinks: CloudFront's list
/// ([compressed files](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/ServingCompressedFiles.html)), and the
/// types that end in `+json` or `+xml` (RFC 6839).
fn is_text(media_type: &str) -> bool {
    const OTHERS: [&str; 17] = [
        "application/javascript",
        "application/x-javascript",
        "application/ecmascript",
        "application/json",
        "application/x-ndjson",
        "application/xml",
        "application/wasm",
        "application/rtf",
        "application/x-sh",
        "application/x-httpd-php",
        "application/vnd.ms-fontobject",
        "application/x-font-ttf",
        "application/x-font-opentype",
        "font/ttf",
        "font/otf",
        "image/bmp",
        "image/x-icon",
    ];
    media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || OTHERS.contains(&media_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_and_images_may_have_copies() {
        let text = Copyable::Text { may_transform: true };
        for (media_type, size, coding, control, expected) in [
            ("text/html", 1000, None, None, text),
            ("text/html", 999, None, None, Copyable::No),
            ("Text/CSS; charset=utf-8", 5000, None, None, text),
            ("application/json", 5000, None, Some("max-age=5"), text),
            ("application/ld+json", 5000, None, None, text),
            ("image/svg+xml", 5000, None, None, text),
            ("text/html", 5000, None, Some("public, No-Transform"), Copyable::Text { may_transform: false }),
            ("text/html", 5000, Some("gzip"), None, Copyable::No),
            ("text/html", 5000, Some(""), None, text),
            ("image/jpeg", 10, None, None, Copyable::Image),
            ("image/PNG", 10, None, None, Copyable::Image),
            ("image/gif", 5000, None, None, Copyable::No),
            ("binary/octet-stream", 5000, None, None, Copyable::No),
            ("font/woff2", 5000, None, None, Copyable::No),
            ("", 5000, None, None, Copyable::No),
        ] {
            assert_eq!(copyable(media_type, size, coding, control), expected, "{media_type} {coding:?} {control:?}");
        }
    }

    #[test]
    fn the_sources_of_a_copy_are_its_keys_without_suffixes() {
        let sources = |key| sources_of_copy(key).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(sources("a/b.js.br"), ["a/b.js"]);
        assert_eq!(sources("hero.jpg.avif.gz"), ["hero.jpg.avif", "hero.jpg"]);
        for key in ["a.js", "", ".br", "a/.gz", "br"] {
            assert_eq!(sources(key), [""; 0], "{key}");
        }
    }

    #[test]
    fn a_tag_of_an_object_is_not_a_copys() {
        for opaque in ["", "abc", "d41d8cd98f00b204e9800998ecf8427e-3", "abc-br-0123", "abc-br-0123456789ABCDEF"] {
            assert_eq!(split_copy_tag(opaque), None, "{opaque}");
        }
        assert_eq!(split_copy_tag("-br-0123456789abcdef"), None);
    }

    proptest! {
        #[test]
        fn a_copys_tag_has_its_source_and_its_content(
            source in "[!#-~]{1,40}",
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            index in 0..CopyKind::ALL.len(),
        ) {
            let kind = CopyKind::ALL[index];
            let tag = copy_tag(&format!("\"{source}\""), kind, &bytes);
            let opaque = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap();
            prop_assert_eq!(split_copy_tag(opaque), Some((source.as_str(), kind)));
            let mut others = bytes.clone();
            others.push(0);
            prop_assert_ne!(copy_tag(&format!("\"{source}\""), kind, &others), tag);
        }
    }
}

//! Accept and Accept-Encoding (RFC 9110 §12.5): which copies of an object a client accepts, and how much it prefers each.

use crate::object::{CopyKind, Copyable};

/// The fields of a request that select among the copies of an object, unparsed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepts<'a> {
    /// Accept-Encoding.
    pub encoding: Option<&'a str>,
    /// Accept.
    pub media: Option<&'a str>,
}

/// The weights that a client gives to an object and to its copies, in thousandths; 0 is "not acceptable".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    copies: [u16; CopyKind::ALL.len()],
    /// The weight of the object as it is stored. It is sent if nothing else is acceptable, whatever its weight
    /// (RFC 9110 §12.5.3: a server "SHOULD" then send no coding).
    stored: u16,
}

/// The weight of an element without one (RFC 9110 §12.4.2).
const FULL: u16 = 1000;

impl Accepts<'_> {
    /// The weights for an object that may have these copies, of this media type.
    pub fn weights(&self, copyable: Copyable, media_type: Option<&str>) -> Weights {
        let mut weights = Weights { copies: [0; CopyKind::ALL.len()], stored: 0 };
        match (copyable, self.encoding, self.media) {
            (Copyable::Text { .. }, Some(field), _) => weights.add_codings(field),
            (Copyable::Image, _, Some(field)) => weights.add_formats(field, media_type),
            _ => {}
        }
        weights
    }

    /// Whether the client may hold such a copy. One that states nothing accepts every coding (RFC 9110 §12.5.3).
    pub fn may_hold(&self, kind: CopyKind) -> bool {
        let (copyable, field) = match kind.coding() {
            Some(_) => (Copyable::Text { may_transform: true }, self.encoding),
            None => (Copyable::Image, self.media),
        };
        field.is_none() || self.weights(copyable, None).of(kind) > 0
    }
}

impl Weights {
    /// The weight of a copy.
    pub fn of(&self, kind: CopyKind) -> u16 {
        self.copies[kind as usize]
    }

    /// Whether the client prefers such a copy to the object, or accepts both alike.
    pub fn prefers(&self, kind: CopyKind) -> bool {
        let weight = self.of(kind);
        weight > 0 && weight >= self.stored
    }

    /// The best of some copies with their sizes: the one with the highest weight; of several, the smallest.
    pub fn choose(&self, copies: impl Iterator<Item = (CopyKind, u64)>) -> Option<CopyKind> {
        let preferred = copies.filter(|(kind, _)| self.prefers(*kind));
        preferred.min_by_key(|(kind, len)| (u16::MAX - self.of(*kind), *len)).map(|(kind, _)| kind)
    }

    /// Reads Accept-Encoding. The first of repeated codings counts.
    fn add_codings(&mut self, field: &str) {
        let (mut listed, mut stored, mut others) = ([None; CopyKind::ALL.len()], None, None);
        for (name, weight) in weighted(field) {
            let slot = match CopyKind::of_coding(name) {
                Some(kind) => &mut listed[kind as usize],
                None if name == "*" => &mut others,
                None if name.eq_ignore_ascii_case("identity") => &mut stored,
                None => continue,
            };
            slot.get_or_insert(weight);
        }
        for kind in CopyKind::ALL.into_iter().filter(|kind| kind.coding().is_some()) {
            self.copies[kind as usize] = listed[kind as usize].or(others).unwrap_or(0);
        }
        // Without a weight of its own, the object is the last choice.
        self.stored = stored.or(others).unwrap_or(0);
    }

    /// Reads Accept. Only a format that the field names counts: browsers send `*/*` too, whatever they can decode.
    fn add_formats(&mut self, field: &str, media_type: Option<&str>) {
        for (name, weight) in weighted(field) {
            if let Some(kind) = CopyKind::of_media_type(name) {
                self.copies[kind as usize] = weight;
            } else if media_type.is_some_and(|own| own.eq_ignore_ascii_case(name)) {
                self.stored = weight;
            }
        }
    }
}

/// The elements of a list with weights (RFC 9110 §12.4.2), without their parameters, and the weights in thousandths. An
/// invalid weight is 0.
fn weighted(field: &str) -> impl Iterator<Item = (&str, u16)> {
    field.split(',').filter_map(|element| {
        let mut parts = element.split(';').map(str::trim_ascii);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some((name, weight.map_or(FULL, |weight| thousandths(weight).unwrap_or(0))))
    })
}

/// Parses `qvalue` (RFC 9110 §12.4.2): 0 to 1 with at most three decimals.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    let is_valid = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let scale = [FULL, 100, 10, 1].get(decimals.len())?;
    let part = if decimals.is_empty() { 0 } else { decimals.parse::<u16>().ok()? * scale };
    match whole {
        "0" if is_valid => Some(part),
        "1" if is_valid && part == 0 => Some(FULL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use CopyKind::{Avif, Br, Gzip, Webp, Zstd};

    const TEXT: Copyable = Copyable::Text { may_transform: true };

    /// The choice among copies that are smaller in the order br, zstd, gzip.
    fn coding(field: &str) -> Option<CopyKind> {
        let accepts = Accepts { encoding: Some(field), media: None };
        accepts.weights(TEXT, Some("text/html")).choose([(Gzip, 30), (Br, 10), (Zstd, 20)].into_iter())
    }

    fn format(field: &str, media_type: &str) -> Option<CopyKind> {
        let accepts = Accepts { encoding: None, media: Some(field) };
        accepts.weights(Copyable::Image, Some(media_type)).choose([(Webp, 20), (Avif, 10)].into_iter())
    }

    #[test]
    fn rfc9110_12_5_3_the_coding_with_the_highest_weight_is_chosen() {
        for (field, expected) in [
            ("", None),
            ("identity", None),
            ("deflate", None),
            ("gzip", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("GZIP", Some(Gzip)),
            ("gzip, deflate, br, zstd", Some(Br)),
            ("gzip;q=1.0, br;q=0.9", Some(Gzip)),
            ("gzip;q=0.5", Some(Gzip)),
            ("gzip ; q=0.5 ,br;q=0.501", Some(Br)),
            ("gzip;q=0", None),
            ("br;q=0.0, gzip", Some(Gzip)),
            ("*", Some(Br)),
            ("*;q=0", None),
            ("br;q=0, *", Some(Zstd)),
            ("gzip, *;q=0", Some(Gzip)),
            ("identity;q=1, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some(Gzip)),
            ("identity;q=0, gzip;q=0.1", Some(Gzip)),
            ("identity, *;q=0.5", None),
            ("gzip;q=2, br;q=x", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=1.001", None),
            ("gzip;q=", None),
            ("gzip;q=0.5, gzip", Some(Gzip)),
            ("gzip;q=0, gzip", None),
            (",, gzip,", Some(Gzip)),
        ] {
            assert_eq!(coding(field), expected, "{field:?}");
        }
    }

    #[test]
    fn a_client_without_accept_encoding_gets_no_coding() {
        for copyable in [TEXT, Copyable::Image] {
            let weights = Accepts::default().weights(copyable, None);
            assert_eq!(weights.choose([(Gzip, 1), (Avif, 1)].into_iter()), None);
        }
    }

    #[test]
    fn accept_says_nothing_about_codings_and_accept_encoding_nothing_about_formats() {
        let accepts =
            Accepts { encoding: Some("gzip;q=0.5"), media: Some("text/html, image/webp;q=0.5, image/jpeg;q=0.4") };
        assert_eq!(accepts.weights(TEXT, Some("text/html")).choose([(Gzip, 1)].into_iter()), Some(Gzip));
        let accepts = Accepts { encoding: Some("identity"), ..accepts };
        assert_eq!(accepts.weights(Copyable::Image, Some("image/jpeg")).choose([(Webp, 1)].into_iter()), Some(Webp));
    }

    #[test]
    fn rfc9110_12_5_1_only_a_named_format_is_chosen() {
        let chrome = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
        for (field, expected) in [
            (chrome, Some(Avif)),
            ("image/webp,*/*", Some(Webp)),
            ("image/*", None),
            ("*/*", None),
            ("image/avif;q=0", None),
            ("image/avif;q=0.5, image/webp", Some(Webp)),
            ("image/jpeg, image/avif;q=0.5", None),
            ("IMAGE/AVIF", Some(Avif)),
        ] {
            assert_eq!(format(field, "image/jpeg"), expected, "{field:?}");
        }
    }

    #[test]
    fn a_client_may_hold_what_it_accepts_or_states_nothing_about() {
        let accepts = |encoding| Accepts { encoding, media: Some("image/webp") };
        assert!(accepts(None).may_hold(Br) && accepts(Some("br")).may_hold(Br));
        assert!(!accepts(Some("gzip")).may_hold(Br));
        assert!(accepts(None).may_hold(Webp) && !accepts(None).may_hold(Avif));
    }

    proptest! {
        #[test]
        fn any_field_has_weights_of_at_most_one(field in "(?s:.){0,40}|(gzip|br|\\*|identity|;|q=|0\\.5|1|,| ){0,12}") {
            let accepts = Accepts { encoding: Some(&field), media: Some(&field) };
            for copyable in [TEXT, Copyable::Image] {
                let weights = accepts.weights(copyable, Some(&field));
                for kind in CopyKind::ALL {
                    prop_assert!(weights.of(kind) <= FULL);
                    prop_assert!(!weights.prefers(kind) || weights.of(kind) >= weights.stored);
                }
            }
        }
    }
}

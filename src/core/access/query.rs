//! Parameters of a query string.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The values of a parameter, percent-decoded. A value that is not UTF-8 is returned as sent.
pub(super) fn values<'a>(query: &'a str, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    query.split('&').filter(move |pair| is_named(pair, name)).map(|pair| {
        let value = pair.split_once('=').map_or("", |(_, value)| value);
        percent_decode_str(value).decode_utf8().unwrap_or(Cow::Borrowed(value))
    })
}

/// The query without some parameters, in whatever way their names are encoded.
pub fn remove<'a>(query: &'a str, names: &[impl AsRef<str>]) -> Cow<'a, str> {
    let is_kept = |pair: &&str| !names.iter().any(|name| is_named(pair, name.as_ref()));
    if query.split('&').all(|pair| is_kept(&pair)) {
        return Cow::Borrowed(query);
    }
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    Cow::Owned(kept.join("&"))
}

/// Whether a pair has this name, which consists of unreserved characters.
fn is_named(pair: &str, name: &str) -> bool {
    let found = pair.split_once('=').map_or(pair, |(found, _)| found);
    found == name || (found.contains('%') && percent_decode_str(found).eq(name.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling_of_a_name_is_removed() {
        for (query, kept) in [
            ("", ""),
            ("a=1", "a=1"),
            ("verify=1", ""),
            ("verify", ""),
            ("verify=1&a=2", "a=2"),
            ("a=2&verify=1", "a=2"),
            ("a=2&verify=1&b=3&verify=", "a=2&b=3"),
            ("%76erify=1&a", "a"),
            ("a&%76%65%72%69%66%79=1", "a"),
            ("%76%65%72%69%66%79", ""),
            ("verify2=1&xverify=2&a=verify", "verify2=1&xverify=2&a=verify"),
            ("Verify=1", "Verify=1"),
            ("%2576erify=1", "%2576erify=1"),
            ("verify%=1", "verify%=1"),
            ("&&verify=1&", "&&"),
        ] {
            assert_eq!(remove(query, &["verify"]), kept, "{query}");
        }
        assert_eq!(remove("verify=1&token=2&a", &["verify", "token"]), "a");
    }

    #[test]
    fn values_are_decoded_once() {
        let all: Vec<_> = values("t=a%2Db&%74=c%252Dd&t&u=e&t=%ff", "t").collect();
        assert_eq!(all, ["a-b", "c%2Dd", "", "%ff"]);
    }

    proptest! {
        #[test]
        fn nothing_is_left_of_a_removed_parameter(query in "(t|%74|a|=|&|%|1){0,12}") {
            let left = remove(&query, &["t"]).into_owned();
            prop_assert_eq!(values(&left, "t").count(), 0, "{}", left);
        }
    }
}

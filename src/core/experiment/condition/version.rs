//! Comparisons of version numbers
//! ([SDK specification, paddedVersionString](https://docs.growthbook.io/lib/build-your-own#paddedversionstring)).

/// The width of a number, so that comparing texts compares numbers.
const WIDTH: usize = 5;

/// A version such as `v1.2.3-rc.1+build123` as a text whose order is the order of versions.
pub(super) fn padded(version: &str) -> String {
    let version = if version.is_empty() { "0" } else { version };
    let version = version.strip_prefix('v').unwrap_or(version);
    let version = version.split_once('+').map_or(version, |(version, _)| version);
    let parts: Vec<&str> = version.split(['-', '.']).collect();
    let mut padded = String::with_capacity(version.len() + 4 * WIDTH);
    // A release comes after its pre-releases, and `~` after all other characters of ASCII.
    let release = (parts.len() == 3).then_some("~");
    for (index, part) in parts.into_iter().chain(release).enumerate() {
        if index > 0 {
            padded.push('-');
        }
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            padded.extend(std::iter::repeat_n(' ', WIDTH.saturating_sub(part.len())));
        }
        padded.push_str(part);
    }
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number_and_a_release_follows_its_pre_releases() {
        let ordered = ["0.9.0", "v0.10.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0"];
        assert!(ordered.is_sorted_by_key(|version| padded(version)));
        assert_eq!(padded("1.2.3+build"), padded("v1-2-3"));
    }
}

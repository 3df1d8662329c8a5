//! Path patterns of cache behaviours.
//!
//! [Path pattern](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesCacheBehavior.html).

/// A path that two patterns match; `None` if there is none. Where both have a `*`, the path has `filler`.
pub fn common(one: &str, other: &str, filler: &str) -> Option<String> {
    let chars = |pattern: &str| pattern.strip_prefix('/').unwrap_or(pattern).chars().collect::<Vec<_>>();
    let (one, other) = (chars(one), chars(other));
    // For each pair of rests, from the end: a path that both match.
    let mut paths = vec![vec![None::<String>; other.len() + 1]; one.len() + 1];
    for at in (0..=one.len()).rev() {
        for position in (0..=other.len()).rev() {
            let after = |by: usize, other_by: usize| paths.get(at + by)?.get(position + other_by)?.as_deref();
            let with = |first: char, rest: Option<&str>| rest.map(|rest| format!("{first}{rest}"));
            let found = match (one.get(at), other.get(position)) {
                (None, None) => Some(String::new()),
                (Some('*'), Some('*')) => {
                    let rest = after(1, 1).or_else(|| after(1, 0)).or_else(|| after(0, 1));
                    rest.map(|rest| format!("{filler}{rest}"))
                }
                (Some('*'), Some(&literal)) => {
                    after(1, 0).map(str::to_owned).or_else(|| with(as_letter(literal), after(0, 1)))
                }
                (Some(&literal), Some('*')) => {
                    after(0, 1).map(str::to_owned).or_else(|| with(as_letter(literal), after(1, 0)))
                }
                (Some('*'), None) => after(1, 0).map(str::to_owned),
                (None, Some('*')) => after(0, 1).map(str::to_owned),
                (Some('?'), Some(&literal)) | (Some(&literal), Some('?')) => with(as_letter(literal), after(1, 1)),
                (Some(&literal), Some(&same)) if literal == same => with(literal, after(1, 1)),
                _ => None,
            };
            if let Some(entry) = paths.get_mut(at).and_then(|row| row.get_mut(position)) {
                *entry = found;
            }
        }
    }
    paths.first()?.first()?.as_ref().map(|path| format!("/{path}"))
}

/// A character that `?` or a literal matches.
fn as_letter(pattern: char) -> char {
    if pattern == '?' { 'x' } else { pattern }
}

/// Whether a path pattern matches a path.
///
/// `*` matches any characters, `?` matches one. Matching is case-sensitive, and the leading `/` is optional.
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<char> = pattern.strip_prefix('/').unwrap_or(pattern).chars().collect();
    let path: Vec<char> = path.strip_prefix('/').unwrap_or(path).chars().collect();
    // Backtracking to the last `*` is enough: a later `*` can match everything that an earlier one could.
    let (mut at, mut position, mut star) = (0, 0, None);
    while position < path.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(&expected) if expected == '?' || expected == path[position] => {
                at += 1;
                position += 1;
            }
            _ => match star {
                Some((star_at, matched)) => {
                    star = Some((star_at, matched + 1));
                    at = star_at + 1;
                    position = matched + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&rest| rest == '*')
}

//! Path patterns of cache behaviours.
//!
//! [Path pattern](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesCacheBehavior.html).

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

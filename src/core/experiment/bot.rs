//! Recognises bots by their user agents.
//!
//! `bots.txt` has the patterns of the crate [isbot](https://crates.io/crates/isbot) 0.1.3 (MIT), one per line in lower case:
//! a text that occurs in the user agent, at its start if it begins with `^`, at its end if it ends with `$`. isbot itself
//! compiles one regular expression of 350 alternatives, which costs as much time as the start of the function; a test
//! compares this module with it.
//!
//! One pattern of isbot is left out: `amazon cloudfront` is the user agent that CloudFront sends if it does not forward the
//! viewer's, so that it says nothing about the viewer.

use std::sync::LazyLock;

/// The patterns.
const PATTERNS: &str = include_str!("bots.txt");

/// The longest user agent that is examined, in bytes. Bots name themselves at the start.
const USER_AGENT_BYTES_MAX: usize = 1_024;

/// The patterns by their first three characters: a user agent has a hundred places, and few of them start a pattern. Comparing
/// each pattern with each place costs ten times as much as the rest of a first visit.
static INDEX: LazyLock<Index> = LazyLock::new(Index::new);

/// Three classes of characters, of five bits each.
const KEY_BITS: u32 = 15;

/// The class of each byte: a letter in either case, a digit, or one of the signs that patterns start with.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = match byte as u8 {
            letter @ (b'a'..=b'z' | b'A'..=b'Z') => letter.to_ascii_lowercase() - b'a' + 1,
            b'0'..=b'9' => 27,
            b'-' => 28,
            b' ' => 29,
            b'_' => 30,
            b'!' => 31,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

struct Index {
    /// A bit for each key of a pattern.
    keys: Box<[u64; 1 << (KEY_BITS - 6)]>,
    /// The patterns, sorted by their keys.
    patterns: Vec<Pattern>,
}

struct Pattern {
    key: u16,
    text: &'static str,
    at_start: bool,
    at_end: bool,
}

/// Whether a user agent is that of a bot: one of the list, or one that contains one of `more`, in lower case.
pub fn is_bot(user_agent: &str, more: &[String]) -> bool {
    let end = user_agent.floor_char_boundary(USER_AGENT_BYTES_MAX);
    let user_agent = &user_agent[..end];
    let contains_any = || {
        let user_agent = user_agent.to_ascii_lowercase();
        more.iter().any(|pattern| user_agent.contains(&**pattern))
    };
    names_itself(user_agent) || INDEX.finds_any(user_agent.as_bytes()) || !more.is_empty() && contains_any()
}

impl Index {
    fn new() -> Self {
        let read = |pattern: &'static str| {
            let (pattern, at_start) = pattern.strip_prefix('^').map_or((pattern, false), |pattern| (pattern, true));
            let (text, at_end) = pattern.strip_suffix('$').map_or((pattern, false), |pattern| (pattern, true));
            Pattern { key: text.bytes().take(3).fold(0, next_key), text, at_start, at_end }
        };
        let mut patterns: Vec<Pattern> = PATTERNS.lines().map(read).collect();
        patterns.sort_unstable_by_key(|pattern| pattern.key);
        let mut keys = Box::new([0; 1 << (KEY_BITS - 6)]);
        for Pattern { key, .. } in &patterns {
            keys[usize::from(key >> 6)] |= 1 << (key & 63);
        }
        Self { keys, patterns }
    }

    fn finds_any(&self, user_agent: &[u8]) -> bool {
        let mut key = 0;
        user_agent.iter().enumerate().any(|(end, byte)| {
            key = next_key(key, *byte);
            self.keys[usize::from(key >> 6)] >> (key & 63) & 1 != 0 && self.starts_any(user_agent, end, key)
        })
    }

    /// Whether a pattern with a key matches at the place whose third character is at `third`.
    fn starts_any(&self, user_agent: &[u8], third: usize, key: u16) -> bool {
        let Some(rest) = third.checked_sub(2).and_then(|at| user_agent.get(at..)) else { return false };
        let first = self.patterns.partition_point(|pattern| pattern.key < key);
        let mut candidates = self.patterns[first..].iter().take_while(|pattern| pattern.key == key);
        candidates.any(|Pattern { text, at_start, at_end, .. }| {
            let is_in_place = (!at_start || third == 2) && (!at_end || rest.len() == text.len());
            is_in_place && rest.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text.as_bytes()))
        })
    }
}

/// The key of the last three bytes.
fn next_key(key: u16, byte: u8) -> u16 {
    (key << 5 | u16::from(CLASSES[usize::from(byte)])) & ((1 << KEY_BITS) - 1)
}

/// Whether the product name at the start contains `bot`, such as `AhrefsBot/7.0`.
fn names_itself(user_agent: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"./ -_".contains(&byte);
    let length = user_agent.bytes().take_while(|byte| is_name(*byte)).count();
    user_agent.as_bytes()[..length].windows(3).any(|window| window.eq_ignore_ascii_case(b"bot"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// User agents of browsers, bots and tools.
    const EXAMPLES: [&str; 16] = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 MicroMessenger/8.0.43",
        "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 Safari/537.36",
        "AhrefsBot/7.0",
        "facebookexternalhit/1.1",
        "GPTBot",
        "curl/8.5.0",
        "python-requests/2.31",
        "Viber",
        "Viber/13.3.0",
        "k6/0.49.0 (https://k6.io/)",
        "",
    ];

    #[test]
    fn bots_are_those_of_the_crate_isbot() {
        let isbot = isbot::Bots::default();
        for user_agent in EXAMPLES {
            assert_eq!(is_bot(user_agent, &[]), isbot.is_bot(user_agent), "{user_agent}");
        }
    }

    #[test]
    fn the_user_agent_of_cloudfront_is_no_bot_and_the_setting_adds_patterns() {
        assert!(!is_bot("Amazon CloudFront", &[]));
        assert!(is_bot("Acme-Monitor/1.0", &["acme-monitor".to_owned()]));
    }

    proptest! {
        #[test]
        fn every_pattern_of_the_list_is_one_of_isbot(index in any::<prop::sample::Index>(), before in "[a-z (;]{0,8}") {
            let patterns: Vec<&str> = PATTERNS.lines().collect();
            let pattern = patterns[index.index(patterns.len())];
            let text = pattern.trim_start_matches('^').trim_end_matches('$');
            let user_agent = if pattern.starts_with('^') { text.to_owned() } else { format!("{before}{text}") };
            prop_assert!(is_bot(&user_agent, &[]));
        }
    }
}

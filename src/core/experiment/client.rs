//! The browser and the operating system of a user agent, by the names of GrowthBook's automatic attributes.

/// Tokens of user agents and the browser that each means, in the order of the tests: browsers also name others.
const BROWSERS: [(&str, &str); 9] = [
    ("MicroMessenger", "wechat"),
    ("Edg", "edge"),
    ("OPR/", "opera"),
    ("SamsungBrowser", "samsung"),
    ("FxiOS", "firefox"),
    ("Firefox", "firefox"),
    ("CriOS", "chrome"),
    ("Chrome", "chrome"),
    ("Safari", "safari"),
];

/// Tokens of user agents and the operating system that each means, in the order of the tests.
const SYSTEMS: [(&str, &str); 8] = [
    ("Android", "android"),
    ("iPhone", "ios"),
    ("iPad", "ios"),
    ("HarmonyOS", "harmonyos"),
    ("Windows", "windows"),
    ("CrOS", "chromeos"),
    ("Mac OS X", "macos"),
    ("Linux", "linux"),
];

/// The browser, or `unknown`.
pub(super) fn browser(user_agent: &str) -> &'static str {
    first(&BROWSERS, user_agent)
}

/// The operating system, or `unknown`.
pub(super) fn system(user_agent: &str) -> &'static str {
    first(&SYSTEMS, user_agent)
}

fn first(tokens: &[(&str, &'static str)], user_agent: &str) -> &'static str {
    tokens.iter().find(|(token, _)| user_agent.contains(token)).map_or("unknown", |(_, name)| name)
}

//! The message when the cloud is ready: addresses, commands that work on the site, and notes about the site.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nearedge::config::Config;
use percent_encoding::utf8_percent_encode;
use serde::Serialize;

use crate::address;
use crate::contents::{Contents, PATH_ENCODED, VariantExample};
use crate::definition::SiteDefinition;
use crate::gateway::door::Door;
use crate::journal::READY;
use crate::s3::site::Site;
use crate::site_summary::summaries;

/// The addresses, commands and notes. As JSON it has the same fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Banner {
    /// URL of the CDN for viewers.
    pub cdn: String,
    /// URL of the API, with the stage.
    pub api: String,
    /// URL of the bucket.
    pub bucket: String,
    /// URL of the console.
    pub console: String,
    /// The folder that the bucket serves; `None` with another S3.
    pub site: Option<String>,
    /// The variants whose folders contain objects; empty with another S3.
    pub variants: Vec<String>,
    /// When a changed file shows.
    pub changes: Option<String>,
    /// The active files of rules, one line for each.
    pub rules: Vec<String>,
    /// The keys of the experiments that run.
    pub experiments: Vec<String>,
    /// Facts that make requests fail, and what to do about each.
    pub notes: Vec<String>,
    /// Commands to try.
    pub commands: Vec<String>,
    /// The service that listens at `api`, and what it requires.
    #[serde(skip)]
    pub door: &'static str,
    /// How the CDN shows the function that a request is its own.
    #[serde(skip)]
    pub cdn_adds: &'static str,
    /// The variables with the bucket's credentials, for an S3 client.
    #[serde(skip)]
    pub credentials: Option<String>,
    /// A command that follows a redirect to the object.
    #[serde(skip)]
    pub follow: Option<String>,
    /// The page to open in a browser.
    #[serde(skip)]
    pub browse: String,
    /// What the experiments do, and how to see another variation.
    #[serde(skip)]
    pub test: Option<String>,
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cdn, api, bucket, console, .. } = self;
        writeln!(f, "\n{READY}.\n")?;
        writeln!(f, "  CDN        {cdn}    (CloudFront: {})", self.cdn_adds)?;
        writeln!(f, "  API        {api}    ({})", self.door)?;
        writeln!(f, "  bucket     {bucket}")?;
        if let Some(credentials) = &self.credentials {
            writeln!(f, "             {credentials}")?;
        }
        writeln!(f, "  console    {console}    (CloudWatch and X-Ray: requests, latency, cache, traces, dashboards)")?;
        if let Some(site) = &self.site {
            let variants = if self.variants.is_empty() { "no variants".to_owned() } else { self.variants.join(", ") };
            writeln!(f, "  site       {site}    ({variants})")?;
        }
        if let Some(changes) = &self.changes {
            writeln!(f, "             {changes}")?;
        }
        for (line, rules) in self.rules.iter().enumerate() {
            writeln!(f, "  {:<10} {rules}", if line == 0 { "rules" } else { "" })?;
        }
        for note in &self.notes {
            writeln!(f, "\nNote: {note}")?;
        }
        if let Some(test) = &self.test {
            writeln!(f, "\n{test}")?;
        }
        writeln!(f, "\nCommands to try:\n")?;
        for command in &self.commands {
            writeln!(f, "  {command}")?;
        }
        if let Some(follow) = &self.follow {
            writeln!(f, "\nTo follow the redirect to the object:  {follow}")?;
        }
        write!(f, "\nTo see the site, open {} in a browser. Press Ctrl-C to stop.\n", self.browse)
    }
}

/// The facts about the cloud from which the message follows.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// URL of the CDN for viewers.
    pub(crate) cdn: &'a str,
    /// URL of the front door, with the stage.
    pub(crate) api: String,
    /// The front door.
    pub(crate) door: &'a Door,
    /// URL of the bucket.
    pub(crate) bucket: String,
    /// URL of the console.
    pub(crate) console: String,
    /// The variables with the bucket's credentials.
    pub(crate) credentials: Option<String>,
    /// The folder and the objects of the local bucket.
    pub(crate) folder: Option<(&'a Path, &'a Site)>,
    /// The variants that the CDN serves directly from the bucket.
    pub(crate) variants: &'a [String],
    /// The definition of experiments.
    pub(crate) definition: &'a SiteDefinition,
    /// The name of the header with the secret.
    pub(crate) auth_header: &'a str,
    /// The secret.
    pub(crate) secret: &'a str,
    /// The name of the header with the variant.
    pub(crate) version_header: &'a str,
    /// The settings of the function; `None` if the handler is another program.
    pub(crate) config: Option<&'a Config>,
    /// Whether the CDN caches responses.
    pub(crate) cdn_caches: bool,
    /// The listen address of the CDN, if `cdn` was derived from it.
    pub(crate) derived_url_of: Option<SocketAddr>,
    /// The listen address of the bucket, if only this machine reaches it.
    pub(crate) private_bucket: Option<SocketAddr>,
}

impl Banner {
    /// The message of a cloud that is ready.
    pub(crate) fn new(facts: &Facts<'_>) -> Self {
        let policy = facts.config.map(|config| &config.policy);
        let settings = Settings {
            auth_header: facts.auth_header,
            secret: facts.secret,
            version_header: facts.version_header,
            index: policy.map_or("index.html", |policy| &policy.index_document),
            variant_fallback: policy.is_some_and(|policy| policy.variant_fallback),
        };
        let listed = policy.and_then(|policy| policy.test_versions.as_deref());
        let is_listed = |variant: &&String| listed.is_none_or(|listed| listed.contains(variant));
        let variants: Vec<String> = facts.variants.iter().filter(is_listed).cloned().collect();
        let contents = facts.folder.map(|(folder, site)| {
            let serves = |key: &str| key != facts.definition.key && matches!(site.find(key), Ok(Some(_)));
            let contents = Contents::survey(folder, &variants, settings.index, serves);
            // A visitor of a test gets the variant's index document at `/`.
            let has_index = |version: &String| serves(&format!("{version}/{}", settings.index));
            let is_tested = !facts.definition.experiments.is_empty();
            let has_index = contents.has_index || is_tested && facts.definition.versions.iter().any(has_index);
            Contents { has_index, ..contents }
        });
        let site = facts.folder.map(|(folder, _)| folder.display().to_string());
        let mut notes = match (&contents, &site) {
            (Some(contents), Some(site)) => notes(contents, site, &settings),
            _ => vec![format!(
                "the commands assume {} in the folder of each variant: replace their paths by those of your objects.",
                settings.index
            )],
        };
        if facts.cdn_caches {
            notes.push(
                "the CDN caches, so a change shows there when its copy has expired. A restart empties its cache; the API \
                 shows the change earlier."
                    .to_owned(),
            );
        }
        notes.extend(facts.definition.problems.iter().map(|problem| format!("{problem}.")));
        notes.extend(network_notes(facts));
        let mut banner = Self {
            cdn: facts.cdn.to_owned(),
            api: facts.api.clone(),
            door: facts.door.summary(),
            cdn_adds: if facts.door.verifies_signatures() { "signs its requests" } else { "adds the secret header" },
            bucket: facts.bucket.clone(),
            console: facts.console.clone(),
            variants: contents.as_ref().map(|contents| contents.present.clone()).unwrap_or_default(),
            changes: facts.config.map(|config| {
                let cached = config.cache.max_bytes > 0 && config.cache.object_max_bytes > 0;
                let limits = config.cache.limits;
                let (ttl, stale) =
                    if cached { (limits.ttl, limits.stale_while_revalidate) } else { Default::default() };
                changes(ttl, stale, if site.is_some() { "An edited file" } else { "A changed object" })
            }),
            site,
            notes,
            credentials: facts.credentials.clone(),
            ..Self::default()
        };
        if let Some(((folder, site), config)) = facts.folder.zip(facts.config) {
            banner.rules = summaries(folder, site, &config.site);
        }
        banner.add_commands(&settings, contents.as_ref(), &variants);
        if facts.door.verifies_signatures() {
            banner.commands.retain(|command| !command.contains(&facts.api));
        }
        if let Some(Contents { has_index: false, page: None, example: Some(example), .. }) = &contents
            && !facts.definition.experiments.is_empty()
        {
            // With the variant in the path, no visitor is assigned.
            banner.browse = format!("{}/{}", facts.cdn, encoded(&example.page));
        }
        banner.experiments = facts.definition.experiments.iter().map(|experiment| experiment.key.clone()).collect();
        banner.test = facts
            .definition
            .explanation(&banner.browse)
            .map(|test| format!("{test}\nThe results are at {}/experiments.", facts.console));
        if policy.is_some_and(|policy| policy.redirect_path != facts.cdn) {
            // The redirect leads elsewhere.
            banner.follow = None;
        }
        banner
    }
}

/// The notes about addresses that other machines use.
fn network_notes(facts: &Facts<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let Some(edge) = facts.derived_url_of.filter(|edge| !edge.ip().is_loopback()) else { return notes };
    if address::listens_everywhere(edge) {
        notes.push(format!(
            "redirects lead to {}. If viewers reach the CDN under another address, such as that of a forwarded port, set \
             it with --public-url.",
            facts.cdn
        ));
    }
    if let Some(bucket) = facts.private_bucket {
        notes.push(format!(
            "an object too large for Lambda redirects to the bucket, which listens on this machine only: use --s3 \
             {} if other machines are to load such objects.",
            SocketAddr::new(edge.ip(), bucket.port())
        ));
    }
    notes
}

/// The message about the time after which a changed file shows.
///
/// The cache serves an object without a request to S3 during `ttl`, and once more during `stale_while_revalidate`.
fn changes(ttl: Duration, stale_while_revalidate: Duration, object: &str) -> String {
    let once_more = if stale_while_revalidate.is_zero() { "" } else { " and one more request" };
    match (ttl.as_secs(), once_more) {
        (0, "") => format!("{object} shows at once."),
        (0, _) => format!("{object} shows after one more request; with --env stale_while_revalidate_secs=0 at once."),
        (secs, _) => format!("{object} shows after {secs} s{once_more}; with --env cache_ttl_secs=0 at once."),
    }
}

/// The notes about a site's folder.
fn notes(contents: &Contents, site: &str, settings: &Settings<'_>) -> Vec<String> {
    let Settings { version_header, index, variant_fallback, .. } = settings;
    if contents.is_empty {
        return vec![format!(
            "{site} is empty, so every object is missing (404). Copy files into it; no restart is necessary. Each \
             variant is a folder: {}.",
            folders(&contents.missing)
        )];
    }
    let mut notes = Vec::new();
    if !contents.missing.is_empty() {
        let missing = folders(&contents.missing);
        let (it, has) = if contents.missing.len() == 1 {
            ("it", "does not exist or has")
        } else {
            ("them", "do not exist or have")
        };
        let effect = if *variant_fallback { "get the objects without a variant (variant_fallback)" } else { "get 404" };
        notes.push(format!(
            "{missing} {has} no file in {site}: requests with {version_header}: {} {effect}. Create {it}, or name your \
             variants' folders with --variants.",
            contents.missing.join(" or "),
        ));
    }
    if !contents.has_index {
        notes.push(format!("{site} has no {index}, so / without a variant is a missing object (404). Create {index}."));
    }
    notes
}

/// `v1/, v2/`.
fn folders(variants: &[String]) -> String {
    variants.iter().map(|variant| format!("{variant}/")).collect::<Vec<_>>().join(", ")
}

/// The settings that commands and notes depend on.
#[derive(Debug, Clone, Copy)]
struct Settings<'a> {
    /// The name of the header with the secret.
    auth_header: &'a str,
    /// The secret.
    secret: &'a str,
    /// The name of the header with the variant.
    version_header: &'a str,
    /// The document of a path that ends with `/`.
    index: &'a str,
    /// Whether an object that a variant lacks is served from the key without the variant.
    variant_fallback: bool,
}

impl Banner {
    /// The command that sends a plain request through the CDN, or else the first one.
    pub(crate) fn example(&self) -> &str {
        let is_plain =
            |command: &&String| command.contains(&format!("{}/", self.cdn)) && !command.contains("redirect:");
        self.commands.iter().find(is_plain).or_else(|| self.commands.first()).map_or("", String::as_str)
    }

    /// Adds the commands for a site with these contents; without contents, for an unknown bucket with `variants`.
    fn add_commands(&mut self, settings: &Settings<'_>, contents: Option<&Contents>, variants: &[String]) {
        let unknown;
        let contents = match contents {
            Some(contents) => contents,
            None => {
                unknown = assumed(settings.index, variants);
                &unknown
            }
        };
        let Settings { auth_header, secret, version_header, index, .. } = settings;
        let (cdn, api) = (&self.cdn, &self.api);
        let plain = |base: &str, key: &str| format!("{base}/{}", encoded(path_of(key, index)));
        let url = |base: &str, key: &str| shell_word(plain(base, key));
        let secret = header(auth_header, secret);
        let variant = |variant: &str| header(version_header, variant);
        let redirect = header("redirect", "true");
        let index_page = if contents.example.is_some() { None } else { Some(*index) };
        let page = contents.page.as_deref().or(index_page);
        let mut commands = vec![format!("curl {}", url(api, index))];
        commands.extend(page.map(|page| format!("curl -v -H {secret} {}", url(api, page))));
        self.browse = plain(cdn, if contents.has_index { index } else { page.unwrap_or(index) });
        if let Some(VariantExample { first, second, page, image }) = &contents.example {
            commands.push(format!("curl -H {secret} -H {} {}", variant(second), url(api, page)));
            if let Some(image) = image {
                let url = url(api, image);
                commands.push(format!("curl -H {secret} -H {} {url} > {}", variant(second), file_name(image)));
            }
            let first_page = format!("-H {} -H {redirect} {}", variant(first), url(cdn, page));
            commands.push(format!("curl -v -H {secret} -H {} -H {redirect} {}", variant(first), url(api, page)));
            commands.push(format!("curl -H {} {}", variant(first), url(cdn, page)));
            commands.push(format!("curl -I {first_page}"));
            self.follow = Some(format!("curl -L {first_page}"));
            if contents.page.is_none() && !contents.has_index {
                self.browse = format!("{cdn}/{}", encoded(&format!("{first}/{page}")));
            }
        } else {
            commands.extend(page.map(|page| format!("curl {}", url(cdn, page))));
            if let Some(image) = &contents.image {
                commands.push(format!("curl {} > {}", url(cdn, image), file_name(image)));
            }
        }
        self.commands = commands;
    }
}

/// The contents of a bucket that cannot be surveyed: an index document for each variant.
fn assumed(index: &str, variants: &[String]) -> Contents {
    let example = variants.first().map(|first| VariantExample {
        first: first.clone(),
        second: variants.get(1).unwrap_or(first).clone(),
        page: index.to_owned(),
        image: None,
    });
    Contents { has_index: true, page: Some(index.to_owned()), example, ..Contents::default() }
}

/// The path at which the function serves a key: the folder of an index document, otherwise the key.
fn path_of<'a>(key: &'a str, index: &str) -> &'a str {
    key.strip_suffix(index).filter(|folder| folder.is_empty() || folder.ends_with('/')).unwrap_or(key)
}

fn encoded(path: &str) -> String {
    utf8_percent_encode(path, PATH_ENCODED).to_string()
}

/// `"name:value"`, quoted for a shell.
fn header(name: &str, value: &str) -> String {
    let text = format!("{name}:{value}");
    if text.contains(['"', '$', '`', '\\', '!']) {
        shlex::try_quote(&text).map_or_else(|_| text.clone(), |quoted| quoted.into_owned())
    } else {
        format!("\"{text}\"")
    }
}

/// A URL, quoted if a shell would expand it: zsh reads the brackets of an IPv6 address as a pattern.
fn shell_word(url: String) -> String {
    if url.contains('[') { format!("\"{url}\"") } else { url }
}

/// The name of the file to which a command writes an image.
fn file_name(key: &str) -> &str {
    let name = key.rsplit('/').next().unwrap_or(key);
    let simple =
        !name.starts_with('-') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if simple { name } else { "image" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings<'static> = Settings {
        auth_header: "lambda_auth",
        secret: "s",
        version_header: "test_version",
        index: "index.html",
        variant_fallback: false,
    };

    fn banner(settings: &Settings<'_>, contents: Option<&Contents>) -> Banner {
        let mut banner = Banner { cdn: "http://cdn".to_owned(), api: "http://api".to_owned(), ..Banner::default() };
        banner.add_commands(settings, contents, &["v1".to_owned(), "v2".to_owned()]);
        banner
    }

    fn contents(example: Option<VariantExample>) -> Contents {
        Contents {
            page: Some("a b/index.html".to_owned()),
            image: Some("it's.png".to_owned()),
            example,
            ..Contents::default()
        }
    }

    #[test]
    fn commands_without_variants_send_no_variant() {
        let banner = banner(&SETTINGS, Some(&contents(None)));
        assert_eq!(
            banner.commands,
            [
                "curl http://api/",
                "curl -v -H \"lambda_auth:s\" http://api/a%20b/",
                "curl http://cdn/a%20b/",
                "curl http://cdn/it%27s.png > image",
            ]
        );
        assert_eq!(banner.browse, "http://cdn/a%20b/");
        assert!(banner.follow.is_none());
    }

    #[test]
    fn the_example_is_a_plain_request_through_the_cdn() {
        assert_eq!(banner(&SETTINGS, Some(&contents(None))).example(), "curl http://cdn/a%20b/");
        assert_eq!(banner(&SETTINGS, None).example(), "curl -H \"test_version:v1\" http://cdn/");
        assert_eq!(Banner::default().example(), "");
    }

    #[test]
    fn commands_quote_a_secret_with_shell_characters() {
        for secret in ["a$b", "a\"b", "a`b", "a!b", "a'$b"] {
            let commands = banner(&Settings { secret, ..SETTINGS }, None).commands;
            let words = shlex::split(&commands[1]).unwrap();
            assert_eq!(words[3], format!("lambda_auth:{secret}"), "{}", commands[1]);
        }
    }

    #[test]
    fn commands_quote_the_brackets_of_an_ipv6_address() {
        let mut banner = Banner { cdn: "http://[::1]:3000".to_owned(), ..Banner::default() };
        banner.add_commands(&SETTINGS, Some(&contents(None)), &[]);
        assert!(banner.commands.contains(&"curl \"http://[::1]:3000/a%20b/\"".to_owned()), "{banner:#?}");
        assert_eq!(banner.browse, "http://[::1]:3000/a%20b/");
    }

    #[test]
    fn an_unknown_bucket_has_commands_for_its_index_documents() {
        let banner = banner(&SETTINGS, None);
        assert!(banner.commands.contains(&"curl -H \"test_version:v1\" http://cdn/".to_owned()), "{banner:#?}");
        assert_eq!(banner.browse, "http://cdn/");
    }

    #[test]
    fn a_site_with_variants_only_is_opened_at_a_variant() {
        let (first, second) = ("red".to_owned(), "green".to_owned());
        let example = VariantExample { first, second, page: "index.html".to_owned(), image: None };
        let contents = Contents { page: None, image: None, ..contents(Some(example)) };
        let banner = banner(&SETTINGS, Some(&contents));
        assert_eq!(banner.browse, "http://cdn/red/index.html");
        assert!(banner.commands.contains(&"curl -H \"test_version:red\" http://cdn/".to_owned()), "{banner:#?}");
    }

    #[test]
    fn a_tested_site_with_variants_only_is_opened_at_its_index() {
        let example =
            VariantExample { first: "red".into(), second: "green".into(), page: "a.html".into(), image: None };
        let contents = Contents { page: None, image: None, has_index: true, ..contents(Some(example)) };
        assert_eq!(banner(&SETTINGS, Some(&contents)).browse, "http://cdn/");
    }

    #[test]
    fn notes_name_what_is_missing_and_what_to_do() {
        let missing = vec!["v1".to_owned(), "v2".to_owned()];
        let empty = Contents { is_empty: true, missing: missing.clone(), ..Contents::default() };
        assert!(notes(&empty, "/site", &SETTINGS)[0].starts_with("/site is empty, so every object is missing (404)."));
        let lacks = notes(&Contents { missing, ..Contents::default() }, "/site", &SETTINGS);
        assert_eq!(lacks.len(), 2, "{lacks:#?}");
        assert!(lacks[0].contains("v1/, v2/ do not exist") && lacks[0].contains("--variants"), "{lacks:#?}");
        assert!(lacks[1].contains("no index.html"), "{lacks:#?}");
    }

    #[test]
    fn the_delay_of_a_change_is_computed_from_the_settings() {
        let changes = |ttl, stale| changes(Duration::from_secs(ttl), Duration::from_secs(stale), "An edited file");
        assert_eq!(changes(10, 0), "An edited file shows after 10 s; with --env cache_ttl_secs=0 at once.");
        assert_eq!(changes(0, 0), "An edited file shows at once.");
        assert!(changes(60, 5).contains("after 60 s and one more request"));
    }
}

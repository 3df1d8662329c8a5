//! `sign`: signs a link that a rule with `signed_url` accepts.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use nearedge_core::access::check::{Denial, Verdict};
use nearedge_core::access::credentials::{CookieValues, Credentials};
use nearedge_core::access::known::KnownTokens;
use nearedge_core::access::query::remove;
use nearedge_core::access::rules::{AccessRules, RuleKind, Target, Versions};
use nearedge_core::access::signed_url::{KEY_BYTES_MAX, KEY_BYTES_MIN, sign};
use percent_encoding::percent_decode_str;

use crate::rules::trial::encode;

/// The arguments of `sign`.
#[derive(Debug, Args)]
pub struct Sign {
    /// The URL or the path of a guarded object
    #[arg(value_name = "URL")]
    url: String,
    /// The file with the key; - reads standard input. One line feed at its end is removed
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The parameter of the rule
    #[arg(long, value_name = "NAME", default_value = "verify", conflicts_with = "access")]
    parameter: String,
    /// The rules of access: takes the parameter of the rule that guards the path, and warns if none does, or if it does not
    /// accept the link
    #[arg(long, value_name = "FILE")]
    access: Option<PathBuf>,
    /// The time of signing, in Unix seconds [default: now]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=999_999_999_999))]
    at: Option<u64>,
}

/// Runs the command: prints the URL, and never the key.
pub fn run(arguments: &Sign) -> ExitCode {
    match arguments.signed() {
        Ok((url, warnings)) => {
            for warning in warnings {
                drop(writeln!(io::stderr(), "sign: warning: {warning}"));
            }
            if writeln!(io::stdout(), "{url}").is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(reason) => {
            drop(writeln!(io::stderr(), "sign: {reason}"));
            ExitCode::from(2)
        }
    }
}

impl Sign {
    fn signed(&self) -> Result<(String, Vec<String>), String> {
        let url = Url::parse(&self.url)?;
        let path = url.decoded_path()?;
        let key = read_key(&self.key_file)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let rules = self.access.as_deref().map(read_rules).transpose()?;
        let (parameter, mut warnings) = match &rules {
            Some(rules) => parameter_of(rules, &path),
            None => (self.parameter.clone(), Vec::new()),
        };
        if parameter.is_empty()
            || !parameter.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        {
            return Err(format!("--parameter {parameter:?}: expected letters, digits and - . _ ~"));
        }
        let value = sign(&key, &path, self.at.unwrap_or(now));
        let query = url.query_with(&parameter, &value);
        if let Some(rules) = rules.filter(|_| warnings.is_empty()) {
            warnings.extend(refusal(&rules, &path, &query, now));
        }
        Ok((format!("{}?{query}{}", url.start, url.fragment), warnings))
    }
}

/// The parts of a URL.
struct Url {
    /// The scheme, the host and the encoded path.
    start: String,
    /// The encoded path.
    path: String,
    query: String,
    /// The fragment with its `#`.
    fragment: String,
}

impl Url {
    fn parse(url: &str) -> Result<Self, String> {
        let url = encode(url);
        let (rest, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
        let (start, query) = rest.split_once('?').unwrap_or((rest, ""));
        let after_host = match start.split_once("://") {
            Some((_, rest)) => rest.find('/').map(|at| rest[at..].to_owned()),
            None => Some(start.to_owned()),
        };
        let mut start = start.to_owned();
        let path = after_host.unwrap_or_else(|| {
            start.push('/');
            "/".to_owned()
        });
        if !path.starts_with('/') {
            return Err(format!("{url}: expected a URL such as https://www.example.com/files/a.zip, or a path"));
        }
        Ok(Self { start, path, query: query.to_owned(), fragment: fragment.to_owned() })
    }

    /// The path as the function gets it.
    fn decoded_path(&self) -> Result<String, String> {
        let decoded = percent_decode_str(&self.path).decode_utf8();
        let decoded = decoded.map_err(|_| format!("{}: expected percent-encoded UTF-8", self.path))?;
        // API Gateway cuts a decoded path there, and a Function URL does not.
        if decoded.contains('?') {
            return Err(format!("{}: a path with an encoded ? cannot be signed: rename the object", self.path));
        }
        Ok(decoded.into_owned())
    }

    /// The query with the parameter at its end. A parameter of this name is replaced, because several are refused.
    fn query_with(&self, parameter: &str, value: &str) -> String {
        let kept = remove(&self.query, &[parameter]);
        let separator = if kept.is_empty() { "" } else { "&" };
        format!("{kept}{separator}{parameter}={value}")
    }
}

/// Reads the key. Errors do not quote it.
fn read_key(file: &Path) -> Result<String, String> {
    let name = file.display();
    let mut bytes = Vec::new();
    let read = match file == Path::new("-") {
        true => io::stdin().read_to_end(&mut bytes).map(|_| ()),
        false => fs::read(file).map(|read| bytes = read),
    };
    read.map_err(|error| format!("--key-file {name}: {error}"))?;
    let key = String::from_utf8(bytes).map_err(|_| format!("--key-file {name}: expected UTF-8, as in access.json"))?;
    let key = key.strip_suffix('\n').map_or(&*key, |key| key.strip_suffix('\r').unwrap_or(key));
    if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
        let found = key.len();
        return Err(format!(
            "--key-file {name}: expected a key of {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes, found {found}: generate one with \
             `openssl rand -base64 32`"
        ));
    }
    Ok(key.to_owned())
}

fn read_rules(file: &Path) -> Result<AccessRules, String> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("--access {name}: {error}"))?;
    let (rules, _) = AccessRules::parse(&text, None).map_err(|problems| {
        let problem = problems.first().map(ToString::to_string).unwrap_or_default();
        format!("--access {name}: {problem}")
    })?;
    Ok(rules)
}

/// The parameter of the rule that guards a path, and warnings.
fn parameter_of(rules: &AccessRules, path: &str) -> (String, Vec<String>) {
    let guards = rules.guards(path.into(), Versions::Any);
    let mut parameters: Vec<&str> = Vec::new();
    for rule in &guards {
        if let RuleKind::Link(link) = &rule.kind
            && !parameters.contains(&link.parameter())
        {
            parameters.push(link.parameter());
        }
    }
    match parameters[..] {
        [] => {
            let warning = format!("no rule with signed_url guards {path}, so the signature has no effect");
            ("verify".to_owned(), vec![warning])
        }
        [parameter] => (parameter.to_owned(), Vec::new()),
        [first, ..] => {
            let warning = format!("several rules guard {path}, with the parameters {}", parameters.join(", "));
            (first.to_owned(), vec![warning])
        }
    }
}

/// Why the rules refuse a link.
fn refusal(rules: &AccessRules, path: &str, query: &str, now: u64) -> Option<String> {
    let link = Link { query };
    match rules.check(&[Target::from(path)], Versions::Any, &link, &KnownTokens::new(), now) {
        Verdict::Open | Verdict::Granted(_) => None,
        Verdict::Denied(Denial::InvalidSignature) => {
            Some("the rule refuses the link: the key is none of its keys, or --at is in the future".to_owned())
        }
        Verdict::Denied(Denial::Expired) => Some("the link has expired already: --at is too early".to_owned()),
        Verdict::Denied(_) => Some(format!("another rule guards {path} too, and requires more than the link")),
    }
}

/// A request with a link alone.
struct Link<'a> {
    query: &'a str,
}

impl Credentials for Link<'_> {
    fn header(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }

    fn cookies(&self, _: &str) -> CookieValues<'_> {
        CookieValues::new()
    }

    fn query(&self) -> &str {
        self.query
    }

    fn page_url(&self) -> Option<Cow<'_, str>> {
        None
    }
}

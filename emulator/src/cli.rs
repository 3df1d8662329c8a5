//! The command line: options, subcommands and their help texts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use emulator::address::PORT_BASE;
use emulator::experiment;
use emulator::fault::{self, Fault};
use emulator::gateway::door::{Door, Streaming};
use emulator::policy;
use emulator::rules;
use emulator::s3::MissingKey;
use http::{HeaderName, Uri};
use nearedge_core::object::is_version;

/// Local cloud of nearedge: CloudFront, API Gateway, Lambda and S3 in one process.
///
/// It serves a sample site with two variants, or your own folder, through the same hops as AWS: a CDN that adds the
/// secret header, an HTTP API with payload format 2.0, the real handler in execution environments that are frozen
/// between invocations, and a bucket that verifies signatures. Each request prints one line.
#[derive(Debug, Parser)]
#[command(name = "nearedge", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// First of four consecutive ports of 127.0.0.1 for CDN, HTTP API, bucket and console; 0 chooses free ports
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = PORT_BASE,
        value_parser = clap::value_parser!(u16).range(..=i64::from(u16::MAX) - 3),
        help_heading = "Addresses"
    )]
    pub(crate) port_base: u16,
    /// Listen address of the CDN [default: 127.0.0.1, port PORT]; 0.0.0.0:3000 accepts requests from other machines
    #[arg(long, value_name = "ADDRESS", value_parser = address, help_heading = "Addresses")]
    pub(crate) edge: Option<SocketAddr>,
    /// Listen address of the HTTP API [default: 127.0.0.1, port PORT + 1]
    #[arg(long, value_name = "ADDRESS", value_parser = address, help_heading = "Addresses")]
    pub(crate) gateway: Option<SocketAddr>,
    /// Listen address of the local bucket [default: 127.0.0.1, port PORT + 2]; unused with --s3-endpoint
    #[arg(long, value_name = "ADDRESS", value_parser = address, help_heading = "Addresses")]
    pub(crate) s3: Option<SocketAddr>,
    /// Listen address of the console, which is also an OTLP endpoint [default: 127.0.0.1, port PORT + 3]
    #[arg(long, value_name = "ADDRESS", value_parser = address, help_heading = "Addresses")]
    pub(crate) console: Option<SocketAddr>,
    /// URL under which viewers reach the CDN, to which redirects lead [default: the address of the CDN]
    #[arg(long, value_name = "URL", value_parser = public_url, value_hint = ValueHint::Url, help_heading = "Addresses")]
    pub(crate) public_url: Option<String>,

    /// Folder to serve as the bucket, by default the sample site; it is only read, uploads over S3 stay in memory
    #[arg(
        long,
        value_name = "DIR",
        default_value = SAMPLE_SITE,
        value_hint = ValueHint::DirPath,
        help_heading = "Objects",
        hide_default_value = true
    )]
    pub(crate) site: PathBuf,
    /// Name of the bucket
    #[arg(long, value_name = "NAME", default_value = "lambda-api-2022", help_heading = "Objects")]
    pub(crate) bucket: String,
    /// S3's error for a missing key; access-denied as for a role without s3:ListBucket
    #[arg(
        long,
        value_name = "ERROR",
        default_value = "no-such-key",
        help_heading = "Objects",
        value_parser = PossibleValuesParser::new(["no-such-key", "access-denied"]).map(|error| missing_key(&error))
    )]
    pub(crate) missing_key: MissingKey,
    /// URL of an S3 to use instead of the folder, with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN
    /// of this shell
    #[arg(long, value_name = "URL", help_heading = "Objects")]
    pub(crate) s3_endpoint: Option<Uri>,

    /// Definition of experiments, served as the object experiments.json [default: the site's experiments.json, if any]; it
    /// assigns visitors to variants. Problems are notes at the start; `experiment check FILE` lists all
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        conflicts_with = "s3_endpoint",
        help_heading = "Objects"
    )]
    pub(crate) experiments: Option<PathBuf>,

    /// Variants, separated by commas: the CDN serves their folders directly, and the function gets them as test_versions
    /// [default: test_versions if set with --env, otherwise the versions of the experiments, and v1,v2; the function accepts
    /// any variant then]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = variant, help_heading = "CDN and API")]
    pub(crate) variants: Vec<String>,
    /// Request header that the CDN forwards in addition to those of the walk-through, such as accept for spa_fallback;
    /// can be repeated
    #[arg(long = "forward", value_name = "HEADER", help_heading = "CDN and API")]
    pub(crate) forwarded: Vec<HeaderName>,
    /// Cache in the CDN, as deploy/aws.yaml configures it with Caching=on; without this option the CDN caches nothing
    #[arg(long, help_heading = "CDN and API")]
    pub(crate) cache: bool,
    /// Cache and forward as this distribution does: the output of `aws cloudfront get-distribution-config --id ID`, or a
    /// CloudFormation template, such as deploy/aws.yaml
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        conflicts_with_all = ["cache", "forwarded"],
        help_heading = "CDN and API"
    )]
    pub(crate) distribution: Option<PathBuf>,
    /// Policy that the distribution names by id, as the output of `aws cloudfront get-cache-policy` or
    /// `get-origin-request-policy`; can be repeated
    #[arg(long = "policy", value_name = "FILE", requires = "distribution", help_heading = "CDN and API")]
    pub(crate) policies: Vec<PathBuf>,
    /// Parameter of the distribution's template, such as Caching=on; can be repeated
    #[arg(
        long = "set",
        value_name = "NAME=VALUE",
        value_parser = policy::command::name_and_value,
        requires = "distribution",
        help_heading = "CDN and API"
    )]
    pub(crate) parameters: Vec<(String, String)>,
    /// Stage of an HTTP or REST API; a named stage prefixes every path of the API. A REST API has the stage prod by default
    #[arg(long, value_name = "STAGE", default_value = "$default", value_parser = stage, help_heading = "CDN and API")]
    pub(crate) stage: String,
    /// Service between the CDN and the function; each has its own events, responses, limits and errors
    #[arg(
        long,
        value_name = "DOOR",
        value_enum,
        default_value_t,
        conflicts_with = "function_url",
        help_heading = "CDN and API"
    )]
    pub(crate) door: DoorName,
    /// The same as --door function-url
    #[arg(long, hide = true)]
    pub(crate) function_url: bool,
    /// Stream responses: the invoke mode RESPONSE_STREAM of a function URL, or the response transfer mode STREAM of a REST API
    #[arg(long, help_heading = "CDN and API")]
    pub(crate) streaming: bool,
    /// Bandwidth of a streamed response after its first 6 MB, or 10 MB of a REST API, in MB per second, 0.001 to 10000; 2 on
    /// AWS [default: not limited]
    #[arg(long, value_name = "MBPS", value_parser = rate, requires = "streaming", help_heading = "CDN and API")]
    pub(crate) stream_rate: Option<u64>,
    /// Read a streamed response of the function to its end when the viewer has disconnected, as AWS documents, instead of
    /// aborting the function's upload
    #[arg(long, requires = "streaming", help_heading = "CDN and API")]
    pub(crate) stream_drain: bool,
    /// Origin access control, with --door function-url: the CDN signs its requests instead of adding the secret, and the function
    /// URL accepts no others. A viewer's request with a body needs the header x-amz-content-sha256
    #[arg(long, help_heading = "CDN and API")]
    pub(crate) oac: bool,
    /// Base path mapping of a custom domain, with --door rest: paths start with /PATH instead of the stage; `/` maps the
    /// whole domain
    #[arg(long, value_name = "PATH", value_parser = base_path, help_heading = "CDN and API")]
    pub(crate) base_path: Option<String>,
    /// Multi-value headers of the target group, with --door alb: events and responses have all values of a name
    #[arg(long, help_heading = "CDN and API")]
    pub(crate) alb_multi_value: bool,

    /// Environment variable of the handler, such as variant_fallback=true; can be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = name_and_value, help_heading = "Function")]
    pub(crate) env: Vec<(String, String)>,
    /// Program to run as the handler instead of nearedge; it must use the Lambda Runtime API
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath, help_heading = "Function")]
    pub(crate) bootstrap: Option<PathBuf>,
    /// Timeout of the function, in seconds, 0.1 to 900
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds, help_heading = "Function")]
    pub(crate) timeout: Duration,
    /// Memory of the function, in MB, 128 to 10240; reported to the handler, not enforced
    #[arg(
        long,
        value_name = "MB",
        default_value_t = 128,
        value_parser = clap::value_parser!(u32).range(128..=10_240),
        help_heading = "Function"
    )]
    pub(crate) memory: u32,
    /// Maximum number of execution environments, 1 to 100
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=100),
        help_heading = "Function"
    )]
    pub(crate) environments: u16,
    /// Concurrent invocations per environment, 1 to 10000; above 1 environments are never frozen, as on Lambda Managed
    /// Instances
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=10_000),
        help_heading = "Function"
    )]
    pub(crate) concurrency: u16,
    /// Do not freeze environments between invocations
    #[arg(long, help_heading = "Function")]
    pub(crate) no_freeze: bool,
    /// Keep the environments when a file that configures the function changes: it notices after cache_ttl_secs, as on AWS.
    /// Without this option, new environments load the file for the next request
    #[arg(long, help_heading = "Function")]
    pub(crate) no_reload: bool,
    /// Return 503 when all environments are busy, as at Lambda's concurrency limit, instead of waiting for one
    #[arg(long, help_heading = "Function")]
    pub(crate) throttle: bool,
    /// Fraction of invocations that X-Ray samples, 0 to 1
    #[arg(long, value_name = "RATIO", default_value_t = 1.0, value_parser = ratio, help_heading = "Function")]
    pub(crate) sampled: f64,
    /// AWS region of all services
    #[arg(long, value_name = "REGION", default_value = "us-east-1", help_heading = "Function")]
    pub(crate) region: String,

    /// Inject a fault; can be repeated; --help lists the names, the console's /fault changes faults at run time
    #[arg(long = "fault", value_name = "FAULT", help_heading = "Faults and logs", long_help = fault_help())]
    pub(crate) faults: Vec<Fault>,
    /// Print all log lines of the handler, not only warnings and errors
    #[arg(long, help_heading = "Faults and logs")]
    pub(crate) logs: bool,
    /// Format of the lines on standard output: text, in colours on a terminal, or one JSON object per line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, help_heading = "Faults and logs")]
    pub(crate) log: LogFormat,
}

/// The service between the CDN and the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum DoorName {
    /// HTTP API of API Gateway, payload format 2.0
    #[default]
    HttpApi,
    /// Function URL of Lambda
    FunctionUrl,
    /// REST API of API Gateway, payload format 1.0
    Rest,
    /// Application Load Balancer
    Alb,
}

impl Cli {
    /// The service between the CDN and the function.
    ///
    /// # Errors
    /// If an option belongs to another door: a message that names the option.
    pub(crate) fn front_door(&self) -> Result<Door, String> {
        let name = if self.function_url { DoorName::FunctionUrl } else { self.door };
        let options: [(&str, bool, &[DoorName]); 5] = [
            ("--stage", self.stage != "$default", &[DoorName::HttpApi, DoorName::Rest]),
            ("--streaming", self.streaming, &[DoorName::FunctionUrl, DoorName::Rest]),
            ("--oac", self.oac, &[DoorName::FunctionUrl]),
            ("--base-path", self.base_path.is_some(), &[DoorName::Rest]),
            ("--alb-multi-value", self.alb_multi_value, &[DoorName::Alb]),
        ];
        for (option, is_set, doors) in options {
            if is_set && !doors.contains(&name) {
                let doors: Vec<&str> = doors.iter().map(|door| door.text()).collect();
                return Err(format!(
                    "{option}: expected --door {}, found {}: change the door, or remove the option",
                    doors.join(" or "),
                    name.text()
                ));
            }
        }
        let streaming =
            self.streaming.then_some(Streaming { bytes_per_sec: self.stream_rate, drains: self.stream_drain });
        Ok(match name {
            DoorName::HttpApi => Door::HttpApi,
            DoorName::FunctionUrl => Door::FunctionUrl { streaming, origin_access_control: self.oac },
            DoorName::Rest => Door::Rest { base_path: self.base_path.clone(), streaming },
            DoorName::Alb => Door::Alb { multi_value: self.alb_multi_value },
        })
    }
}

impl DoorName {
    fn text(self) -> &'static str {
        match self {
            Self::HttpApi => "http-api",
            Self::FunctionUrl => "function-url",
            Self::Rest => "rest",
            Self::Alb => "alb",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a CloudFront distribution for this origin; starts no cloud
    Policy {
        #[command(subcommand)]
        command: policy::command::Command,
    },
    /// Check, simulate and plan experiments, and report their results; starts no cloud
    Experiment {
        #[command(subcommand)]
        command: experiment::command::Command,
    },
    /// Check _redirects, _headers and access.json, and explain what they do with a request; starts no cloud
    Rules {
        #[command(subcommand)]
        command: rules::command::Command,
    },
    /// Sign a link that a rule of access.json with signed_url accepts
    ///
    /// Prints the URL with the signature. The path is percent-decoded before it is signed, and the query is kept. The exit
    /// code is 0, also with warnings, and 2 if the key or the rules cannot be used.
    Sign(rules::sign::Sign),
    /// Print a completion script for a shell, such as for `source <(nearedge completion bash)`
    Completion {
        /// The shell
        shell: Shell,
    },
}

const SAMPLE_SITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/site");

const AFTER_HELP: &str = "\
Examples:
  cargo run -- --site ./public                     serve your own folder
  cargo run -- --port-base 4000                    use ports 4000 to 4003
  cargo run -- --env variant_fallback=true         set a setting of the handler
  cargo run -- --experiments FILE                  assign visitors by this definition
  cargo run -- --fault s3-error=503                S3 throttles
  cargo run -- --cache                             cache in the CDN
  cargo run -- --door function-url                 a function URL instead of the HTTP API
  cargo run -- --distribution deploy/aws.yaml      forward and cache as this distribution
  cargo run -- --missing-key access-denied         missing keys as with the walk-through's role
  cargo run --release -- --bootstrap ./bootstrap   run another handler
  cargo run -- policy check deploy/aws.yaml        check a distribution for this origin
  cargo run -- rules check ./public                check _redirects, _headers and access.json
  cargo run -- rules explain /old --site ./public  explain what happens to a request";

fn fault_help() -> String {
    format!(
        "Inject a fault; can be repeated. PUT and DELETE on the console's /fault change the faults at run time. \
         Faults: {}",
        fault::HELP
    )
}

fn missing_key(error: &str) -> MissingKey {
    if error == "access-denied" { MissingKey::AccessDenied } else { MissingKey::NoSuchKey }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as variant_fallback=true".to_owned()),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let expected = "expected an IP address and a port, such as 127.0.0.1:3000; --port-base sets all ports";
    numeric.as_deref().unwrap_or(text).parse().map_err(|_| expected.to_owned())
}

fn public_url(text: &str) -> Result<String, String> {
    let is_http = |url: &Uri| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty())
    };
    let valid = text.parse().is_ok_and(|url| is_http(&url)) && !text.contains(['?', '#']);
    valid
        .then(|| text.trim_end_matches('/').to_owned())
        .ok_or_else(|| "expected a URL without a query, such as http://192.168.1.5:3000".to_owned())
}

fn variant(text: &str) -> Result<String, String> {
    let name = text.trim();
    if is_version(name) {
        Ok(name.to_owned())
    } else {
        Err("expected names of 1 to 64 letters, digits, dots, underscores or hyphens, such as v1,v2".to_owned())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=900.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected a number of seconds from 0.1 to 900, which is Lambda's limit".to_owned()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// A rate in bytes per second, from megabytes per second.
fn rate(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(megabytes) if (0.001..=10_000.0).contains(&megabytes) => Ok((megabytes * 1024.0 * 1024.0) as u64),
        _ => Err("expected megabytes per second from 0.001 to 10000, such as 2".to_owned()),
    }
}

fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    let is_segment = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.$~/".contains(&byte);
    if path.bytes().all(is_segment) && !path.contains("//") {
        Ok(path.to_owned())
    } else {
        Err("expected segments of letters, digits, hyphens and underscores, such as shop, or / for the domain"
            .to_owned())
    }
}

fn stage(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_name || text == "$default" {
        Ok(text.to_owned())
    } else {
        Err("expected $default, or letters, digits, hyphens and underscores".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front_door(arguments: &str) -> Result<Door, String> {
        let arguments = std::iter::once("nearedge").chain(arguments.split_whitespace());
        Cli::try_parse_from(arguments).map_err(|error| error.to_string())?.front_door()
    }

    #[test]
    fn each_door_takes_its_own_options() {
        let streaming = |bytes_per_sec| Some(Streaming { bytes_per_sec, drains: false });
        for (arguments, door) in [
            ("", Door::HttpApi),
            ("--stage test", Door::HttpApi),
            ("--door http-api", Door::HttpApi),
            ("--function-url", Door::FunctionUrl { streaming: None, origin_access_control: false }),
            ("--door function-url --oac", Door::FunctionUrl { streaming: None, origin_access_control: true }),
            (
                "--door function-url --streaming --stream-rate 2",
                Door::FunctionUrl { streaming: streaming(Some(2 << 20)), origin_access_control: false },
            ),
            ("--door rest --stage test", Door::Rest { base_path: None, streaming: None }),
            (
                "--door rest --base-path /shop/ --streaming",
                Door::Rest { base_path: Some("shop".to_owned()), streaming: streaming(None) },
            ),
            (
                "--function-url --streaming --stream-drain",
                Door::FunctionUrl {
                    streaming: Some(Streaming { bytes_per_sec: None, drains: true }),
                    origin_access_control: false,
                },
            ),
            ("--door rest --base-path /", Door::Rest { base_path: Some(String::new()), streaming: None }),
            ("--door alb --alb-multi-value", Door::Alb { multi_value: true }),
        ] {
            assert_eq!(front_door(arguments), Ok(door), "{arguments}");
        }
    }

    #[test]
    fn an_option_of_another_door_is_an_error_that_names_it() {
        for (arguments, option) in [
            ("--streaming", "--streaming"),
            ("--door alb --streaming", "--streaming"),
            ("--door alb --stage test", "--stage"),
            ("--function-url --stage test", "--stage"),
            ("--door rest --oac", "--oac"),
            ("--base-path shop", "--base-path"),
            ("--door rest --alb-multi-value", "--alb-multi-value"),
            ("--function-url --door rest", "--function-url"),
            ("--door function-url --stream-rate 2", "--streaming"),
            ("--door function-url --stream-drain", "--streaming"),
            ("--door rest --base-path a?b", "--base-path"),
        ] {
            let error = front_door(arguments).unwrap_err();
            assert!(error.contains(option), "{arguments}: {error}");
        }
    }
}

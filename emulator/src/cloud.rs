//! Starts the local cloud from its options, and connects its services.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aws_credential_types::Credentials;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri};
use nearedge::config::Config;

use crate::address::{self, Listeners, PORT_BASE};
use crate::banner::{Banner, Facts};
use crate::cloudfront;
use crate::cloudfront::behavior::{Behaviors, Extras};
use crate::cloudfront::distribution::{BucketOrigin, Distribution, OriginHeader};
use crate::cloudwatch::experiment_log::ExperimentLog;
use crate::cloudwatch::{CloudWatch, dashboard};
use crate::console::experiments::Experiments;
use crate::console::{self, Console};
use crate::definition::{self, SiteDefinition};
use crate::fault::Faults;
use crate::gateway::door::{Api, Door};
use crate::gateway::{self, Gateway};
use crate::identity::letters;
use crate::journal::Journal;
use crate::lambda::function::Function;
use crate::lambda::service::Lambda;
use crate::origin_access::OriginAccess;
use crate::s3::site::Site;
use crate::s3::{self, Bucket, MissingKey};
use crate::serve::Server;
use crate::site_edit::{EXPERIMENT_SETTINGS, SiteEdits};
use crate::site_file;
use crate::xray::{Daemon, XRay};

/// The access key id of the local bucket. It is not a secret.
pub const ACCESS_KEY_ID: &str = "AKIALOCALNEAREDGE000";

/// The secret access key of the local bucket. It gives access to nothing else.
pub const SECRET_ACCESS_KEY: &str = "local-nearedge-secret-key-that-opens-nothing";

/// The session token of the function's credentials, which a role's credentials always contain.
pub const SESSION_TOKEN: &str = "local-nearedge-session-token-of-the-role";

/// The function's name, as in the walk-through.
pub const FUNCTION_NAME: &str = "lambdaapi";

/// The variants of the walk-through.
const DEFAULT_VARIANTS: [&str; 2] = ["v1", "v2"];

/// The most variants that the function's metrics distinguish.
const METRICS_VARIANTS_MAX: usize = 20;

/// The default value of the secret header, as in the walk-through.
pub const LAMBDA_AUTH: &str = "lambdaapi_test";

/// The S3 that stores the objects.
#[derive(Debug, Clone)]
pub enum Storage {
    /// A local bucket over a folder.
    Folder {
        /// The folder, which is only read.
        site: PathBuf,
        /// The listen address of the bucket.
        address: SocketAddr,
        /// The error for a missing key.
        missing_key: MissingKey,
    },
    /// Amazon S3, or another server with its protocol.
    Endpoint {
        /// The URL of the endpoint.
        url: Uri,
        /// The credentials of the function and of the CDN's second origin.
        credentials: Credentials,
    },
}

/// The program of the handler: Lambda's `bootstrap`.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// The path of the program.
    pub program: PathBuf,
    /// The arguments.
    pub arguments: Vec<String>,
}

/// What the CDN caches.
#[derive(Debug, Clone, Default)]
pub enum Caching {
    /// Nothing, as with the managed policy CachingDisabled.
    #[default]
    Off,
    /// What deploy/aws.yaml caches with `Caching=on`.
    On,
    /// What these behaviours cache. They also replace the forwarded headers, query strings and cookies.
    By(Behaviors),
}

/// The options of the local cloud. [`Options::new`] lists the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// Listen address of the CDN.
    pub edge: SocketAddr,
    /// Listen address of the front door.
    pub gateway: SocketAddr,
    /// Listen address of the console, which is also the OTLP endpoint.
    pub console: SocketAddr,
    /// URL under which viewers reach the CDN; `None` derives it from `edge`.
    pub public_url: Option<String>,
    /// The S3 that stores the objects.
    pub storage: Storage,
    /// Name of the bucket.
    pub bucket: String,
    /// The file of the definition of experiments, which becomes the object `experiments.json` of a local bucket.
    pub experiments: Option<PathBuf>,
    /// First path segments that the CDN serves directly from the bucket. If empty: the versions of the definition, and those
    /// of v1 and v2 that exist; v1 and v2 without a definition.
    pub variants: Vec<String>,
    /// Request headers that the CDN forwards in addition to the walk-through's.
    pub forwarded: Vec<HeaderName>,
    /// What the CDN caches.
    pub caching: Caching,
    /// The service in front of the function.
    pub door: Door,
    /// Stage of the API: `$default`, or a name that prefixes every path. With `$default`, a REST API has the stage `prod`.
    pub stage: String,
    /// AWS region of all services.
    pub region: String,
    /// The handler.
    pub bootstrap: Bootstrap,
    /// Whether the handler is another program than nearedge, whose settings are unknown.
    pub foreign_handler: bool,
    /// Environment variables of the handler. They override the defaults.
    pub env: Vec<(String, String)>,
    /// Memory of the function in MB. It is reported to the handler, not enforced.
    pub memory_mb: u32,
    /// Timeout of an invocation.
    pub timeout: Duration,
    /// Maximum number of execution environments.
    pub environments: usize,
    /// Maximum number of concurrent invocations in one environment; above 1 as on Lambda Managed Instances.
    pub concurrency: usize,
    /// Whether Lambda freezes idle environments. It never does so with a concurrency above 1.
    pub freeze: bool,
    /// Whether Lambda throttles an invocation when all environments are busy. Otherwise the invocation waits.
    pub throttle: bool,
    /// Whether an edit of a file that configures the function applies to the next request. Otherwise the function notices it
    /// itself, after `cache_ttl_secs`.
    pub reload: bool,
    /// Fraction of invocations that X-Ray samples, 0 to 1.
    pub sampled: f64,
    /// The store of spans.
    pub xray: XRay,
}

impl Options {
    /// The defaults: the walk-through's names, and ports 3000 to 3003 of 127.0.0.1. `site` is the folder of the bucket.
    pub fn new(bootstrap: Bootstrap, site: PathBuf) -> Self {
        let local = |offset| SocketAddr::from((Ipv4Addr::LOCALHOST, PORT_BASE + offset));
        Self {
            edge: local(0),
            gateway: local(1),
            console: local(3),
            public_url: None,
            storage: Storage::Folder { site, address: local(2), missing_key: MissingKey::default() },
            bucket: "lambda-api-2022".to_owned(),
            experiments: None,
            variants: Vec::new(),
            forwarded: Vec::new(),
            caching: Caching::default(),
            door: Door::default(),
            stage: "$default".to_owned(),
            region: "us-east-1".to_owned(),
            bootstrap,
            foreign_handler: false,
            env: Vec::new(),
            memory_mb: 128,
            timeout: Duration::from_secs(20),
            environments: 4,
            concurrency: 1,
            freeze: true,
            throttle: false,
            reload: true,
            sampled: 1.0,
            xray: XRay::default(),
        }
    }
}

/// A running cloud. Dropping it closes its ports; [`Cloud::shut_down`] also ends its processes.
#[derive(Debug)]
pub struct Cloud {
    /// Address of the CDN.
    pub edge: SocketAddr,
    /// Address of the front door.
    pub gateway: SocketAddr,
    /// Address of the console.
    pub console: SocketAddr,
    /// URL of the S3 endpoint.
    pub s3_endpoint: String,
    /// Name of the bucket.
    pub bucket: String,
    /// The initial value of the secret header.
    pub secret: String,
    /// The secret header that the CDN sends.
    pub origin_header: OriginHeader,
    /// The local bucket; `None` with another S3 endpoint.
    pub local_bucket: Option<Arc<Bucket>>,
    /// The Lambda service.
    pub lambda: Lambda,
    /// The injected faults.
    pub faults: Faults,
    /// The metrics of all services, and Lambda's own log lines.
    pub cloudwatch: CloudWatch,
    /// The store of spans.
    pub xray: XRay,
    /// Prefix of every path of the front door: empty, or `/` and a named stage or a base path.
    pub stage_prefix: String,
    banner: Banner,
    _servers: Vec<Server>,
    _daemon: Daemon,
}

impl Cloud {
    /// Starts all services, and one execution environment, so that a handler that does not start is reported at once.
    ///
    /// # Errors
    /// If a service or the handler does not start: the reason and what to do, in one line.
    pub async fn start(options: Options, faults: Faults, journal: Journal) -> Result<Self, String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let (local_bucket, wanted) = local_bucket(&options, &journal)?.unzip();
        let Listeners { edge, gateway, console, bucket: bucket_listener } =
            Listeners::bind(options.edge, options.gateway, options.console, wanted)
                .await
                .map_err(|error| text(&error))?;
        let console_address = console.local_addr().map_err(|error| text(&error))?;
        let edge_address = edge.local_addr().map_err(|error| text(&error))?;
        let gateway_address = gateway.local_addr().map_err(|error| text(&error))?;
        let bucket_address = bucket_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let mut servers = Vec::new();

        let public_url =
            options.public_url.clone().unwrap_or_else(|| format!("http://{}", address::public(edge_address)));
        let (endpoint, credentials) = match &options.storage {
            Storage::Endpoint { url, credentials } => {
                (url.to_string().trim_end_matches('/').to_owned(), credentials.clone())
            }
            Storage::Folder { address, .. } => (
                // Presigned URLs lead viewers there too.
                format!("http://{}", address::public(bucket_address.unwrap_or(*address))),
                Credentials::from_keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY, Some(SESSION_TOKEN.to_owned())),
            ),
        };
        if let (Some(listener), Some(bucket)) = (bucket_listener, &local_bucket) {
            servers.push(s3::serve(listener, bucket.clone(), &credentials, faults.clone()));
        }

        let (xray, cloudwatch, experiments) = (options.xray.clone(), CloudWatch::default(), ExperimentLog::default());
        let (daemon, daemon_address) = xray
            .listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .map_err(|error| format!("cannot open a port for the X-Ray daemon: {error}"))?;
        let env = handler_env(&options, &endpoint, &credentials, &public_url, (daemon_address, console_address));
        let variable = |name: &str| env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let service = variable("OTEL_SERVICE_NAME").unwrap_or_else(|| FUNCTION_NAME.to_owned());
        let secret = variable("lambda_auth").unwrap_or_default();
        let header =
            |setting, default: &str| variable(setting).filter(|name| !name.is_empty()).unwrap_or(default.into());
        let (auth_header, version_header) =
            (header("auth_header", "lambda_auth"), header("version_header", "test_version"));
        let extras = Extras::of_settings(variable);
        let definition =
            local_bucket.as_ref().and_then(|bucket| SiteDefinition::read(&bucket.site, &variable)).unwrap_or_default();
        let variants = variants(&options, &definition.versions);
        let metrics_variants = metrics_variants(&variable, &variants, &definition.versions);
        let variables = env.clone();
        let function = function(&options, env, (&cloudwatch, &experiments), &faults);
        let settings = if options.foreign_handler { None } else { settings(&function) };
        let lambda = Lambda::new(function, journal.clone());
        if let Err(error) = lambda.warm_up().await {
            lambda.shut_down().await;
            return Err(format!("the handler did not start: {error}"));
        }

        let api_id = letters(10).to_lowercase();
        let api = Api::new(&api_id, &options.region, &options.stage, options.door.clone());
        let stage_prefix = api.prefix();
        let forwards_experiments = Arc::new(AtomicBool::new(extras.experiments.is_some()));
        let edits = match &options.storage {
            Storage::Folder { site, .. } if options.reload => {
                let (env, definition) = (&options.env, options.experiments.as_deref());
                Some(Arc::new(SiteEdits::new(site, env, definition, forwards_experiments.clone())))
            }
            _ => None,
        };
        let api = Gateway {
            api,
            version_header: header_name("version_header", &version_header)?,
            lambda: lambda.clone(),
            function_name: FUNCTION_NAME,
            journal: journal.clone(),
            cloudwatch: cloudwatch.clone(),
            edits,
        };
        servers.push(gateway::serve(gateway, api));

        let url: Uri = endpoint.parse().map_err(|error| format!("invalid S3 endpoint {endpoint}: {error}"))?;
        let header =
            HeaderValue::from_str(&secret).map_err(|_| "lambda_auth: expected visible ASCII characters".to_owned())?;
        let origin_header = OriginHeader::secret(header);
        let version_header = header_name("version_header", &version_header)?;
        let behaviors = match &options.caching {
            Caching::Off => None,
            Caching::On => Some(Behaviors::caching_on(&version_header, &variants, &options.forwarded, &extras)),
            Caching::By(behaviors) => Some(behaviors.clone()),
        };
        let of_rules: Vec<HeaderName> =
            extras.forwarded_headers().filter(|name| !options.forwarded.contains(name)).collect();
        let distribution = Distribution {
            domain_name: format!("{}.cloudfront.net", letters(13).to_lowercase()),
            api: authority(&address::loopback(gateway_address).to_string())?,
            api_path: stage_prefix.clone(),
            origin_access: options.door.verifies_signatures().then(|| OriginAccess::new(&options.region)),
            codings: extras.codings(),
            forwarded: [&options.forwarded[..], &of_rules].concat(),
            auth_header: header_name("auth_header", &auth_header)?,
            secret: origin_header.clone(),
            version_header: version_header.clone(),
            bucket: BucketOrigin {
                scheme: url.scheme().cloned().unwrap_or(Scheme::HTTP),
                authority: url.authority().cloned().ok_or_else(|| {
                    format!("invalid S3 endpoint {endpoint}: expected http:// or https:// and a host")
                })?,
                bucket: options.bucket.clone(),
                region: options.region.clone(),
                credentials,
            },
            // With rules of access, the function serves all paths.
            bucket_prefixes: variants.iter().filter(|_| !extras.access).cloned().collect(),
            behaviors,
            experiments: forwards_experiments,
            journal,
            id: format!("E{}", letters(13).to_uppercase()),
            cloudwatch: cloudwatch.clone(),
        };
        let distribution_id = distribution.id.clone();
        let cdn_caches = distribution.behaviors.as_ref().is_some_and(Behaviors::cache);
        servers.push(cloudfront::serve(edge, distribution).map_err(|error| text(&error))?);

        let folder = local_bucket.as_ref().zip(match &options.storage {
            Storage::Folder { site, .. } => Some(site),
            Storage::Endpoint { .. } => None,
        });
        let banner = Banner::new(&Facts {
            cdn: &public_url,
            api: format!("http://{}{stage_prefix}", address::public(gateway_address)),
            door: &options.door,
            bucket: format!("{endpoint}/{}", options.bucket),
            console: format!("http://{}", address::public(console_address)),
            credentials: local_bucket
                .is_some()
                .then(|| format!("AWS_ACCESS_KEY_ID={ACCESS_KEY_ID} AWS_SECRET_ACCESS_KEY={SECRET_ACCESS_KEY}")),
            folder: folder.map(|(bucket, folder)| (folder.as_path(), &bucket.site)),
            variants: &variants,
            definition: &definition,
            auth_header: &auth_header,
            secret: &secret,
            version_header: version_header.as_str(),
            config: settings.as_ref(),
            cdn_caches,
            derived_url_of: options.public_url.is_none().then_some(edge_address),
            private_bucket: bucket_address.filter(|address| address.ip().is_loopback()),
        });
        servers.push(console::serve(
            console,
            Console {
                lambda: lambda.clone(),
                cloudwatch: cloudwatch.clone(),
                xray: xray.clone(),
                service: service.clone(),
                faults: faults.clone(),
                dashboards: dashboard::all(
                    &metrics_variants,
                    definition.watched.as_ref(),
                    &[
                        ("AWS::Region", options.region.as_str()),
                        ("FunctionName", service.as_str()),
                        ("ApiId", api_id.as_str()),
                        ("DistributionId", distribution_id.as_str()),
                    ],
                ),
                variants: metrics_variants,
                example: banner.example().to_owned(),
                experiments: Experiments::new(experiments, local_bucket.clone(), variables, &banner.browse),
            },
        ));
        Ok(Self {
            edge: edge_address,
            gateway: gateway_address,
            console: console_address,
            s3_endpoint: endpoint,
            bucket: options.bucket,
            secret,
            origin_header,
            local_bucket,
            lambda,
            faults,
            cloudwatch,
            xray,
            stage_prefix,
            banner,
            _servers: servers,
            _daemon: daemon,
        })
    }

    /// Ends all processes, and closes the ports.
    pub async fn shut_down(self) {
        self.lambda.shut_down().await;
    }

    /// The message when the cloud is ready: the addresses, and commands to try.
    pub fn banner(&self) -> &Banner {
        &self.banner
    }
}

/// The local bucket and its listen address; `None` with another S3.
fn local_bucket(options: &Options, journal: &Journal) -> Result<Option<(Arc<Bucket>, SocketAddr)>, String> {
    let Storage::Folder { site, address, missing_key } = &options.storage else { return Ok(None) };
    let mut site = Site::open(site, journal.clone())?;
    if let Some(file) = &options.experiments {
        site = site.with_file(definition::KEY, file);
    }
    let (name, missing_key) = (options.bucket.clone(), *missing_key);
    Ok(Some((Arc::new(Bucket { name, site, missing_key }), *address)))
}

/// The settings that nearedge reads from the environment of the function; `None` if they are invalid.
fn settings(function: &Function) -> Option<Config> {
    let reserved = function.reserved_variables("local");
    let variable = |name: &str| {
        let set = function.env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value);
        set.or_else(|| reserved.iter().find(|(known, _)| *known == name).map(|(_, value)| value)).cloned()
    };
    Config::from_env(variable).ok()
}

/// A header name from a setting of the function.
fn header_name(setting: &str, name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("{setting}: expected a header name, found {name:?}"))
}

fn authority(text: &str) -> Result<Authority, String> {
    text.parse().map_err(|error| format!("invalid address {text}: {error}"))
}

fn function(
    options: &Options,
    env: Vec<(String, String)>,
    (cloudwatch, experiments): (&CloudWatch, &ExperimentLog),
    faults: &Faults,
) -> Function {
    Function {
        name: FUNCTION_NAME.to_owned(),
        program: options.bootstrap.program.clone(),
        arguments: options.bootstrap.arguments.clone(),
        env,
        region: options.region.clone(),
        memory_mb: options.memory_mb,
        timeout: options.timeout,
        environments: options.environments,
        concurrency: options.concurrency,
        freeze: options.freeze,
        throttle: options.throttle,
        sampled: options.sampled,
        cloudwatch: cloudwatch.clone(),
        experiments: experiments.clone(),
        xray: options.xray.clone(),
        faults: faults.clone(),
    }
}

/// The variants that the CDN serves directly: those of the options, or else those that the definition and the site have.
fn variants(options: &Options, versions: &[String]) -> Vec<String> {
    if !options.variants.is_empty() {
        return options.variants.clone();
    }
    let exists = |variant: &str| match &options.storage {
        Storage::Folder { site, .. } => site.join(variant).is_dir(),
        Storage::Endpoint { .. } => true,
    };
    let mut variants = versions.to_vec();
    for variant in DEFAULT_VARIANTS {
        if versions.is_empty() || !versions.iter().any(|version| version == variant) && exists(variant) {
            variants.push(variant.to_owned());
        }
    }
    variants
}

/// The variants that the metrics of the handler distinguish: those of its settings, or else `variants`, and those of the
/// definition.
fn metrics_variants(
    variable: &dyn Fn(&str) -> Option<String>,
    variants: &[String],
    versions: &[String],
) -> Vec<String> {
    let listed =
        ["metrics_variants", "test_versions"].iter().find_map(|name| variable(name).filter(|list| !list.is_empty()));
    let mut all: Vec<String> = match listed {
        Some(listed) => listed.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        None => variants.to_vec(),
    };
    all.truncate(METRICS_VARIANTS_MAX);
    for version in versions.iter().take(METRICS_VARIANTS_MAX) {
        if !all.contains(version) {
            all.push(version.clone());
        }
    }
    all
}

/// The handler's environment variables: the walk-through's settings, the role's credentials, and the user's variables.
fn handler_env(
    options: &Options,
    endpoint: &str,
    credentials: &Credentials,
    public_url: &str,
    (daemon, console): (SocketAddr, SocketAddr),
) -> Vec<(String, String)> {
    let mut env = vec![
        ("bucket", options.bucket.clone()),
        ("redirect_path", public_url.to_owned()),
        // Lambda sets it whether or not tracing is active.
        ("AWS_XRAY_DAEMON_ADDRESS", daemon.to_string()),
        ("AWS_ENDPOINT_URL_S3", endpoint.to_owned()),
        ("AWS_ACCESS_KEY_ID", credentials.access_key_id().to_owned()),
        ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key().to_owned()),
    ];
    env.extend(credentials.session_token().map(|token| ("AWS_SESSION_TOKEN", token.to_owned())));
    // Otherwise metrics=otlp would send metrics to AWS. A collector of the user's receives all signals.
    if !options.env.iter().any(|(name, _)| name == "OTEL_EXPORTER_OTLP_ENDPOINT") {
        let endpoint = format!("http://{}/v1/metrics", address::loopback(console));
        env.push(("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint));
    }
    let own = options.env.iter().rev().find(|(name, _)| name == "experiments");
    // An empty value disables experiments, and the other settings would be errors then.
    if options.experiments.is_some() && own.is_none_or(|(_, key)| !key.trim().is_empty()) {
        env.extend(EXPERIMENT_SETTINGS.map(|(name, value)| (name, value.to_owned())));
    }
    // As deploy/aws.yaml does.
    if options.door.streaming().is_some() {
        env.push(("streaming", "true".to_owned()));
    }
    match options.door.verifies_signatures() {
        true => env.push(("function_url_iam", "true".to_owned())),
        false => env.push(("lambda_auth", LAMBDA_AUTH.to_owned())),
    }
    if let Storage::Folder { site, .. } = &options.storage {
        env.extend(site_file::present(site, &site_file::RULES).map(|file| (file.setting, file.name.to_owned())));
    }
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(options.env.iter().cloned()).collect()
}

//! Starts the local cloud from its options, and connects its services.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri};

use crate::cloudfront::{self, BucketOrigin, Distribution, OriginHeader};
use crate::cloudwatch::CloudWatch;
use crate::console::{self, Console};
use crate::fault::Faults;
use crate::gateway::event::Api;
use crate::gateway::{self, Gateway};
use crate::identity::letters;
use crate::journal::Journal;
use crate::lambda::function::Function;
use crate::lambda::service::Lambda;
use crate::s3::site::Site;
use crate::s3::{self, Bucket, MissingKey};
use crate::serve::{self, Server};
use crate::xray::{Daemon, XRay};

/// The access key id of the local bucket. It is not a secret.
pub const ACCESS_KEY_ID: &str = "AKIALOCALNEAREDGE000";

/// The secret access key of the local bucket. It gives access to nothing else.
pub const SECRET_ACCESS_KEY: &str = "local-nearedge-secret-key-that-opens-nothing";

/// The session token of the function's credentials, which a role's credentials always contain.
pub const SESSION_TOKEN: &str = "local-nearedge-session-token-of-the-role";

/// The function's name, as in the walk-through.
pub const FUNCTION_NAME: &str = "lambdaapi";

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

/// The options of the local cloud. [`Options::new`] lists the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// Listen address of the CDN.
    pub edge: SocketAddr,
    /// Listen address of the HTTP API.
    pub gateway: SocketAddr,
    /// Listen address of the console, which is also the OTLP endpoint.
    pub console: SocketAddr,
    /// The S3 that stores the objects.
    pub storage: Storage,
    /// Name of the bucket.
    pub bucket: String,
    /// First path segments that the CDN serves directly from the bucket.
    pub variants: Vec<String>,
    /// Request headers that the CDN forwards in addition to the walk-through's.
    pub forwarded: Vec<HeaderName>,
    /// Stage of the API: `$default`, or a name that prefixes every path.
    pub stage: String,
    /// AWS region of all services.
    pub region: String,
    /// The handler.
    pub bootstrap: Bootstrap,
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
    /// Fraction of invocations that X-Ray samples, 0 to 1.
    pub sampled: f64,
    /// The store of spans.
    pub xray: XRay,
}

impl Options {
    /// The defaults: the walk-through's names, and ports 3000 to 3003 of 127.0.0.1. `site` is the folder of the bucket.
    pub fn new(bootstrap: Bootstrap, site: PathBuf) -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            edge: local(3000),
            gateway: local(3001),
            console: local(3003),
            storage: Storage::Folder { site, address: local(3002), missing_key: MissingKey::default() },
            bucket: "lambda-api-2022".to_owned(),
            variants: vec!["v1".to_owned(), "v2".to_owned()],
            forwarded: Vec::new(),
            stage: "$default".to_owned(),
            region: "us-east-1".to_owned(),
            bootstrap,
            env: Vec::new(),
            memory_mb: 128,
            timeout: Duration::from_secs(20),
            environments: 4,
            concurrency: 1,
            freeze: true,
            throttle: false,
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
    /// Address of the HTTP API.
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
    /// Prefix of every path of the API: empty, or `/` and a named stage.
    pub stage_prefix: String,
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
        let edge = serve::bind(options.edge, "CDN", "--edge").await.map_err(|error| text(&error))?;
        let gateway = serve::bind(options.gateway, "API", "--gateway").await.map_err(|error| text(&error))?;
        let console = serve::bind(options.console, "console", "--console").await.map_err(|error| text(&error))?;
        let console_address = console.local_addr().map_err(|error| text(&error))?;
        let edge_address = edge.local_addr().map_err(|error| text(&error))?;
        let gateway_address = gateway.local_addr().map_err(|error| text(&error))?;
        let mut servers = Vec::new();

        let (endpoint, credentials, local_bucket) = match &options.storage {
            Storage::Folder { site, address, missing_key } => {
                let bucket = Arc::new(Bucket {
                    name: options.bucket.clone(),
                    site: Site::open(site)?,
                    missing_key: *missing_key,
                });
                let listener = serve::bind(*address, "bucket", "--s3").await.map_err(|error| text(&error))?;
                let address = listener.local_addr().map_err(|error| text(&error))?;
                let credentials =
                    Credentials::from_keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY, Some(SESSION_TOKEN.to_owned()));
                servers.push(s3::serve(listener, bucket.clone(), &credentials, faults.clone()));
                (format!("http://{address}"), credentials, Some(bucket))
            }
            Storage::Endpoint { url, credentials } => {
                (url.to_string().trim_end_matches('/').to_owned(), credentials.clone(), None)
            }
        };

        let (xray, cloudwatch) = (options.xray.clone(), CloudWatch::default());
        let (daemon, daemon_address) = xray
            .listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .map_err(|error| format!("cannot open a port for the X-Ray daemon: {error}"))?;
        let env = handler_env(&options, &endpoint, &credentials, edge_address, daemon_address);
        let variable = |name: &str| env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let service = variable("OTEL_SERVICE_NAME").unwrap_or_else(|| FUNCTION_NAME.to_owned());
        let secret = variable("lambda_auth").unwrap_or_default();
        let lambda = Lambda::new(function(&options, env, &cloudwatch, &faults), journal.clone());
        if let Err(error) = lambda.warm_up().await {
            lambda.shut_down().await;
            return Err(format!("the handler did not start: {error}"));
        }

        let stage_prefix = if options.stage == "$default" { String::new() } else { format!("/{}", options.stage) };
        let id = letters(10).to_lowercase();
        let api_id = id.clone();
        let api = Api {
            domain_name: format!("{id}.execute-api.{}.amazonaws.com", options.region),
            id,
            stage: options.stage.clone(),
        };
        let api = Gateway { api, lambda: lambda.clone(), journal: journal.clone(), cloudwatch: cloudwatch.clone() };
        servers.push(gateway::serve(gateway, api));

        let url: Uri = endpoint.parse().map_err(|error| format!("invalid S3 endpoint {endpoint}: {error}"))?;
        let header =
            HeaderValue::from_str(&secret).map_err(|_| "lambda_auth: expected visible ASCII characters".to_owned())?;
        let origin_header = OriginHeader::secret(header);
        let distribution = Distribution {
            domain_name: format!("{}.cloudfront.net", letters(13).to_lowercase()),
            api: authority(&gateway_address.to_string())?,
            api_path: stage_prefix.clone(),
            forwarded: options.forwarded.clone(),
            secret: origin_header.clone(),
            bucket: BucketOrigin {
                scheme: url.scheme().cloned().unwrap_or(Scheme::HTTP),
                authority: url.authority().cloned().ok_or_else(|| {
                    format!("invalid S3 endpoint {endpoint}: expected http:// or https:// and a host")
                })?,
                bucket: options.bucket.clone(),
                region: options.region.clone(),
                credentials,
            },
            bucket_prefixes: options.variants.clone(),
            journal,
            id: format!("E{}", letters(13).to_uppercase()),
            cloudwatch: cloudwatch.clone(),
        };
        servers.push(console::serve(
            console,
            Console {
                lambda: lambda.clone(),
                cloudwatch: cloudwatch.clone(),
                xray: xray.clone(),
                service: service.clone(),
                cdn: format!("http://{edge_address}"),
                faults: faults.clone(),
                placeholders: dashboard_names(&options, service, &api_id, &distribution.id),
            },
        ));
        servers.push(cloudfront::serve(edge, distribution).map_err(|error| text(&error))?);

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
            _servers: servers,
            _daemon: daemon,
        })
    }

    /// Ends all processes, and closes the ports.
    pub async fn shut_down(self) {
        self.lambda.shut_down().await;
    }

    /// The message when the cloud is ready: the addresses, and commands to try.
    pub fn banner(&self) -> String {
        let Self { edge, gateway, console, s3_endpoint, bucket, secret, stage_prefix, .. } = self;
        let (cdn, api) = (format!("http://{edge}"), format!("http://{gateway}{stage_prefix}"));
        let credentials = if self.local_bucket.is_some() {
            format!("\n             AWS_ACCESS_KEY_ID={ACCESS_KEY_ID} AWS_SECRET_ACCESS_KEY={SECRET_ACCESS_KEY}")
        } else {
            String::new()
        };
        format!(
            r#"
nearedge is ready.

  CDN        {cdn}    (CloudFront: adds the secret header)
  API        {api}    (API Gateway: requires the secret header)
  bucket     {s3_endpoint}/{bucket}{credentials}
  console    http://{console}    (CloudWatch and X-Ray: requests, latency, cache, traces, dashboards)

Commands to try:

  curl {api}/
  curl -v -H "lambda_auth:{secret}" {api}/
  curl -H "lambda_auth:{secret}" -H "test_version:v2" {api}/test.html
  curl -H "lambda_auth:{secret}" -H "test_version:v2" {api}/test.png > test.png
  curl -v -H "lambda_auth:{secret}" -H "test_version:v1" -H "redirect:true" {api}/test.html
  curl -H "test_version:v1" {cdn}/test.html
  curl -I -H "test_version:v1" -H "redirect:true" {cdn}/test.html

To follow the redirect to the object:  curl -L -H "test_version:v1" -H "redirect:true" {cdn}/test.html
To see the site, open {cdn}/ in a browser. Press Ctrl-C to stop.
"#
        )
    }
}

fn authority(text: &str) -> Result<Authority, String> {
    text.parse().map_err(|error| format!("invalid address {text}: {error}"))
}

fn function(options: &Options, env: Vec<(String, String)>, cloudwatch: &CloudWatch, faults: &Faults) -> Function {
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
        xray: options.xray.clone(),
        faults: faults.clone(),
    }
}

/// The values of the dashboards' placeholders.
fn dashboard_names(options: &Options, service: String, api: &str, distribution: &str) -> Vec<(&'static str, String)> {
    let variant = |index: usize| options.variants.get(index).cloned().unwrap_or_else(|| "none".to_owned());
    vec![
        ("AWS::Region", options.region.clone()),
        ("FunctionName", service),
        ("ApiId", api.to_owned()),
        ("DistributionId", distribution.to_owned()),
        ("VariantA", variant(0)),
        ("VariantB", variant(1)),
    ]
}

/// The handler's environment variables: the walk-through's settings, the role's credentials, and the user's variables.
fn handler_env(
    options: &Options,
    endpoint: &str,
    credentials: &Credentials,
    edge: SocketAddr,
    daemon: SocketAddr,
) -> Vec<(String, String)> {
    let mut env = vec![
        ("bucket", options.bucket.clone()),
        ("lambda_auth", LAMBDA_AUTH.to_owned()),
        ("redirect_path", format!("http://{edge}")),
        // Lambda sets it whether or not tracing is active.
        ("AWS_XRAY_DAEMON_ADDRESS", daemon.to_string()),
        ("AWS_ENDPOINT_URL_S3", endpoint.to_owned()),
        ("AWS_ACCESS_KEY_ID", credentials.access_key_id().to_owned()),
        ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key().to_owned()),
    ];
    env.extend(credentials.session_token().map(|token| ("AWS_SESSION_TOKEN", token.to_owned())));
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(options.env.iter().cloned()).collect()
}

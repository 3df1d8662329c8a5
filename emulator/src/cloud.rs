//! Options → a running cloud.

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
use crate::journal::Journal;
use crate::lambda::environment::Function;
use crate::lambda::service::Lambda;
use crate::s3::site::Site;
use crate::s3::{self, Bucket, MissingKey};
use crate::serve::{self, Server};
use crate::xray::{Daemon, XRay};

/// The access key that the local bucket knows. Not a secret: it opens nothing else.
pub const ACCESS_KEY_ID: &str = "AKIALOCALNEAREDGE000";

/// The secret key that goes with it.
pub const SECRET_ACCESS_KEY: &str = "local-nearedge-secret-key-that-opens-nothing";

/// The session token that a role's credentials always have.
pub const SESSION_TOKEN: &str = "local-nearedge-session-token-of-the-role";

/// The function's name, as in the walk-through.
pub const FUNCTION_NAME: &str = "lambdaapi";

/// The secret header of the walk-through.
pub const LAMBDA_AUTH: &str = "lambdaapi_test";

/// Where the objects are.
#[derive(Debug, Clone)]
pub enum Storage {
    /// A folder, served as a bucket at this address.
    Folder {
        /// The folder.
        site: PathBuf,
        /// Where S3's protocol is served.
        address: SocketAddr,
        /// What is said of a key that is not there.
        missing_key: MissingKey,
    },
    /// A real S3, or another server that speaks its protocol.
    Endpoint {
        /// Where it is.
        url: Uri,
        /// What opens it.
        credentials: Credentials,
    },
}

/// A handler program: Lambda's `bootstrap`.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Everything that can be chosen.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address of the edge.
    pub edge: SocketAddr,
    /// The address of the API.
    pub gateway: SocketAddr,
    /// The address of the console, and of the OTLP endpoint.
    pub console: SocketAddr,
    /// Where the objects are.
    pub storage: Storage,
    /// The bucket's name.
    pub bucket: String,
    /// The first path segments that the edge sends straight to the bucket.
    pub variants: Vec<String>,
    /// The request headers that the CDN forwards besides the walk-through's.
    pub forwarded: Vec<HeaderName>,
    /// The API's stage.
    pub stage: String,
    /// The region that everything believes to be in.
    pub region: String,
    /// The handler.
    pub bootstrap: Bootstrap,
    /// What is set in the handler's environment, over what is set by itself.
    pub env: Vec<(String, String)>,
    /// The function's memory, in MB.
    pub memory_mb: u32,
    /// The function's timeout.
    pub timeout: Duration,
    /// The most execution environments.
    pub environments: usize,
    /// How many invocations an environment takes at once.
    pub concurrency: usize,
    /// Whether environments are frozen between invocations.
    pub freeze: bool,
    /// Whether an invocation is refused when all environments are busy.
    pub throttle: bool,
    /// How many of the invocations X-Ray samples, from 0 to 1.
    pub sampled: f64,
    /// Where spans gather.
    pub xray: XRay,
}

impl Options {
    /// The walk-through's names, the default addresses, and this handler over this folder.
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

/// A running cloud. Dropping it closes its addresses; [`Cloud::shut_down`] also ends its processes.
#[derive(Debug)]
pub struct Cloud {
    /// Where the edge is.
    pub edge: SocketAddr,
    /// Where the API is.
    pub gateway: SocketAddr,
    /// Where the console is.
    pub console: SocketAddr,
    /// Where S3 is.
    pub s3_endpoint: String,
    /// The bucket's name.
    pub bucket: String,
    /// The secret header's value, as it was at the start.
    pub secret: String,
    /// The secret header that the edge sends.
    pub origin_header: OriginHeader,
    /// The local bucket, when there is one.
    pub local_bucket: Option<Arc<Bucket>>,
    /// The function.
    pub lambda: Lambda,
    /// What can be made to go wrong while it runs.
    pub faults: Faults,
    /// The metrics of every part, and the log lines of Lambda's own.
    pub cloudwatch: CloudWatch,
    /// The spans.
    pub xray: XRay,
    /// The prefix of every path of the API: empty, or a named stage's.
    pub stage_prefix: String,
    _servers: Vec<Server>,
    _daemon: Daemon,
}

impl Cloud {
    /// Starts everything, and one execution environment to see that the handler starts.
    ///
    /// # Errors
    /// With one line that says what is wrong and what to do.
    pub async fn start(options: Options, faults: Faults, journal: Journal) -> Result<Self, String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let edge = serve::bind(options.edge, "edge", "--edge").await.map_err(|error| text(&error))?;
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
            .map_err(|error| format!("no port for X-Ray's daemon: {error}"))?;
        let env = handler_env(&options, &endpoint, &credentials, edge_address, daemon_address);
        let set = |wanted: &str| env.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let service = set("OTEL_SERVICE_NAME").unwrap_or_else(|| FUNCTION_NAME.to_owned());
        let secret = set("lambda_auth").unwrap_or_default();
        let lambda = Lambda::new(function(&options, env, &cloudwatch, &faults), journal.clone());
        if let Err(problem) = lambda.warm_up().await {
            lambda.shut_down().await;
            return Err(format!("the handler does not start: {problem}"));
        }

        let stage_prefix = if options.stage == "$default" { String::new() } else { format!("/{}", options.stage) };
        let id = crate::identity::letters(10).to_lowercase();
        let api_id = id.clone();
        let api = Api {
            domain_name: format!("{id}.execute-api.{}.amazonaws.com", options.region),
            id,
            stage: options.stage.clone(),
        };
        let api = Gateway { api, lambda: lambda.clone(), journal: journal.clone(), cloudwatch: cloudwatch.clone() };
        servers.push(gateway::serve(gateway, api));

        let url: Uri = endpoint.parse().map_err(|error| format!("{endpoint} is no address of S3: {error}"))?;
        let header = HeaderValue::from_str(&secret).map_err(|_| "lambda_auth cannot be sent in a header".to_owned())?;
        let origin_header = OriginHeader::secret(header);
        let distribution = Distribution {
            domain_name: format!("{}.cloudfront.net", crate::identity::letters(13).to_lowercase()),
            api: authority(&gateway_address.to_string())?,
            api_path: stage_prefix.clone(),
            forwarded: options.forwarded.clone(),
            secret: origin_header.clone(),
            bucket: BucketOrigin {
                scheme: url.scheme().cloned().unwrap_or(Scheme::HTTP),
                authority: url
                    .authority()
                    .cloned()
                    .ok_or_else(|| format!("{endpoint} is no address of S3: it needs http:// and a host"))?,
                bucket: options.bucket.clone(),
                region: options.region.clone(),
                credentials,
            },
            bucket_prefixes: options.variants.clone(),
            journal,
            id: format!("E{}", crate::identity::letters(13).to_uppercase()),
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
                names: dashboard_names(&options, service, &api_id, &distribution.id),
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

    /// Ends every process that was started, and closes the addresses.
    pub async fn shut_down(self) {
        self.lambda.shut_down().await;
    }

    /// What a person wants to see when it is ready: where things are, and what to try.
    pub fn welcome(&self) -> String {
        let Self { edge, gateway, console, s3_endpoint, bucket, secret, stage_prefix, .. } = self;
        let (cdn, api) = (format!("http://{edge}"), format!("http://{gateway}{stage_prefix}"));
        let keys = if self.local_bucket.is_some() {
            format!("\n             AWS_ACCESS_KEY_ID={ACCESS_KEY_ID} AWS_SECRET_ACCESS_KEY={SECRET_ACCESS_KEY}")
        } else {
            String::new()
        };
        format!(
            r#"
nearedge is ready.

  CDN        {cdn}    (CloudFront: adds the secret itself)
  API        {api}    (API Gateway: wants the secret)
  bucket     {s3_endpoint}/{bucket}{keys}
  console    http://{console}    (CloudWatch and X-Ray: requests, latency, cache, traces, dashboards)

Try it:

  curl {api}/
  curl -v -H "lambda_auth:{secret}" {api}/
  curl -H "lambda_auth:{secret}" -H "test_version:v2" {api}/test.html
  curl -H "lambda_auth:{secret}" -H "test_version:v2" {api}/test.png > test.png
  curl -v -H "lambda_auth:{secret}" -H "test_version:v1" -H "redirect:true" {api}/test.html
  curl -H "test_version:v1" {cdn}/test.html
  curl -I -H "test_version:v1" -H "redirect:true" {cdn}/test.html

Or follow the redirect to the object:  curl -L -H "test_version:v1" -H "redirect:true" {cdn}/test.html
Or open {cdn}/ in a browser. Ctrl-C ends everything.
"#
        )
    }
}

fn authority(text: &str) -> Result<Authority, String> {
    text.parse().map_err(|error| format!("{text} is no address: {error}"))
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

/// What the placeholders of the dashboards stand for here.
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

/// The walk-through's settings, the role's credentials, and what the user sets over them.
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
        // Lambda names it whether or not the function is traced.
        ("AWS_XRAY_DAEMON_ADDRESS", daemon.to_string()),
        ("AWS_ENDPOINT_URL_S3", endpoint.to_owned()),
        ("AWS_ACCESS_KEY_ID", credentials.access_key_id().to_owned()),
        ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key().to_owned()),
    ];
    env.extend(credentials.session_token().map(|token| ("AWS_SESSION_TOKEN", token.to_owned())));
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(options.env.iter().cloned()).collect()
}

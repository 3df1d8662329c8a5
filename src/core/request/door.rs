//! The doors: the services that invoke the function for a viewer's request.

/// The service that invoked the function. It decides the format of the event and of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Door {
    /// An HTTP API of API Gateway, with payload format 2.0
    /// ([format](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html)).
    #[default]
    HttpApi,
    /// A function URL, whose events have payload format 2.0
    /// ([format](https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads)).
    FunctionUrl {
        /// Whether IAM has authenticated the caller: the URL's type of authentication is `AWS_IAM`.
        by_iam: bool,
    },
    /// An HTTP API with payload format 1.0.
    HttpApiFormat1,
    /// A REST API ([format](https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html)).
    RestApi,
    /// An Application Load Balancer ([format](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html)).
    LoadBalancer {
        /// Whether the target group has enabled multi-value headers.
        multi_value: bool,
    },
    /// A service of VPC Lattice ([format](https://docs.aws.amazon.com/vpc-lattice/latest/ug/lambda-functions.html)).
    Lattice,
}

/// How a response reaches the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// As one JSON object, with its body in base64.
    #[default]
    Buffered,
    /// As a stream of bytes, after its status and header fields.
    Streamed,
}

/// The largest body of a streamed response, in bytes
/// ([quota](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)).
pub const STREAM_BYTES_MAX: u64 = 200 << 20;

/// The largest response that Lambda accepts, in bytes of JSON.
///
/// [Lambda quotas](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html) states 6 MB, which the
/// service counts as 6 × 1024² + 100 bytes.
pub const PAYLOAD_BYTES_MAX: u64 = 6_291_556;

/// The largest response that a load balancer accepts, in bytes of JSON
/// ([limits](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html)).
pub const LOAD_BALANCER_BYTES_MAX: u64 = 1 << 20;

impl Door {
    /// The largest response that the door accepts, in bytes of JSON.
    pub fn payload_bytes_max(self) -> u64 {
        match self {
            Self::LoadBalancer { .. } => LOAD_BALANCER_BYTES_MAX,
            _ => PAYLOAD_BYTES_MAX,
        }
    }

    /// How the door takes a response, if the function streams where it can.
    ///
    /// Function URLs ([response streaming](https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html)) and
    /// REST APIs ([response transfer mode](https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html))
    /// can be configured for streams; the other doors cannot.
    pub fn transfer(self, streams: bool) -> Transfer {
        match self {
            Self::FunctionUrl { .. } | Self::RestApi if streams => Transfer::Streamed,
            _ => Transfer::Buffered,
        }
    }
}

//! The front door: the service between the CDN and the function, and its settings.

use std::time::Duration;

/// The service in front of the function.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Door {
    /// An HTTP API of API Gateway, with payload format 2.0.
    #[default]
    HttpApi,
    /// A function URL of Lambda.
    FunctionUrl {
        /// Settings of the invoke mode RESPONSE_STREAM; `None` is BUFFERED.
        streaming: Option<Streaming>,
        /// Whether the URL has the authentication type AWS_IAM, and the CDN signs its requests.
        origin_access_control: bool,
    },
    /// A REST API of API Gateway, with payload format 1.0.
    Rest {
        /// Base path mapping of a custom domain, without slashes; empty for the mapping of the whole domain. `None` is the
        /// API's own domain, whose paths start with the stage.
        base_path: Option<String>,
        /// Settings of the response transfer mode STREAM; `None` is BUFFERED.
        streaming: Option<Streaming>,
    },
    /// An Application Load Balancer.
    Alb {
        /// Whether the target group has multi-value headers.
        multi_value: bool,
    },
}

/// How a streamed response reaches the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Streaming {
    /// Bandwidth in bytes per second after the uncapped first megabytes; `None` does not limit it.
    pub bytes_per_sec: Option<u64>,
    /// Whether the function's stream is read to its end, and discarded, when the viewer has disconnected. Otherwise the
    /// upload is aborted.
    pub drains: bool,
}

const MB: usize = 1024 * 1024;

impl Door {
    /// The service, and what it requires, for the message when the cloud is ready.
    pub(crate) fn summary(&self) -> &'static str {
        match self {
            Self::HttpApi => "API Gateway: requires the secret header",
            Self::FunctionUrl { origin_access_control: false, .. } => "function URL: requires the secret header",
            Self::FunctionUrl { origin_access_control: true, .. } => "function URL: requires the signature of the CDN",
            Self::Rest { .. } => "API Gateway, REST API: requires the secret header",
            Self::Alb { .. } => "load balancer: requires the secret header",
        }
    }

    /// The settings of streamed responses; `None` if the door buffers them.
    pub fn streaming(&self) -> Option<Streaming> {
        match self {
            Self::FunctionUrl { streaming, .. } | Self::Rest { streaming, .. } => *streaming,
            Self::HttpApi | Self::Alb { .. } => None,
        }
    }

    /// Whether requests must have the signature of the CDN's origin access control.
    pub fn verifies_signatures(&self) -> bool {
        matches!(self, Self::FunctionUrl { origin_access_control: true, .. })
    }

    /// The largest request body.
    ///
    /// [HTTP API](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html),
    /// [REST API](https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html),
    /// [function URL](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html),
    /// [load balancer](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html).
    pub fn body_bytes_max(&self) -> usize {
        match self {
            Self::HttpApi | Self::Rest { .. } => 10 * MB,
            Self::FunctionUrl { .. } => 6 * MB,
            Self::Alb { .. } => MB,
        }
    }

    /// The limit for the request line and the header values together; `None` if only the server limits them.
    pub fn header_bytes_max(&self) -> Option<usize> {
        match self {
            Self::HttpApi | Self::Rest { .. } => Some(10_240),
            Self::FunctionUrl { .. } | Self::Alb { .. } => None,
        }
    }

    /// The limit for the request line, and for each header; `None` if only the sum is limited.
    ///
    /// [Troubleshooting](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#http-413-issues).
    pub fn header_field_bytes_max(&self) -> Option<usize> {
        matches!(self, Self::Alb { .. }).then_some(16 * 1024)
    }

    /// The largest response of the function, as JSON; `None` if only Lambda limits it.
    pub fn response_bytes_max(&self) -> Option<usize> {
        matches!(self, Self::Alb { .. }).then_some(MB)
    }

    /// The longest time until the response of the function, or until the head of a streamed one. `None` if only the function's
    /// timeout limits it.
    ///
    /// The maximum of HTTP APIs, and the default of REST APIs. A streamed response of a REST API may take 15 minutes
    /// ([response streaming](https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html)), which
    /// is also the longest timeout of a function.
    pub fn timeout(&self) -> Option<Duration> {
        match self {
            Self::HttpApi => Some(Duration::from_secs(30)),
            Self::Rest { streaming: None, .. } => Some(Duration::from_secs(29)),
            Self::Rest { streaming: Some(_), .. } | Self::FunctionUrl { .. } | Self::Alb { .. } => None,
        }
    }

    /// The bytes of a streamed response before its bandwidth is limited.
    ///
    /// [Function URL](https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html),
    /// [REST API](https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html).
    pub fn uncapped_bytes(&self) -> u64 {
        let megabytes = if matches!(self, Self::Rest { .. }) { 10 } else { 6 };
        megabytes * 1024 * 1024
    }
}

/// The front door as its events describe it.
#[derive(Debug, Clone)]
pub struct Api {
    /// Its id, the first label of its domain name.
    pub id: String,
    /// Its domain name.
    pub domain_name: String,
    /// The AWS region.
    pub region: String,
    /// `$default`, or the name of a stage. A REST API always has a named one.
    pub stage: String,
    /// The service.
    pub door: Door,
}

/// The stage of a REST API without `--stage`. Its stages cannot be `$default`.
const REST_STAGE: &str = "prod";

/// The custom domain of a base path mapping.
const CUSTOM_DOMAIN: &str = "api.example.com";

impl Api {
    /// A front door with the domain name that AWS gives it.
    pub fn new(id: &str, region: &str, stage: &str, door: Door) -> Self {
        let domain_name = match &door {
            Door::HttpApi | Door::Rest { base_path: None, .. } => format!("{id}.execute-api.{region}.amazonaws.com"),
            Door::Rest { base_path: Some(_), .. } => CUSTOM_DOMAIN.to_owned(),
            Door::FunctionUrl { .. } => format!("{id}.lambda-url.{region}.on.aws"),
            Door::Alb { .. } => format!("nearedge-{id}.{region}.elb.amazonaws.com"),
        };
        let stage = match &door {
            Door::Rest { .. } if stage == "$default" => REST_STAGE,
            Door::HttpApi | Door::Rest { .. } => stage,
            Door::FunctionUrl { .. } | Door::Alb { .. } => "$default",
        };
        Self { id: id.to_owned(), domain_name, region: region.to_owned(), stage: stage.to_owned(), door }
    }

    /// The start of every path: empty, or `/` and a named stage or a base path.
    pub fn prefix(&self) -> String {
        let segment = match &self.door {
            Door::HttpApi if self.stage == "$default" => "",
            Door::HttpApi | Door::Rest { base_path: None, .. } => &self.stage,
            Door::Rest { base_path: Some(base_path), .. } => base_path,
            Door::FunctionUrl { .. } | Door::Alb { .. } => "",
        };
        if segment.is_empty() { String::new() } else { format!("/{segment}") }
    }

    /// The path after the prefix; `None` if the path is outside of it.
    pub(crate) fn proxied<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.prefix().as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(base_path: Option<&str>) -> Door {
        Door::Rest { base_path: base_path.map(str::to_owned), streaming: None }
    }

    #[test]
    fn each_door_has_its_domain_its_stage_and_its_prefix() {
        let url = Door::FunctionUrl { streaming: None, origin_access_control: false };
        for (door, stage, domain_name, expected_stage, prefix) in [
            (Door::HttpApi, "$default", "a.execute-api.x.amazonaws.com", "$default", ""),
            (Door::HttpApi, "test", "a.execute-api.x.amazonaws.com", "test", "/test"),
            (rest(None), "$default", "a.execute-api.x.amazonaws.com", "prod", "/prod"),
            (rest(None), "test", "a.execute-api.x.amazonaws.com", "test", "/test"),
            (rest(Some("shop")), "test", "api.example.com", "test", "/shop"),
            (rest(Some("")), "$default", "api.example.com", "prod", ""),
            (url, "$default", "a.lambda-url.x.on.aws", "$default", ""),
            (Door::Alb { multi_value: false }, "$default", "nearedge-a.x.elb.amazonaws.com", "$default", ""),
        ] {
            let api = Api::new("a", "x", stage, door);
            assert_eq!((api.domain_name.as_str(), api.stage.as_str()), (domain_name, expected_stage), "{api:?}");
            assert_eq!(api.prefix(), prefix, "{api:?}");
        }
    }

    #[test]
    fn a_path_is_inside_a_prefix_of_whole_segments_only() {
        let api = Api::new("a", "x", "$default", rest(Some("shop")));
        for (path, proxied) in
            [("/shop/x", Some("/x")), ("/shop", Some("")), ("/shop/", Some("/")), ("/shops/x", None), ("/x", None)]
        {
            assert_eq!(api.proxied(path), proxied, "{path}");
        }
    }
}

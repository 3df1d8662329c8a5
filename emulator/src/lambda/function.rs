//! The configuration of the function.

use std::path::PathBuf;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

use crate::cloudwatch::CloudWatch;
use crate::cloudwatch::experiment_log::ExperimentLog;
use crate::fault::Faults;
use crate::identity;
use crate::xray::XRay;

/// A function and its settings.
#[derive(Debug, Clone)]
pub struct Function {
    /// The function's name.
    pub name: String,
    /// The program that runs as `bootstrap`.
    pub program: PathBuf,
    /// Arguments of the program. Lambda passes none.
    pub arguments: Vec<String>,
    /// Environment variables of the function: the user's, and the credentials of its role.
    pub env: Vec<(String, String)>,
    /// The AWS region.
    pub region: String,
    /// Memory in MB. It is reported to the handler, not enforced.
    pub memory_mb: u32,
    /// Timeout of an invocation.
    pub timeout: Duration,
    /// Maximum number of environments.
    pub environments: usize,
    /// Maximum number of concurrent invocations in one environment; above 1 as on Lambda Managed Instances.
    pub concurrency: usize,
    /// Whether Lambda freezes idle environments.
    pub freeze: bool,
    /// Whether Lambda rejects an invocation when all environments are busy. Otherwise the invocation waits.
    pub throttle: bool,
    /// Fraction of invocations that X-Ray samples, 0 to 1.
    pub sampled: f64,
    /// Receives Lambda's metrics and log lines.
    pub cloudwatch: CloudWatch,
    /// Receives the handler's lines about experiments.
    pub experiments: ExperimentLog,
    /// Receives Lambda's spans.
    pub xray: XRay,
    /// The injected faults.
    pub faults: Faults,
}

impl Function {
    /// The function's ARN.
    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:123456789012:function:{}", self.region, self.name)
    }

    /// The environment variables that Lambda sets
    /// ([defined runtime environment variables](https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)).
    pub(crate) fn reserved_variables(&self, runtime_api: &str) -> Vec<(&'static str, String)> {
        let today = OffsetDateTime::now_utc().format(format_description!("[year]/[month]/[day]")).unwrap_or_default();
        let mut variables = vec![
            ("_HANDLER", "bootstrap".to_owned()),
            ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", self.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory_mb.to_string()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", self.name)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", format!("{today}/[$LATEST]{}", identity::hex(32))),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
            ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
            ("LANG", "en_US.UTF-8".to_owned()),
            ("TZ", ":UTC".to_owned()),
        ];
        if let Some(folder) = self.program.parent() {
            variables.push(("LAMBDA_TASK_ROOT", folder.display().to_string()));
        }
        if self.concurrency > 1 {
            variables.push(("AWS_LAMBDA_MAX_CONCURRENCY", self.concurrency.to_string()));
        }
        // This machine's values instead of Lambda's: programs and libraries are in other places here.
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            variables.extend(std::env::var(name).ok().map(|value| (name, value)));
        }
        variables
    }
}

//! What can be made to go wrong, from the command line and from tests.

use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How S3 misbehaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Fault {
    /// Every answer comes this much later.
    Latency(Duration),
    /// Every answer is this error: a status and S3's code for it.
    Error(u16, &'static str),
    /// No answer ever comes.
    Hang,
    /// The connection closes without an answer.
    Reset,
    /// The headers promise the whole object, half of it comes, and the connection closes.
    HalfBody,
}

/// The names and what they do, for `--help`.
pub const HELP: &str = "s3-latency=MS, s3-error=STATUS (400, 403, 404, 500 or 503), s3-hang, s3-reset, s3-half-body";

impl FromStr for S3Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("{text:?} is no fault that can be made: use one of {HELP}");
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        match (name, value) {
            ("s3-latency", Some(ms)) => {
                ms.parse().map(|ms| Self::Latency(Duration::from_millis(ms))).map_err(|_| unknown())
            }
            ("s3-error", Some(status)) => match status {
                "400" => Ok(Self::Error(400, "ExpiredToken")),
                "403" => Ok(Self::Error(403, "InvalidAccessKeyId")),
                "404" => Ok(Self::Error(404, "NoSuchBucket")),
                "500" => Ok(Self::Error(500, "InternalError")),
                "503" => Ok(Self::Error(503, "SlowDown")),
                _ => Err(unknown()),
            },
            ("s3-hang", None) => Ok(Self::Hang),
            ("s3-reset", None) => Ok(Self::Reset),
            ("s3-half-body", None) => Ok(Self::HalfBody),
            _ => Err(unknown()),
        }
    }
}

/// The faults in force; they can change while the cloud runs.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<RwLock<Option<S3Fault>>>);

impl Faults {
    /// Puts a fault in force, or ends it.
    pub fn set_s3(&self, fault: Option<S3Fault>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// The fault in force.
    pub fn s3(&self) -> Option<S3Fault> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_help_text_can_be_named_and_nothing_else() {
        for good in ["s3-latency=250", "s3-error=503", "s3-hang", "s3-reset", "s3-half-body"] {
            assert!(S3Fault::from_str(good).is_ok(), "{good}");
        }
        for bad in ["", "s3-latency", "s3-latency=fast", "s3-error=200", "s3-hang=1", "rain"] {
            assert!(S3Fault::from_str(bad).unwrap_err().contains("s3-half-body"), "{bad}");
        }
    }
}

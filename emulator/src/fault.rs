//! Fault injection: by the command line, by the console's `/fault`, and by tests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::sync::watch;

/// A fault, by the component that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A fault of S3.
    S3(S3Fault),
    /// A fault of Lambda.
    Lambda(LambdaFault),
    /// A fault of the span collector.
    Collector(CollectorFault),
    /// Lambda does not read the handler's standard output, so the pipe fills up.
    StdoutFull,
}

/// A fault of S3. It affects every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Fault {
    /// S3 handles each request after this delay.
    Latency(Duration),
    /// S3 returns this error: an HTTP status and S3's error code.
    Error(u16, &'static str),
    /// S3 never responds.
    Hang,
    /// S3 closes the connection without a response.
    Reset,
    /// S3 sends the headers of the whole object and half of the body, then closes the connection.
    HalfBody,
    /// S3 sends the headers and half of the body, then nothing; the connection stays open.
    Stall,
    /// S3 sends one byte less than Content-Length, then closes the connection.
    WrongLength,
    /// S3 closes its port and all connections.
    Dead,
}

/// A fault of Lambda. A percentage is the probability with which the fault affects an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LambdaFault {
    /// Lambda kills the process while it posts its response.
    Crash(u8),
    /// The process hangs once it has received the event.
    Hang(u8),
    /// Lambda throttles the invocation, as at the concurrency limit.
    Throttle(u8),
    /// Lambda kills a process that uses more than this many MB while it posts its response.
    Memory(u64),
    /// Lambda freezes the environment for this long, at most 1 ms after the start of each invocation that still runs.
    Freeze(Duration),
    /// Lambda sends SIGTERM to all environments once per second, to busy ones after their invocation.
    Sigterm,
}

/// A fault of the span collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectorFault {
    /// The collector never responds.
    Hang,
    /// The collector returns 503.
    Unavailable,
    /// The collector closes the connection without a response.
    Reset,
}

/// The names of all faults, with their units, for `--help` and error messages.
pub const HELP: &str = "\
s3-latency=MS, s3-error=STATUS (400, 403, 404, 500 or 503), s3-hang, s3-reset, s3-half-body, s3-stall, \
s3-wrong-length, s3-dead; lambda-crash=PERCENT, lambda-hang=PERCENT, lambda-throttle=PERCENT (of invocations), \
lambda-memory=MB, lambda-freeze=MS, lambda-sigterm; otlp-hang, otlp-unavailable, otlp-reset (the console's endpoint); \
stdout-full";

/// S3's error codes for the statuses of `s3-error`.
const CODES: [(u16, &str); 5] = [
    (400, "ExpiredToken"),
    (403, "InvalidAccessKeyId"),
    (404, "NoSuchBucket"),
    (500, "InternalError"),
    (503, "SlowDown"),
];

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let number = || value.and_then(|value| value.parse::<u64>().ok());
        let percent = || number().and_then(|number| u8::try_from(number).ok()).filter(|percent| *percent <= 100);
        let ms = || number().filter(|ms| *ms <= 600_000).map(Duration::from_millis);
        let fault = match (name, value) {
            ("s3-latency", _) => ms().map(|ms| Self::S3(S3Fault::Latency(ms))),
            ("s3-error", _) => {
                let wanted = number();
                let code = CODES.iter().find(|(status, _)| Some(u64::from(*status)) == wanted);
                code.map(|(status, code)| Self::S3(S3Fault::Error(*status, code)))
            }
            ("s3-hang", None) => Some(Self::S3(S3Fault::Hang)),
            ("s3-reset", None) => Some(Self::S3(S3Fault::Reset)),
            ("s3-half-body", None) => Some(Self::S3(S3Fault::HalfBody)),
            ("s3-stall", None) => Some(Self::S3(S3Fault::Stall)),
            ("s3-wrong-length", None) => Some(Self::S3(S3Fault::WrongLength)),
            ("s3-dead", None) => Some(Self::S3(S3Fault::Dead)),
            ("lambda-crash", _) => percent().map(|percent| Self::Lambda(LambdaFault::Crash(percent))),
            ("lambda-hang", _) => percent().map(|percent| Self::Lambda(LambdaFault::Hang(percent))),
            ("lambda-throttle", _) => percent().map(|percent| Self::Lambda(LambdaFault::Throttle(percent))),
            ("lambda-memory", _) => number().map(|mb| Self::Lambda(LambdaFault::Memory(mb))),
            ("lambda-freeze", _) => ms().map(|ms| Self::Lambda(LambdaFault::Freeze(ms))),
            ("lambda-sigterm", None) => Some(Self::Lambda(LambdaFault::Sigterm)),
            ("otlp-hang", None) => Some(Self::Collector(CollectorFault::Hang)),
            ("otlp-unavailable", None) => Some(Self::Collector(CollectorFault::Unavailable)),
            ("otlp-reset", None) => Some(Self::Collector(CollectorFault::Reset)),
            ("stdout-full", None) => Some(Self::StdoutFull),
            _ => None,
        };
        fault.ok_or_else(|| format!("invalid fault {text:?}: expected one of {HELP}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::S3(S3Fault::Latency(delay)) => return write!(f, "s3-latency={}", delay.as_millis()),
            Self::S3(S3Fault::Error(status, _)) => return write!(f, "s3-error={status}"),
            Self::S3(S3Fault::Hang) => "s3-hang",
            Self::S3(S3Fault::Reset) => "s3-reset",
            Self::S3(S3Fault::HalfBody) => "s3-half-body",
            Self::S3(S3Fault::Stall) => "s3-stall",
            Self::S3(S3Fault::WrongLength) => "s3-wrong-length",
            Self::S3(S3Fault::Dead) => "s3-dead",
            Self::Lambda(LambdaFault::Crash(percent)) => return write!(f, "lambda-crash={percent}"),
            Self::Lambda(LambdaFault::Hang(percent)) => return write!(f, "lambda-hang={percent}"),
            Self::Lambda(LambdaFault::Throttle(percent)) => return write!(f, "lambda-throttle={percent}"),
            Self::Lambda(LambdaFault::Memory(mb)) => return write!(f, "lambda-memory={mb}"),
            Self::Lambda(LambdaFault::Freeze(time)) => return write!(f, "lambda-freeze={}", time.as_millis()),
            Self::Lambda(LambdaFault::Sigterm) => "lambda-sigterm",
            Self::Collector(CollectorFault::Hang) => "otlp-hang",
            Self::Collector(CollectorFault::Unavailable) => "otlp-unavailable",
            Self::Collector(CollectorFault::Reset) => "otlp-reset",
            Self::StdoutFull => "stdout-full",
        };
        f.write_str(name)
    }
}

/// The active faults. They can change while the cloud runs.
#[derive(Debug, Clone, Default)]
pub struct Faults(watch::Sender<Vec<Fault>>);

impl Faults {
    /// Replaces all active faults.
    pub fn set(&self, faults: Vec<Fault>) {
        self.0.send_replace(faults);
    }

    /// Replaces all active faults by one of S3, or by none.
    pub fn set_s3(&self, fault: Option<S3Fault>) {
        self.set(fault.into_iter().map(Fault::S3).collect());
    }

    /// All active faults.
    pub fn all(&self) -> Vec<Fault> {
        self.0.borrow().clone()
    }

    /// The first active fault of S3.
    pub fn s3(&self) -> Option<S3Fault> {
        self.find(|fault| if let Fault::S3(fault) = fault { Some(fault.clone()) } else { None })
    }

    /// The first active fault of Lambda.
    pub fn lambda(&self) -> Option<LambdaFault> {
        self.find(|fault| if let Fault::Lambda(fault) = fault { Some(fault.clone()) } else { None })
    }

    /// The first active fault of the span collector.
    pub fn collector(&self) -> Option<CollectorFault> {
        self.find(|fault| if let Fault::Collector(fault) = fault { Some(fault.clone()) } else { None })
    }

    fn find<T>(&self, select: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.0.borrow().iter().find_map(select)
    }

    /// Waits until `condition` is true for the active faults.
    pub async fn wait_until(&self, condition: impl Fn(&[Fault]) -> bool) {
        // It cannot fail, because `self` holds the sender.
        let _ = self.0.subscribe().wait_for(|faults| condition(faults)).await;
    }
}

/// Returns true with a probability of `percent`.
pub(crate) fn chance(percent: u8) -> bool {
    fastrand::u8(0..100) < percent
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 18] = [
        "s3-latency=250",
        "s3-error=503",
        "s3-hang",
        "s3-reset",
        "s3-half-body",
        "s3-stall",
        "s3-wrong-length",
        "s3-dead",
        "lambda-crash=10",
        "lambda-hang=5",
        "lambda-throttle=100",
        "lambda-memory=12",
        "lambda-freeze=200",
        "lambda-sigterm",
        "otlp-hang",
        "otlp-unavailable",
        "otlp-reset",
        "stdout-full",
    ];

    #[test]
    fn exactly_the_faults_of_the_help_text_are_valid() {
        for valid in ALL {
            assert_eq!(Fault::from_str(valid).unwrap().to_string(), valid);
            assert!(HELP.contains(valid.split('=').next().unwrap()), "{valid}");
        }
        let named = HELP.split([' ', ',', ';']).filter(|word| word.contains('-') && !word.starts_with('('));
        assert_eq!(named.count(), ALL.len());
        for invalid in [
            "",
            "s3-latency",
            "s3-latency=fast",
            "s3-latency=99999999999",
            "s3-error=200",
            "s3-hang=1",
            "lambda-crash",
            "lambda-crash=101",
            "lambda-freeze",
            "otlp-hang=1",
            "rain",
        ] {
            assert!(Fault::from_str(invalid).unwrap_err().contains("s3-half-body"), "{invalid}");
        }
    }

    #[test]
    fn each_component_gets_its_own_fault() {
        let faults = Faults::default();
        faults.set(ALL.iter().map(|text| text.parse().unwrap()).collect());
        assert_eq!(faults.s3(), Some(S3Fault::Latency(Duration::from_millis(250))));
        assert_eq!(faults.lambda(), Some(LambdaFault::Crash(10)));
        assert_eq!(faults.collector(), Some(CollectorFault::Hang));
        faults.set_s3(None);
        assert!(faults.all().is_empty());
    }
}

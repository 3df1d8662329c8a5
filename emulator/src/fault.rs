//! What can be made to go wrong: from the command line, over the console's `/fault`, and from tests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::sync::watch;

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// In S3.
    S3(S3Fault),
    /// In Lambda.
    Lambda(LambdaFault),
    /// In what takes spans.
    Collector(CollectorFault),
    /// Nobody reads what the handler writes to its standard output.
    StdoutFull,
}

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
    /// Half of the object comes, and then nothing more; the connection stays open.
    Stall,
    /// Content-Length is a byte more than comes; the connection closes after it.
    WrongLength,
    /// Nobody listens at the address, and every connection is closed.
    Dead,
}

/// How Lambda misbehaves. A percentage is of the invocations, taken by chance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LambdaFault {
    /// The process dies while it posts its answer.
    Crash(u8),
    /// The process gets the event and never does anything again.
    Hang(u8),
    /// The invocation is refused, as at the concurrency limit.
    Throttle(u8),
    /// A process that holds more than so many MB is killed while it posts its answer.
    Memory(u64),
    /// The environment is frozen this long in the middle of each invocation that takes more than a moment.
    Freeze(Duration),
    /// Every environment is told to go, with SIGTERM, each second: at once if it is idle, else after its invocation.
    Sigterm,
}

/// How the collector of spans misbehaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectorFault {
    /// No answer ever comes.
    Hang,
    /// Every answer is 503.
    Unavailable,
    /// The connection closes without an answer.
    Reset,
}

/// The names and what they do, for `--help`.
pub const HELP: &str = "\
s3-latency=MS, s3-error=STATUS (400, 403, 404, 500 or 503), s3-hang, s3-reset, s3-half-body, s3-stall, s3-wrong-length, \
s3-dead; lambda-crash=PERCENT, lambda-hang=PERCENT, lambda-throttle=PERCENT (of the invocations), lambda-memory=MB, \
lambda-freeze=MS, lambda-sigterm; otlp-hang, otlp-unavailable, otlp-reset (the console's endpoint); stdout-full";

/// S3's codes for the statuses that it can be made to answer with.
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
        fault.ok_or_else(|| format!("{text:?} is no fault that can be made: use one of {HELP}"))
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

/// The faults in force; they can change while the cloud runs.
#[derive(Debug, Clone, Default)]
pub struct Faults(watch::Sender<Vec<Fault>>);

impl Faults {
    /// Puts these faults in force and ends every other.
    pub fn set(&self, faults: Vec<Fault>) {
        self.0.send_replace(faults);
    }

    /// Puts a fault of S3 in force, or ends it; and every other.
    pub fn set_s3(&self, fault: Option<S3Fault>) {
        self.set(fault.into_iter().map(Fault::S3).collect());
    }

    /// Every fault in force.
    pub fn all(&self) -> Vec<Fault> {
        self.0.borrow().clone()
    }

    /// What is wrong with S3.
    pub fn s3(&self) -> Option<S3Fault> {
        self.find(|fault| if let Fault::S3(fault) = fault { Some(fault.clone()) } else { None })
    }

    /// What is wrong with Lambda.
    pub fn lambda(&self) -> Option<LambdaFault> {
        self.find(|fault| if let Fault::Lambda(fault) = fault { Some(fault.clone()) } else { None })
    }

    /// What is wrong with the collector.
    pub fn collector(&self) -> Option<CollectorFault> {
        self.find(|fault| if let Fault::Collector(fault) = fault { Some(fault.clone()) } else { None })
    }

    fn find<T>(&self, of: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.0.borrow().iter().find_map(of)
    }

    /// Returns when `reached` is true of the faults in force.
    pub async fn until(&self, reached: impl Fn(&[Fault]) -> bool) {
        // Its sender is here: the wait has no other end.
        let _ = self.0.subscribe().wait_for(|faults| reached(faults)).await;
    }
}

/// Whether a thing happens that happens to so many in a hundred.
pub(crate) fn happens(percent: u8) -> bool {
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
    fn every_fault_of_the_help_text_can_be_named_and_nothing_else() {
        for good in ALL {
            assert_eq!(Fault::from_str(good).unwrap().to_string(), good);
            assert!(HELP.contains(good.split('=').next().unwrap()), "{good}");
        }
        let named = HELP.split([' ', ',', ';']).filter(|word| word.contains('-') && !word.starts_with('('));
        assert_eq!(named.count(), ALL.len());
        for bad in [
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
            assert!(Fault::from_str(bad).unwrap_err().contains("s3-half-body"), "{bad}");
        }
    }

    #[test]
    fn each_part_sees_its_own_fault() {
        let faults = Faults::default();
        faults.set(ALL.iter().map(|text| text.parse().unwrap()).collect());
        assert_eq!(faults.s3(), Some(S3Fault::Latency(Duration::from_millis(250))));
        assert_eq!(faults.lambda(), Some(LambdaFault::Crash(10)));
        assert_eq!(faults.collector(), Some(CollectorFault::Hang));
        faults.set_s3(None);
        assert!(faults.all().is_empty());
    }
}

//! Fault injection: by the command line, by the console's `/fault`, and by tests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
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

/// A fault of S3. It affects every request; [`S3Fault::Refuse`] can be limited to one key.
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
    /// S3 refuses to read this key, or any key.
    Refuse(Refusal, Option<String>),
    /// S3 sends this header field with each successful response, in place of its own field of this name.
    Header(HeaderName, HeaderValue),
}

/// Why S3 refuses to read an object. `s3/refusal.rs` has the responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The object is in the storage class GLACIER.
    Archived,
    /// The object is encrypted with a key that the request must contain.
    CustomerKey,
    /// The object's KMS key is disabled.
    KmsDisabled,
    /// The object's KMS key is pending deletion.
    KmsPendingDeletion,
    /// The object's KMS key does not exist.
    KmsNotFound,
    /// The role lacks `kms:Decrypt`.
    KmsDenied,
    /// The bucket policy denies `s3:GetObject` explicitly.
    ExplicitDeny,
    /// The role lacks `s3:ListBucket`. This concerns missing keys only.
    ListDenied,
    /// Access is denied, and the message names no action.
    Denied,
}

/// The names of the reasons of `s3-refuse`.
const REFUSALS: [(&str, Refusal); 9] = [
    ("archived", Refusal::Archived),
    ("sse-c", Refusal::CustomerKey),
    ("kms-disabled", Refusal::KmsDisabled),
    ("kms-pending-deletion", Refusal::KmsPendingDeletion),
    ("kms-not-found", Refusal::KmsNotFound),
    ("kms-denied", Refusal::KmsDenied),
    ("explicit-deny", Refusal::ExplicitDeny),
    ("list-denied", Refusal::ListDenied),
    ("denied", Refusal::Denied),
];

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
s3-wrong-length, s3-dead, s3-refuse=REASON[:KEY] (archived, sse-c, kms-disabled, kms-pending-deletion, kms-not-found, \
kms-denied, explicit-deny, list-denied or denied), s3-header=NAME:VALUE (VALUE and KEY are percent-decoded); lambda-crash=PERCENT, lambda-hang=PERCENT, lambda-throttle=PERCENT (of invocations), \
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
            ("s3-refuse", Some(value)) => refusal(value).map(Self::S3),
            ("s3-header", Some(value)) => header(value).map(Self::S3),
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

/// Parses `REASON` or `REASON:KEY`.
fn refusal(value: &str) -> Option<S3Fault> {
    let (reason, key) = value.split_once(':').map_or((value, None), |(reason, key)| (reason, Some(key)));
    let (_, refusal) = REFUSALS.iter().find(|(name, _)| *name == reason)?;
    let key = key.map(|key| percent_decode_str(key).decode_utf8().map(Into::into)).transpose().ok()?;
    Some(S3Fault::Refuse(*refusal, key))
}

/// Parses `NAME:VALUE`. The fields that frame the message are not valid: hyper writes them.
fn header(value: &str) -> Option<S3Fault> {
    let (name, value) = value.split_once(':')?;
    let name = HeaderName::try_from(name).ok()?;
    let value = HeaderValue::try_from(percent_decode_str(value).collect::<Vec<u8>>()).ok()?;
    let framing = ["connection", "content-length", "transfer-encoding"];
    (!framing.contains(&name.as_str())).then_some(S3Fault::Header(name, value))
}

/// The bytes that the text of a fault encodes, so that white space separates faults.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

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
            Self::S3(S3Fault::Refuse(refusal, key)) => {
                let reason = REFUSALS.iter().find(|(_, known)| known == refusal).map_or("", |(name, _)| name);
                write!(f, "s3-refuse={reason}")?;
                return match key {
                    Some(key) => write!(f, ":{}", percent_encode(key.as_bytes(), ENCODED)),
                    None => Ok(()),
                };
            }
            Self::S3(S3Fault::Header(name, value)) => {
                return write!(f, "s3-header={name}:{}", percent_encode(value.as_bytes(), ENCODED));
            }
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

    /// The first active fault of S3 that is neither a refusal nor a header field.
    pub fn s3(&self) -> Option<S3Fault> {
        self.find(|fault| match fault {
            Fault::S3(S3Fault::Refuse(..) | S3Fault::Header(..)) => None,
            Fault::S3(fault) => Some(fault.clone()),
            _ => None,
        })
    }

    /// Why S3 refuses to read `key`; `None` if it does not.
    pub fn refusal(&self, key: &str) -> Option<Refusal> {
        self.find(|fault| match fault {
            Fault::S3(S3Fault::Refuse(refusal, only)) if only.as_deref().is_none_or(|only| only == key) => {
                Some(*refusal)
            }
            _ => None,
        })
    }

    /// The header fields that S3 sends with each successful response.
    pub fn s3_headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let field = |fault: &Fault| match fault {
            Fault::S3(S3Fault::Header(name, value)) => Some((name.clone(), value.clone())),
            _ => None,
        };
        self.0.borrow().iter().filter_map(field).collect()
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

    const ALL: [&str; 20] = [
        "s3-latency=250",
        "s3-error=503",
        "s3-hang",
        "s3-reset",
        "s3-half-body",
        "s3-stall",
        "s3-wrong-length",
        "s3-dead",
        "s3-refuse=archived",
        "s3-header=expires:%E9",
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
        let without_notes: String = HELP.split('(').map(|part| part.rsplit(')').next().unwrap()).collect();
        let named = without_notes.split([' ', ',', ';']).filter(|word| word.contains('-'));
        assert_eq!(named.count(), ALL.len());
        for invalid in [
            "",
            "s3-latency",
            "s3-latency=fast",
            "s3-latency=99999999999",
            "s3-error=200",
            "s3-hang=1",
            "s3-refuse",
            "s3-refuse=rain",
            "s3-refuse=archived:%FF",
            "s3-header=expires",
            "s3-header=a b:c",
            "s3-header=expires:%0A",
            "s3-header=Content-Length:1",
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
    fn a_refusal_can_be_limited_to_one_key() {
        let faults = Faults::default();
        for (name, refusal) in REFUSALS {
            assert!(HELP.contains(name), "{name}");
            let text = format!("s3-refuse={name}:v1/a%20b%25");
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string(), text);
            faults.set(vec!["s3-latency=1".parse().unwrap(), fault]);
            assert_eq!((faults.refusal("v1/a b%"), faults.refusal("v1/a")), (Some(refusal), None));
            assert_eq!(faults.s3(), Some(S3Fault::Latency(Duration::from_millis(1))), "both are active");
        }
        faults.set(vec!["s3-refuse=denied".parse().unwrap()]);
        assert_eq!((faults.refusal("any"), faults.s3()), (Some(Refusal::Denied), None));
    }

    #[test]
    fn a_header_field_can_have_any_bytes() {
        let text = "s3-header=content-disposition:attachment;%20filename=\"%E9.pdf\"";
        let fault: Fault = text.parse().unwrap();
        assert_eq!(fault.to_string(), text);
        let faults = Faults::default();
        faults.set(vec![fault, "s3-header=Content-Encoding:".parse().unwrap()]);
        let fields = faults.s3_headers();
        assert_eq!(fields[0].1.as_bytes(), b"attachment; filename=\"\xe9.pdf\"");
        assert_eq!((fields[1].0.as_str(), fields[1].1.as_bytes()), ("content-encoding", &b""[..]));
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

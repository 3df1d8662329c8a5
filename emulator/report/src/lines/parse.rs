//! The JSON object of a log line, of which only the needed members are kept.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::lines::record::{Access, Count, Record};
use crate::lines::timestamp;

/// An object as far as this program understands it.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed<'a> {
    /// A line of the handler that is read.
    Record(Record<'a>),
    /// A line of the handler that is not.
    Other,
    /// An event of CloudWatch Logs: its message is a line.
    Event(Cow<'a, str>),
    /// Something else, which may contain events.
    Unknown,
}

/// Why a text is no record, in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// It is not JSON.
    Syntax(String),
    /// The object, of so many bytes, is a line of the handler without a member that it needs.
    Member(String, usize),
}

/// Parses the object at the start of a text. Returns the number of bytes read, too.
///
/// # Errors
/// If the text is not JSON, or lacks a member.
pub(super) fn parse<'a>(text: &'a [u8], by: Option<&str>) -> Result<(Parsed<'a>, usize), Error> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let fields = Members { by }.deserialize(&mut json).map_err(|error| Error::Syntax(reason(&error)))?;
    // A document on one line has no other way to say where it ends.
    let read = match json.end() {
        Ok(()) => text.len(),
        Err(error) => error.column().saturating_sub(1),
    };
    fields.understand().map(|parsed| (parsed, read)).map_err(|reason| Error::Member(reason, read))
}

/// The error without the place, which is not that in the file.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = text.find(" at line ").unwrap_or(text.len());
    format!("not valid JSON: {}", &text[..place])
}

#[derive(Default)]
struct Fields<'a> {
    message: Option<Value<'a>>,
    at: Option<i64>,
    /// `_aws.Timestamp`, which every line with metrics has.
    metric_at: Option<i64>,
    experiment: Option<Value<'a>>,
    variation: Option<Value<'a>>,
    visitor: Option<Value<'a>>,
    phase: Option<Value<'a>>,
    variant: Option<Value<'a>>,
    goal: Option<Value<'a>>,
    value: Option<Value<'a>>,
    attribute: Option<Value<'a>>,
    status: Option<Value<'a>>,
    duration: Option<Value<'a>>,
    body_bytes: Option<Value<'a>>,
    is_forced: bool,
    /// The name of a column of Logs Insights.
    field: Option<Value<'a>>,
}

impl<'a> Fields<'a> {
    fn understand(self) -> Result<Parsed<'a>, String> {
        if matches!(&self.field, Some(Value::Text(field)) if field == "@message") {
            return Ok(match self.value {
                Some(Value::Text(text)) => Parsed::Event(text),
                _ => Parsed::Other,
            });
        }
        let Some(message) = &self.message else { return Ok(Parsed::Unknown) };
        match message {
            Value::Text(message) if message == "exposure" => Ok(Parsed::Record(Record::Exposure(self.count(false)?))),
            Value::Text(message) if message == "conversion" => {
                Ok(Parsed::Record(Record::Conversion(self.count(true)?)))
            }
            Value::Text(message) if message == "answered" => self.access(),
            Value::Text(_) => Ok(match self.message {
                Some(Value::Text(text)) if text.trim_start().starts_with('{') => Parsed::Event(text),
                _ => Parsed::Other,
            }),
            // Logs Insights' console writes the message as an object.
            _ => Ok(Parsed::Unknown),
        }
    }

    fn count(self, is_conversion: bool) -> Result<Count<'a>, String> {
        let subject = if is_conversion { required(self.goal, "goal")? } else { required(self.variant, "variant")? };
        let value = match self.value.filter(|_| is_conversion) {
            None | Some(Value::Null) => None,
            Some(Value::Number(value)) if value.is_finite() => Some(value),
            Some(_) => return Err("the value is not a number".to_owned()),
        };
        Ok(Count {
            at: self.at.ok_or("the timestamp is missing, or not a time in RFC 3339")?,
            experiment: required(self.experiment, "experiment_id")?,
            variation: required(self.variation, "variation_id")?,
            visitor: required(self.visitor, "anonymous_id")?,
            phase: required(self.phase, "phase")?,
            subject,
            value,
            attribute: self.attribute.and_then(Value::into_text),
        })
    }

    fn access(self) -> Result<Parsed<'a>, String> {
        let number = |value: Option<Value<'a>>| match value {
            Some(Value::Number(number)) if number.is_finite() && number >= 0.0 => Some(number),
            _ => None,
        };
        // A warm-up event is no request: it has neither a duration nor a status that a viewer got.
        let (Some(duration_millis), Some(body_bytes)) = (number(self.duration), number(self.body_bytes)) else {
            return Ok(Parsed::Other);
        };
        Ok(Parsed::Record(Record::Access(Access {
            at: self.at.or(self.metric_at).ok_or("the timestamp is missing")?,
            variant: self.variant.and_then(Value::into_text).unwrap_or(Cow::Borrowed("none")),
            status: number(self.status).ok_or("status is missing, or not a number")? as u16,
            duration_millis,
            body_bytes: body_bytes as u64,
            is_forced: self.is_forced,
        })))
    }
}

fn required<'a>(value: Option<Value<'a>>, name: &str) -> Result<Cow<'a, str>, String> {
    value.and_then(Value::into_text).ok_or_else(|| format!("{name} is missing"))
}

/// A member that is not a container.
#[derive(Debug)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Bool(bool),
    Null,
    Container,
}

impl<'a> Value<'a> {
    fn into_text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(number) => Some(number.to_string().into()),
            Self::Bool(value) => Some(value.to_string().into()),
            Self::Null | Self::Container => None,
        }
    }
}

struct AnyValue;

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Value<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Container)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Container)
    }
}

/// Reads `_aws.Timestamp`.
struct Metrics;

impl<'de> DeserializeSeed<'de> for Metrics {
    type Value = Option<i64>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Option<i64>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metrics {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<i64>, A::Error> {
        let mut at = None;
        while let Some(key) = map.next_key_seed(Key)? {
            if key == "Timestamp" {
                at = Some(map.next_value::<i64>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(at)
    }
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

struct Members<'s> {
    by: Option<&'s str>,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Fields<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Fields<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key_seed(Key)? {
            let is_attribute = self.by == Some(&*key);
            let place = match &*key {
                "_aws" => {
                    fields.metric_at = map.next_value_seed(Metrics)?;
                    continue;
                }
                "timestamp" => {
                    if let Value::Text(text) = map.next_value_seed(AnyValue)? {
                        fields.at = fields.at.or(timestamp::parse(&text));
                    }
                    continue;
                }
                "assigned" => {
                    let value = map.next_value_seed(AnyValue)?;
                    fields.is_forced = matches!(value, Value::Text(text) if text == "forced");
                    continue;
                }
                "message" => &mut fields.message,
                "experiment_id" => &mut fields.experiment,
                "variation_id" => &mut fields.variation,
                "anonymous_id" => &mut fields.visitor,
                "phase" => &mut fields.phase,
                "variant" => &mut fields.variant,
                "goal" => &mut fields.goal,
                "value" => &mut fields.value,
                "status" => &mut fields.status,
                "Duration" | "duration_ms" => &mut fields.duration,
                "BodyBytes" | "body_bytes" => &mut fields.body_bytes,
                "field" => &mut fields.field,
                _ if is_attribute => &mut fields.attribute,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let value = map.next_value_seed(AnyValue)?;
            // The handler writes its own members before the attributes, whose values viewers choose.
            if place.is_none() {
                *place = Some(value);
            }
        }
        Ok(fields)
    }
}

/// Decodes the JSON string at the start of a text. Returns the number of bytes read, too.
pub(super) fn string(text: &[u8]) -> Option<(Cow<'_, str>, usize)> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let decoded = json.deserialize_str(Key).ok()?;
    let read = match json.end() {
        Ok(()) => text.len(),
        Err(error) => error.column().saturating_sub(1),
    };
    Some((decoded, read))
}

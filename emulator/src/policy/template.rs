//! A CloudFormation template, worked out as far as it can be without an account: its parameters filled in, its conditions
//! decided, and what only AWS knows left as a name, such as `${Api}` or `${Bucket.RegionalDomainName}`.
//!
//! [Intrinsic functions](https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html).

use std::collections::BTreeMap;
use std::fmt;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// How deep conditions and values may lie in each other: more is a circle, or somebody's joke.
const DEPTH_MAX: usize = 64;

/// Why a document cannot be worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError(String);

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TemplateError {}

fn refuse<T>(problem: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(problem.into()))
}

/// JSON or YAML, with CloudFormation's short tags (`!Ref X`) in their long form (`{"Ref": "X"}`).
///
/// # Errors
/// When it is neither, or not one document.
pub fn read(text: &str) -> Result<Value, TemplateError> {
    // A byte order mark is no part of the text.
    let text = text.trim_start_matches('\u{feff}');
    let documents =
        Yaml::load_from_str(text).map_err(|error| TemplateError(format!("neither JSON nor YAML: {error}")))?;
    match documents.as_slice() {
        [document] => long_form(document, 0),
        [] => refuse("there is nothing in it"),
        _ => refuse("it holds several documents: give one at a time"),
    }
}

fn long_form(node: &Yaml<'_>, depth: usize) -> Result<Value, TemplateError> {
    if depth > DEPTH_MAX {
        return refuse(format!("more than {DEPTH_MAX} levels"));
    }
    Ok(match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => (*value).into(),
        Yaml::Value(Scalar::Integer(value)) => (*value).into(),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => value.as_ref().into(),
        Yaml::Representation(text, ..) => text.as_ref().into(),
        Yaml::Sequence(items) => {
            items.iter().map(|item| long_form(item, depth + 1)).collect::<Result<Vec<_>, _>>()?.into()
        }
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let key = match long_form(key, depth + 1)? {
                    Value::String(key) => key,
                    key => key.to_string(),
                };
                object.insert(key, long_form(value, depth + 1)?);
            }
            object.into()
        }
        Yaml::Tagged(tag, inner) => {
            let inner = long_form(inner, depth + 1)?;
            match (tag.suffix.as_str(), inner) {
                _ if tag.is_yaml_core_schema() => return long_form_of_core(node, depth),
                (name @ ("Ref" | "Condition"), inner) => json!({name: inner}),
                ("GetAtt", Value::String(path)) => {
                    let (resource, attribute) = path.split_once('.').unwrap_or((&path, ""));
                    json!({"Fn::GetAtt": [resource, attribute]})
                }
                (name, inner) => json!({format!("Fn::{name}"): inner}),
            }
        }
        Yaml::Alias(_) | Yaml::BadValue => return refuse("a YAML alias: CloudFormation takes none"),
    })
}

fn long_form_of_core(node: &Yaml<'_>, depth: usize) -> Result<Value, TemplateError> {
    match node {
        Yaml::Tagged(_, inner) => long_form(inner, depth + 1),
        other => long_form(other, depth + 1),
    }
}

/// A template with values for its parameters.
#[derive(Debug)]
pub struct Template {
    document: Value,
    parameters: BTreeMap<String, Value>,
    region: String,
}

impl Template {
    /// Of a document that [`read`] gave, in a region, with values that stand in for the parameters' defaults.
    ///
    /// # Errors
    /// When it has no resources, or a value is for no parameter of it.
    pub fn new(document: Value, region: &str, values: &[(String, String)]) -> Result<Self, TemplateError> {
        if !document["Resources"].is_object() {
            return refuse("it has no Resources");
        }
        let mut parameters = BTreeMap::new();
        for (name, parameter) in document["Parameters"].as_object().into_iter().flatten() {
            if let Some(default) = parameter.get("Default") {
                parameters.insert(name.clone(), default.clone());
            }
        }
        for (name, value) in values {
            if document["Parameters"].get(name).is_none() {
                return refuse(format!("it has no parameter {name}"));
            }
            parameters.insert(name.clone(), value.as_str().into());
        }
        Ok(Self { document, parameters, region: region.to_owned() })
    }

    /// The resources of one type that its conditions let be, by their names, with their properties worked out.
    ///
    /// # Errors
    /// When a condition or a function makes no sense.
    pub fn resources(&self, kind: &str) -> Result<Vec<(String, Value)>, TemplateError> {
        let mut found = Vec::new();
        for (name, resource) in self.document["Resources"].as_object().into_iter().flatten() {
            if resource["Type"] != kind {
                continue;
            }
            if let Some(condition) = resource["Condition"].as_str()
                && !self.condition(condition, 0)?
            {
                continue;
            }
            found.push((name.clone(), self.properties(&resource["Properties"])?));
        }
        Ok(found)
    }

    /// Any part of the template, worked out; `null` stands for what is left out by `AWS::NoValue`.
    ///
    /// # Errors
    /// When a condition or a function makes no sense.
    pub fn properties(&self, value: &Value) -> Result<Value, TemplateError> {
        Ok(self.value(value, 0)?.unwrap_or(Value::Null))
    }

    /// The outputs, worked out.
    ///
    /// # Errors
    /// When a condition or a function makes no sense.
    pub fn outputs(&self) -> Result<Value, TemplateError> {
        self.properties(&self.document["Outputs"])
    }

    fn condition(&self, name: &str, depth: usize) -> Result<bool, TemplateError> {
        match self.document["Conditions"].get(name) {
            Some(condition) => self.holds(condition, depth + 1),
            None => refuse(format!("there is no condition {name}")),
        }
    }

    fn holds(&self, condition: &Value, depth: usize) -> Result<bool, TemplateError> {
        if depth > DEPTH_MAX {
            return refuse("the conditions go in a circle");
        }
        let Some((function, of)) = only_entry(condition) else {
            return condition.as_bool().map_or_else(|| refuse(format!("{condition} is no condition")), Ok);
        };
        let list = of.as_array().map_or(&[][..], Vec::as_slice);
        match function {
            "Condition" => self.condition(of.as_str().unwrap_or_default(), depth),
            "Fn::Equals" => match list {
                [left, right] => Ok(self.compared(left, depth)? == self.compared(right, depth)?),
                _ => refuse("Fn::Equals compares two values"),
            },
            "Fn::Not" => match list {
                [inner] => Ok(!self.holds(inner, depth + 1)?),
                _ => refuse("Fn::Not takes one condition"),
            },
            "Fn::And" => list.iter().try_fold(true, |all, each| Ok(all & self.holds(each, depth + 1)?)),
            "Fn::Or" => list.iter().try_fold(false, |any, each| Ok(any | self.holds(each, depth + 1)?)),
            other => refuse(format!("{other} is no function of conditions")),
        }
    }

    /// For a comparison a parameter is its text, as CloudFormation has it: `0` equals `"0"`.
    fn compared(&self, value: &Value, depth: usize) -> Result<String, TemplateError> {
        let value = match value.get("Ref").and_then(Value::as_str).and_then(|name| self.parameters.get(name)) {
            Some(parameter) => parameter.clone(),
            None => self.value(value, depth + 1)?.unwrap_or_default(),
        };
        Ok(text_of(&value))
    }

    /// `None` is `AWS::NoValue`: what has it is left out.
    fn value(&self, value: &Value, depth: usize) -> Result<Option<Value>, TemplateError> {
        if depth > DEPTH_MAX {
            return refuse("the values go in a circle");
        }
        if let Some((function, of)) = only_entry(value)
            && (function == "Ref" || function.starts_with("Fn::"))
        {
            return self.function(function, of, depth + 1);
        }
        Ok(Some(match value {
            Value::Array(items) => {
                let items = items.iter().map(|item| self.value(item, depth + 1)).filter_map(Result::transpose);
                items.collect::<Result<Vec<_>, _>>()?.into()
            }
            Value::Object(entries) => {
                let mut object = Map::new();
                for (key, entry) in entries {
                    if let Some(entry) = self.value(entry, depth + 1)? {
                        object.insert(key.clone(), entry);
                    }
                }
                object.into()
            }
            other => other.clone(),
        }))
    }

    fn function(&self, function: &str, of: &Value, depth: usize) -> Result<Option<Value>, TemplateError> {
        let list = of.as_array().map_or(&[][..], Vec::as_slice);
        match (function, list) {
            ("Ref", _) => Ok(self.reference(of.as_str().unwrap_or_default())),
            ("Fn::GetAtt", [resource, attribute]) => {
                Ok(Some(format!("${{{}.{}}}", text_of(resource), text_of(attribute)).into()))
            }
            ("Fn::GetAtt", _) => Ok(Some(format!("${{{}}}", text_of(of)).into())),
            ("Fn::If", [condition, then, otherwise]) => {
                let chosen = if self.condition(&text_of(condition), depth)? { then } else { otherwise };
                self.value(chosen, depth)
            }
            ("Fn::If", _) => refuse("Fn::If takes a condition and two values"),
            ("Fn::Sub", [text, values]) => {
                let values = self.value(values, depth)?.unwrap_or_default();
                Ok(Some(self.substituted(&text_of(text), &values).into()))
            }
            ("Fn::Sub", _) => Ok(Some(self.substituted(&text_of(of), &Value::Null).into())),
            ("Fn::Join", [separator, items]) => {
                let items = self.value(items, depth)?.unwrap_or_default();
                let items: Vec<String> = items.as_array().into_iter().flatten().map(text_of).collect();
                Ok(Some(items.join(&text_of(separator)).into()))
            }
            ("Fn::Split", [separator, text]) => {
                let text = text_of(&self.value(text, depth)?.unwrap_or_default());
                Ok(Some(text.split(text_of(separator).as_str()).map(Value::from).collect::<Vec<_>>().into()))
            }
            ("Fn::Select", [index, items]) => {
                let index = text_of(index).parse::<usize>().ok();
                let items = self.value(items, depth)?.unwrap_or_default();
                let item = index.and_then(|index| items.get(index)).cloned();
                item.map_or_else(|| refuse("Fn::Select names an item that is not there"), |item| Ok(Some(item)))
            }
            // What only AWS knows: imports, maps of zones, and so on.
            _ => Ok(Some(format!("${{{function}}}").into())),
        }
    }

    fn reference(&self, name: &str) -> Option<Value> {
        let pseudo = match name {
            "AWS::NoValue" => return None,
            "AWS::Region" => self.region.clone(),
            "AWS::Partition" => if self.in_china() { "aws-cn" } else { "aws" }.to_owned(),
            "AWS::URLSuffix" => if self.in_china() { "amazonaws.com.cn" } else { "amazonaws.com" }.to_owned(),
            _ => format!("${{{name}}}"),
        };
        match self.parameters.get(name) {
            // A secret is given when the stack is made: only a default stands in the template.
            Some(value) if self.is_secret(name) && !self.is_written_down(name, value) => Some(pseudo.into()),
            Some(value) => Some(value.clone()),
            None => Some(pseudo.into()),
        }
    }

    fn is_written_down(&self, name: &str, value: &Value) -> bool {
        !text_of(value).is_empty() && self.document["Parameters"][name].get("Default") == Some(value)
    }

    fn in_china(&self) -> bool {
        self.region.starts_with("cn-")
    }

    fn is_secret(&self, name: &str) -> bool {
        text_of(&self.document["Parameters"][name]["NoEcho"]) == "true"
    }

    /// `${Name}` in a text; `${!Name}` stays `${Name}`.
    fn substituted(&self, text: &str, values: &Value) -> String {
        let mut done = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            done.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                done.push_str("${");
                rest = after;
                continue;
            };
            match name.strip_prefix('!') {
                Some(literal) => done.push_str(&format!("${{{literal}}}")),
                None => done.push_str(&match values.get(name) {
                    Some(value) => text_of(value),
                    None => text_of(&self.reference(name.trim()).unwrap_or_default()),
                }),
            }
            rest = after;
        }
        done + rest
    }
}

fn only_entry(value: &Value) -> Option<(&str, &Value)> {
    let mut entries = value.as_object()?.iter();
    match (entries.next(), entries.next()) {
        (Some((name, value)), None) => Some((name, value)),
        _ => None,
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

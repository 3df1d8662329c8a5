//! Evaluates a CloudFormation template without an account.
//!
//! It substitutes parameters and decides conditions. Values that only AWS knows become placeholders, such as `${Api}` or
//! `${Bucket.RegionalDomainName}`.
//!
//! [Intrinsic functions](https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html).

use std::collections::BTreeMap;
use std::fmt;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// The maximum nesting depth of values and conditions. Circular conditions exceed it.
const DEPTH_MAX: usize = 64;

/// The reason why a template is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError(String);

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TemplateError {}

fn invalid<T>(reason: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(reason.into()))
}

/// Parses JSON or YAML, and expands CloudFormation's short tags (`!Ref X`) to their long form (`{"Ref": "X"}`).
///
/// # Errors
/// If the text is neither, or not exactly one document.
pub fn read(text: &str) -> Result<Value, TemplateError> {
    // Skip the byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let documents =
        Yaml::load_from_str(text).map_err(|error| TemplateError(format!("neither JSON nor YAML: {error}")))?;
    match documents.as_slice() {
        [document] => long_form(document, 0),
        [] => invalid("expected one document, found an empty file"),
        documents => invalid(format!("expected one document, found {}", documents.len())),
    }
}

fn long_form(node: &Yaml<'_>, depth: usize) -> Result<Value, TemplateError> {
    if depth > DEPTH_MAX {
        return invalid(format!("values are nested more than {DEPTH_MAX} levels deep"));
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
                // A tag of YAML's core schema, such as `!!map`, is not one of CloudFormation's.
                (_, inner) if tag.is_yaml_core_schema() => inner,
                (name @ ("Ref" | "Condition"), inner) => json!({name: inner}),
                ("GetAtt", Value::String(path)) => {
                    let (resource, attribute) = path.split_once('.').unwrap_or((&path, ""));
                    json!({"Fn::GetAtt": [resource, attribute]})
                }
                (name, inner) => json!({format!("Fn::{name}"): inner}),
            }
        }
        Yaml::Alias(_) | Yaml::BadValue => return invalid("found a YAML alias, which CloudFormation does not support"),
    })
}

/// A template and the values of its parameters.
#[derive(Debug)]
pub struct Template {
    document: Value,
    parameters: BTreeMap<String, Value>,
    region: String,
}

impl Template {
    /// A template from a document of [`read`] for a region; `values` override the defaults of the parameters.
    ///
    /// # Errors
    /// If it has no resources, or a value names an unknown parameter.
    pub fn new(document: Value, region: &str, values: &[(String, String)]) -> Result<Self, TemplateError> {
        if !document["Resources"].is_object() {
            return invalid("expected Resources in the template, found none");
        }
        let mut parameters = BTreeMap::new();
        for (name, parameter) in document["Parameters"].as_object().into_iter().flatten() {
            if let Some(default) = parameter.get("Default") {
                parameters.insert(name.clone(), default.clone());
            }
        }
        for (name, value) in values {
            if document["Parameters"].get(name).is_none() {
                return invalid(format!("the template has no parameter {name}"));
            }
            parameters.insert(name.clone(), value.as_str().into());
        }
        Ok(Self { document, parameters, region: region.to_owned() })
    }

    /// The resources of a type whose condition holds: logical ids and evaluated properties.
    ///
    /// # Errors
    /// If a condition or a function is invalid.
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

    /// Evaluates a part of the template; `null` if it is `AWS::NoValue`.
    ///
    /// # Errors
    /// If a condition or a function is invalid.
    pub fn properties(&self, value: &Value) -> Result<Value, TemplateError> {
        Ok(self.evaluate(value, 0)?.unwrap_or(Value::Null))
    }

    /// The evaluated outputs.
    ///
    /// # Errors
    /// If a condition or a function is invalid.
    pub fn outputs(&self) -> Result<Value, TemplateError> {
        self.properties(&self.document["Outputs"])
    }

    fn condition(&self, name: &str, depth: usize) -> Result<bool, TemplateError> {
        match self.document["Conditions"].get(name) {
            Some(condition) => self.evaluate_condition(condition, depth + 1),
            None => invalid(format!("the template has no condition {name}")),
        }
    }

    fn evaluate_condition(&self, condition: &Value, depth: usize) -> Result<bool, TemplateError> {
        if depth > DEPTH_MAX {
            return invalid(format!("conditions are circular, or nested more than {DEPTH_MAX} levels deep"));
        }
        let Some((function, argument)) = only_entry(condition) else {
            return condition.as_bool().map_or_else(|| invalid(format!("expected a condition, found {condition}")), Ok);
        };
        let list = argument.as_array().map_or(&[][..], Vec::as_slice);
        match function {
            "Condition" => self.condition(argument.as_str().unwrap_or_default(), depth),
            "Fn::Equals" => match list {
                [left, right] => Ok(self.comparison_text(left, depth)? == self.comparison_text(right, depth)?),
                _ => invalid("expected two values in Fn::Equals"),
            },
            "Fn::Not" => match list {
                [inner] => Ok(!self.evaluate_condition(inner, depth + 1)?),
                _ => invalid("expected one condition in Fn::Not"),
            },
            "Fn::And" => list.iter().try_fold(true, |all, each| Ok(all & self.evaluate_condition(each, depth + 1)?)),
            "Fn::Or" => list.iter().try_fold(false, |any, each| Ok(any | self.evaluate_condition(each, depth + 1)?)),
            other => invalid(format!("expected a condition function, found {other}")),
        }
    }

    /// The text of a value for a comparison. CloudFormation compares parameters as text: `0` equals `"0"`.
    fn comparison_text(&self, value: &Value, depth: usize) -> Result<String, TemplateError> {
        let value = match value.get("Ref").and_then(Value::as_str).and_then(|name| self.parameters.get(name)) {
            Some(parameter) => parameter.clone(),
            None => self.evaluate(value, depth + 1)?.unwrap_or_default(),
        };
        Ok(text_of(&value))
    }

    /// Evaluates a value. `None` is `AWS::NoValue`, which removes the property.
    fn evaluate(&self, value: &Value, depth: usize) -> Result<Option<Value>, TemplateError> {
        if depth > DEPTH_MAX {
            return invalid(format!("values are nested more than {DEPTH_MAX} levels deep"));
        }
        if let Some((function, argument)) = only_entry(value)
            && (function == "Ref" || function.starts_with("Fn::"))
        {
            return self.evaluate_function(function, argument, depth + 1);
        }
        Ok(Some(match value {
            Value::Array(items) => {
                let items = items.iter().map(|item| self.evaluate(item, depth + 1)).filter_map(Result::transpose);
                items.collect::<Result<Vec<_>, _>>()?.into()
            }
            Value::Object(entries) => {
                let mut object = Map::new();
                for (key, entry) in entries {
                    if let Some(entry) = self.evaluate(entry, depth + 1)? {
                        object.insert(key.clone(), entry);
                    }
                }
                object.into()
            }
            other => other.clone(),
        }))
    }

    fn evaluate_function(
        &self,
        function: &str,
        argument: &Value,
        depth: usize,
    ) -> Result<Option<Value>, TemplateError> {
        let list = argument.as_array().map_or(&[][..], Vec::as_slice);
        match (function, list) {
            ("Ref", _) => Ok(self.reference(argument.as_str().unwrap_or_default())),
            ("Fn::GetAtt", [resource, attribute]) => {
                Ok(Some(format!("${{{}.{}}}", text_of(resource), text_of(attribute)).into()))
            }
            ("Fn::GetAtt", _) => Ok(Some(format!("${{{}}}", text_of(argument)).into())),
            ("Fn::If", [condition, then, otherwise]) => {
                let chosen = if self.condition(&text_of(condition), depth)? { then } else { otherwise };
                self.evaluate(chosen, depth)
            }
            ("Fn::If", _) => invalid("expected a condition and two values in Fn::If"),
            ("Fn::Sub", [text, values]) => {
                let values = self.evaluate(values, depth)?.unwrap_or_default();
                Ok(Some(self.substitute(&text_of(text), &values).into()))
            }
            ("Fn::Sub", _) => Ok(Some(self.substitute(&text_of(argument), &Value::Null).into())),
            ("Fn::Join", [separator, items]) => {
                let items = self.evaluate(items, depth)?.unwrap_or_default();
                let items: Vec<String> = items.as_array().into_iter().flatten().map(text_of).collect();
                Ok(Some(items.join(&text_of(separator)).into()))
            }
            ("Fn::Split", [separator, text]) => {
                let text = text_of(&self.evaluate(text, depth)?.unwrap_or_default());
                Ok(Some(text.split(text_of(separator).as_str()).map(Value::from).collect::<Vec<_>>().into()))
            }
            ("Fn::Select", [index, items]) => {
                let index = text_of(index).parse::<usize>().ok();
                let items = self.evaluate(items, depth)?.unwrap_or_default();
                let item = index.and_then(|index| items.get(index)).cloned();
                item.map_or_else(|| invalid("Fn::Select has an index outside its list"), |item| Ok(Some(item)))
            }
            // Values that only AWS knows, such as imports and availability zones.
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
            // A secret is set when the stack is created. Only a default is part of the template.
            Some(value) if self.is_secret(name) && !self.is_default(name, value) => Some(pseudo.into()),
            Some(value) => Some(value.clone()),
            None => Some(pseudo.into()),
        }
    }

    fn is_default(&self, name: &str, value: &Value) -> bool {
        !text_of(value).is_empty() && self.document["Parameters"][name].get("Default") == Some(value)
    }

    fn in_china(&self) -> bool {
        self.region.starts_with("cn-")
    }

    fn is_secret(&self, name: &str) -> bool {
        text_of(&self.document["Parameters"][name]["NoEcho"]) == "true"
    }

    /// `${Name}` in a text; `${!Name}` stays `${Name}`.
    fn substitute(&self, text: &str, values: &Value) -> String {
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

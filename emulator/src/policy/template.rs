//! Evaluates a CloudFormation template without an account.
//!
//! It substitutes parameters and decides conditions. Values that only AWS knows become placeholders, such as `${Api}` or
//! `${Bucket.RegionalDomainName}`; `Fn::Split` and [`Template::resolve`] replace those whose form AWS documents.
//!
//! [Intrinsic functions](https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html).

use std::collections::BTreeMap;
use std::fmt;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

use crate::policy::json::text;
use crate::policy::{attribute, intrinsic};

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
    // YAML contains JSON, except for some escapes in texts.
    if let Ok(document) = serde_json::from_str(text) {
        return Ok(document);
    }
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
            if !self.exists(resource)? {
                continue;
            }
            found.push((name.clone(), self.properties(&resource["Properties"])?));
        }
        Ok(found)
    }

    fn exists(&self, resource: &Value) -> Result<bool, TemplateError> {
        resource["Condition"].as_str().map_or(Ok(true), |condition| self.condition(condition, 0))
    }

    /// Evaluates a part of the template; `null` if it is `AWS::NoValue`.
    ///
    /// # Errors
    /// If a condition or a function is invalid.
    pub fn properties(&self, value: &Value) -> Result<Value, TemplateError> {
        Ok(self.evaluate(value, 0)?.unwrap_or(Value::Null))
    }

    /// The types of the resources whose condition holds, by logical id.
    ///
    /// # Errors
    /// If a condition is invalid.
    pub fn resource_types(&self) -> Result<BTreeMap<String, String>, TemplateError> {
        let mut types = BTreeMap::new();
        for (name, resource) in self.document["Resources"].as_object().into_iter().flatten() {
            if self.exists(resource)? {
                types.insert(name.clone(), text(&resource["Type"]));
            }
        }
        Ok(types)
    }

    /// Replaces placeholders of attributes by the form that AWS documents for them, in every text of a value.
    ///
    /// `${Api.ApiEndpoint}` becomes `https://${Api}.execute-api.us-east-1.amazonaws.com`.
    pub fn resolve(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.resolve_text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.resolve(item)).collect(),
            Value::Object(entries) => {
                entries.iter().map(|(name, entry)| (name.clone(), self.resolve(entry))).collect::<Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }

    fn resolve_text(&self, text: &str) -> String {
        let mut resolved = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            resolved.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                rest = &rest[before.len()..];
                break;
            };
            let form = name.split_once('.').and_then(|(id, attribute)| {
                let kind = self.document["Resources"][id]["Type"].as_str();
                attribute::form(kind, id, attribute, &self.region, self.url_suffix())
            });
            resolved.push_str(&form.unwrap_or_else(|| format!("${{{name}}}")));
            rest = after;
        }
        resolved + rest
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
        Ok(text(&value))
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
                let attribute = self.evaluate(attribute, depth)?.unwrap_or_default();
                Ok(Some(format!("${{{}.{}}}", text(resource), text(&attribute)).into()))
            }
            ("Fn::GetAtt", _) => Ok(Some(format!("${{{}}}", text(argument)).into())),
            ("Fn::If", [condition, then, otherwise]) => {
                let chosen = if self.condition(&text(condition), depth)? { then } else { otherwise };
                self.evaluate(chosen, depth)
            }
            ("Fn::If", _) => invalid("expected a condition and two values in Fn::If"),
            ("Fn::Sub", [template, values]) => {
                let values = self.evaluate(values, depth)?.unwrap_or_default();
                Ok(Some(self.substitute(&text(template), &values).into()))
            }
            ("Fn::Sub", _) => Ok(Some(self.substitute(&text(argument), &Value::Null).into())),
            ("Fn::Join", [separator, items]) => {
                let items = self.evaluate(items, depth)?.unwrap_or_default();
                Ok(Some(intrinsic::join(&text(separator), &items).into()))
            }
            ("Fn::Split", [separator, whole]) => {
                let whole = self.resolve_text(&text(&self.evaluate(whole, depth)?.unwrap_or_default()));
                Ok(Some(intrinsic::split(&whole, &text(separator))))
            }
            ("Fn::Select", [index, items]) => {
                let index = self.evaluate(index, depth)?.unwrap_or_default();
                let items = self.evaluate(items, depth)?.unwrap_or_default();
                let item = intrinsic::select(&index, &items);
                item.map_or_else(|| invalid("Fn::Select has an index outside its list"), |item| Ok(Some(item)))
            }
            ("Fn::FindInMap", [map, first, second, ..]) => {
                let mut value = &self.document["Mappings"];
                for key in [map, first, second] {
                    value = &value[text(&self.evaluate(key, depth)?.unwrap_or_default())];
                }
                match (value, list.get(3).and_then(|options| options.get("DefaultValue"))) {
                    (Value::Null, Some(default)) => self.evaluate(default, depth),
                    (Value::Null, None) => Ok(Some(unknown(function))),
                    (value, _) => Ok(Some(value.clone())),
                }
            }
            // Values that only AWS knows, such as imports and availability zones.
            _ => Ok(Some(unknown(function))),
        }
    }

    fn reference(&self, name: &str) -> Option<Value> {
        let placeholder = format!("${{{name}}}");
        let pseudo = match name {
            "AWS::NoValue" => return None,
            "AWS::Region" => self.region.clone(),
            "AWS::Partition" => if self.in_china() { "aws-cn" } else { "aws" }.to_owned(),
            "AWS::URLSuffix" => self.url_suffix().to_owned(),
            _ => placeholder.clone(),
        };
        let Some(value) = self.parameters.get(name) else { return Some(pseudo.into()) };
        // A secret is set when the stack is created. Only a default is part of the template.
        if self.is_secret(name) && !self.is_default(name, value) {
            return Some(placeholder.into());
        }
        let kind = text(&self.document["Parameters"][name]["Type"]);
        Some(if kind.starts_with("AWS::SSM::Parameter::Value<") {
            // The parameter contains the name of the value in Systems Manager.
            placeholder.into()
        } else if kind == "CommaDelimitedList" || kind.starts_with("List<") {
            text(value).split(',').map(|item| Value::from(item.trim())).collect()
        } else {
            value.clone()
        })
    }

    fn is_default(&self, name: &str, value: &Value) -> bool {
        !text(value).is_empty() && self.document["Parameters"][name].get("Default") == Some(value)
    }

    fn in_china(&self) -> bool {
        self.region.starts_with("cn-")
    }

    fn url_suffix(&self) -> &'static str {
        if self.in_china() { "amazonaws.com.cn" } else { "amazonaws.com" }
    }

    fn is_secret(&self, name: &str) -> bool {
        text(&self.document["Parameters"][name]["NoEcho"]) == "true"
    }

    /// `${Name}` in a text; `${!Name}` stays `${Name}`.
    fn substitute(&self, template: &str, values: &Value) -> String {
        let mut done = String::new();
        let mut rest = template;
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
                    Some(value) => text(value),
                    None => text(&self.reference(name.trim()).unwrap_or_default()),
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

/// The placeholder for the value of a function that only AWS evaluates.
fn unknown(function: &str) -> Value {
    format!("${{{function}}}").into()
}

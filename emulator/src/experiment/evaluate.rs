//! `experiment evaluate`: evaluates JSON objects, one per line.

use std::io::{self, BufRead, Write};

use nearedge_core::experiment::evaluation::{Assigned, Evaluation};
use nearedge_core::experiment::hash::{HashVersion, fraction};
use nearedge_core::experiment::plan::{Plan, condition_passes};
use nearedge_core::experiment::spec::Experiment;
use nearedge_core::experiment::url::{is_same_url, merge_query_strings, query_of, query_string_override};
use nearedge_core::experiment::value::Value;
use serde_json::{Map, json};

use crate::experiment::context::Context;

/// A value without members.
static NULL: Value = Value::Null;

/// Evaluates every line of `input`, and writes one line for each, in the same order.
///
/// # Errors
/// If the input cannot be read or the output cannot be written.
pub(super) fn evaluate(mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return output.flush();
        }
        let result = evaluate_line(&line).unwrap_or_else(|error| json!({"error": error}));
        serde_json::to_writer(&mut output, &result)?;
        output.write_all(b"\n")?;
        // A program at the other end may wait for this answer before it asks the next question.
        if input.fill_buf()?.is_empty() {
            output.flush()?;
        }
    }
}

/// Evaluates one object.
fn evaluate_line(line: &[u8]) -> Result<serde_json::Value, String> {
    let json: Value = serde_json::from_slice(line).map_err(|error| format!("not a JSON object: {error}"))?;
    if json.as_object().is_none() {
        return Err("expected a JSON object with a context, a condition or a queryStringOverride".to_owned());
    }
    if let Some(condition) = json.get("condition") {
        let attributes = json.get("attributes").unwrap_or(&NULL);
        return Ok(json!({"result": condition_passes(condition, attributes, json.get("savedGroups"))}));
    }
    if let Some(arguments) = json.get("queryStringOverride") {
        return Ok(json!({"result": override_of(arguments)?}));
    }
    let Some(context @ Value::Object(_)) = json.get("context") else {
        return Err("expected a context, a condition or a queryStringOverride".to_owned());
    };
    match (json.get("feature"), json.get("experiment"), json.get("redirects")) {
        (Some(Value::Text(feature)), _, _) => Ok(feature_result(context, feature)),
        (_, Some(experiment @ Value::Object(_)), _) => Ok(experiment_result(context, experiment)),
        (_, _, Some(Value::Bool(true))) => Ok(redirects(context)),
        _ => Err("expected feature: a text, experiment: an object, or redirects: true beside the context".to_owned()),
    }
}

fn override_of(arguments: &Value) -> Result<Option<usize>, String> {
    match arguments.as_list() {
        Some([Value::Text(key), Value::Text(url), Value::Number(variations)]) => {
            Ok(query_string_override(key, query_of(url), *variations as usize))
        }
        _ => Err("expected queryStringOverride: [KEY, URL, VARIATIONS]".to_owned()),
    }
}

fn feature_result(context: &Value, feature: &str) -> serde_json::Value {
    let plan = Plan::new(context, feature);
    let visitor = Context::new(context);
    let mut evaluation = evaluation(&plan, &visitor);
    let result = evaluation.feature(plan.feature);
    let rule = plan.feature.zip(result.rule).and_then(|(feature, rule)| plan.features.get(feature)?.rules.get(rule));
    let is_on = result.value.is_truthy();
    let mut output = json!({
        "value": result.value,
        "on": is_on,
        "off": !is_on,
        "source": result.source.name(),
        "ruleId": rule.map_or("", |rule| &rule.id),
    });
    if let Some(assigned) = result.assigned {
        let json_rules = context.get("features").and_then(|features| features.get(feature)?.get("rules"));
        let json_rule = result.rule.and_then(|rule| json_rules?.as_list()?.get(rule)).unwrap_or(&NULL);
        output["experiment"] = experiment_of(json_rule, assigned.experiment);
        let mut of_experiment = assigned_result(&evaluation, &assigned);
        of_experiment.insert("featureId".to_owned(), json!(feature));
        output["experimentResult"] = of_experiment.into();
    }
    if let Some(documents) = visitor.documents() {
        output["stickyBucketAssignmentDocs"] = documents;
    }
    output
}

/// The members of a rule that belong to its experiment.
fn experiment_of(rule: &Value, experiment: &Experiment) -> serde_json::Value {
    let mut members = Map::new();
    members.insert("key".to_owned(), json!(experiment.key.as_str()));
    members.insert("variations".to_owned(), json!(experiment.variations));
    for name in [
        "weights",
        "hashAttribute",
        "fallbackAttribute",
        "disableStickyBucketing",
        "bucketVersion",
        "minBucketVersion",
        "namespace",
        "meta",
        "ranges",
        "name",
        "phase",
        "seed",
        "hashVersion",
        "filters",
        "condition",
        "coverage",
    ] {
        // An SDK copies these members unless they are empty; of these, a zero is a value.
        let is_kept = ["coverage", "bucketVersion", "minBucketVersion"].contains(&name);
        if let Some(value) = rule.get(name).filter(|value| value.is_truthy() || is_kept && **value != Value::Null) {
            members.insert(name.to_owned(), json!(value));
        }
    }
    members.into()
}

fn experiment_result(context: &Value, experiment: &Value) -> serde_json::Value {
    let plan = Plan::of_experiment(context, experiment);
    let visitor = Context::new(context);
    let mut evaluation = evaluation(&plan, &visitor);
    match plan.automatic.first() {
        Some(experiment) => {
            let assigned = evaluation.experiment(experiment);
            assigned_result(&evaluation, &assigned).into()
        }
        None => serde_json::Value::Null,
    }
}

fn assigned_result<'d>(
    evaluation: &Evaluation<'d, '_, Context<'_>>,
    assigned: &Assigned<'d>,
) -> Map<String, serde_json::Value> {
    let Assigned { experiment, variation, in_experiment, hash_used, bucket, sticky_used } = *assigned;
    let (attribute, value) = evaluation.identity(experiment);
    let mut output = Map::new();
    let mut insert = |name: &str, value: serde_json::Value| drop(output.insert(name.to_owned(), value));
    insert("value", json!(assigned.value()));
    insert("variationId", json!(variation));
    insert("inExperiment", json!(in_experiment));
    insert("hashUsed", json!(hash_used));
    insert("hashAttribute", json!(attribute.name));
    insert("hashValue", json!(value.into_value()));
    insert("key", json!(experiment.variation_key(variation)));
    insert("stickyBucketUsed", json!(sticky_used));
    let meta = experiment.meta.get(variation);
    if let Some(name) = meta.and_then(|meta| meta.name.as_deref()) {
        insert("name", json!(name));
    }
    if meta.is_some_and(|meta| meta.passthrough) {
        insert("passthrough", json!(true));
    }
    if let Some(bucket) = bucket {
        insert("bucket", json!(fraction(bucket, experiment.hash_version().unwrap_or(HashVersion::One))));
    }
    output
}

/// The redirects of the automatic experiments. The first one in which the visitor takes part ends the list.
fn redirects(context: &Value) -> serde_json::Value {
    let plan = Plan::new(context, "");
    let visitor = Context::new(context);
    let mut evaluation = evaluation(&plan, &visitor);
    let url = context.get("url").and_then(Value::as_str).unwrap_or_default();
    let redirecting = plan.automatic.iter().filter(|experiment| experiment.is_redirect());
    let first = redirecting.map(|experiment| evaluation.experiment(experiment)).find(|assigned| assigned.in_experiment);
    let redirect = first.and_then(|assigned| {
        let address = assigned.experiment.redirect(assigned.variation)?;
        let with_params = match assigned.experiment.persist_query_string {
            true => merge_query_strings(url, address),
            false => address.to_owned(),
        };
        (!is_same_url(url, &with_params)).then(
            || json!({"inExperiment": assigned.in_experiment, "urlRedirect": address, "urlWithParams": with_params}),
        )
    });
    redirect.into_iter().collect::<Vec<_>>().into()
}

/// An evaluation with the context's switches.
fn evaluation<'d, 'v, 'c>(plan: &'d Plan, visitor: &'v Context<'c>) -> Evaluation<'d, 'v, Context<'c>> {
    let mut evaluation = Evaluation::new(&plan.features, visitor);
    evaluation.enabled = visitor.flag("enabled", true);
    evaluation.qa_mode = visitor.flag("qaMode", false);
    evaluation
}

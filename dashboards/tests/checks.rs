//! What can be known of the dashboards and alarms without an account: that they are what the generator makes, that
//! CloudWatch can take them, and that they name what is really there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::path::Path;

use dashboards::{Partition, template};
use nearedge_core::metric::{Dimensions, Metric, NAMESPACE, Unit};
use nearedge_core::store::Source;
use serde_json::Value;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// What CloudFormation or `--print` fills in.
const PLACEHOLDERS: [&str; 6] = ["AWS::Region", "FunctionName", "ApiId", "DistributionId", "VariantA", "VariantB"];

/// The metrics of AWS's that are used, as their pages list them, and whether AWS China has them.
const OF_AWS: [(&str, &str, bool); 9] = [
    ("AWS/CloudFront", "Requests", true),
    // An additional metric: paid, and not to be had in AWS China.
    ("AWS/CloudFront", "OriginLatency", false),
    ("AWS/ApiGateway", "Count", true),
    ("AWS/ApiGateway", "Latency", true),
    ("AWS/ApiGateway", "IntegrationLatency", true),
    ("AWS/ApiGateway", "5xx", true),
    ("AWS/Lambda", "Duration", true),
    ("AWS/Lambda", "Errors", true),
    ("AWS/Lambda", "Throttles", true),
];
const OF_LAMBDA: [&str; 2] = ["Invocations", "ConcurrentExecutions"];

fn files() -> Vec<(String, Value)> {
    dashboards::files().into_iter().map(|(name, text)| (name, serde_json::from_str(&text).unwrap())).collect()
}

fn boards() -> Vec<(String, Value)> {
    files().into_iter().filter(|(name, _)| !name.ends_with("alarms.json")).collect()
}

fn widgets(board: &Value) -> &[Value] {
    board["widgets"].as_array().unwrap()
}

/// The rows of a metric widget: its texts, and its options.
fn rows(widget: &Value) -> Vec<(Vec<&str>, &Value)> {
    let rows = widget["properties"]["metrics"].as_array().map_or(&[][..], Vec::as_slice);
    rows.iter()
        .map(|row| {
            (
                row.as_array().unwrap().iter().filter_map(Value::as_str).collect(),
                row.as_array().unwrap().last().unwrap(),
            )
        })
        .collect()
}

fn is_statistic(name: &str) -> bool {
    ["Sum", "SampleCount", "Average", "Minimum", "Maximum"].contains(&name)
        || name.strip_prefix('p').is_some_and(|percentile| percentile.parse::<f64>().is_ok_and(|p| p <= 100.0))
}

#[test]
fn what_is_committed_is_what_the_generator_makes() {
    let mut known = HashSet::new();
    for (name, text) in dashboards::files() {
        let committed = std::fs::read_to_string(Path::new(FOLDER).join(&name)).unwrap_or_default();
        assert!(committed == text, "{name} is not what `cargo run -p dashboards` makes: run it and commit the result");
        known.insert(name);
    }
    for folder in ["aws", "aws-cn"] {
        for file in std::fs::read_dir(Path::new(FOLDER).join(folder)).unwrap() {
            let name = format!("{folder}/{}", file.unwrap().file_name().to_string_lossy());
            assert!(known.contains(&name), "{name} is made by nothing: delete it");
        }
    }
}

#[test]
fn the_templates_of_deploy_carry_what_the_generator_makes() {
    for partition in Partition::ALL {
        let path = Path::new(FOLDER).join("../deploy").join(format!("{}.yaml", partition.name()));
        let committed = std::fs::read_to_string(&path).unwrap();
        let made = template::complete(partition, &committed).unwrap();
        assert!(committed == made, "{}: run `cargo run -p dashboards` and commit the result", path.display());
        for id in dashboards::alarm::all().as_object().unwrap().keys() {
            assert!(committed.contains(&format!("\n  {id}: {{")), "{id} is not in {}", path.display());
        }
    }
}

#[test]
fn no_two_widgets_overlap_and_none_leaves_the_24_columns() {
    for (name, board) in boards() {
        let mut taken = HashSet::new();
        for widget in widgets(&board) {
            let [x, y, width, height] = ["x", "y", "width", "height"].map(|side| widget[side].as_u64().unwrap());
            assert!((1..=24).contains(&width) && x + width <= 24 && (1..=1000).contains(&height), "{name}: {widget}");
            for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}: something else is at {cell:?} already");
            }
        }
        assert!(widgets(&board).len() <= 500);
    }
}

#[test]
fn every_metric_is_one_that_is_really_emitted_with_the_dimensions_that_it_has() {
    for (name, board) in boards() {
        for widget in widgets(&board) {
            for (texts, options) in rows(widget) {
                if options["expression"].is_string() {
                    continue;
                }
                let [namespace, metric, dimensions @ ..] = texts.as_slice() else { panic!("{name}: {texts:?}") };
                let dimensions: Vec<&str> = dimensions.iter().step_by(2).copied().collect();
                if *namespace == NAMESPACE {
                    let known = Metric::ALL.iter().find(|known| known.name() == *metric);
                    let known = known.unwrap_or_else(|| panic!("{name}: nothing emits {metric}"));
                    let by_variant = dimensions == ["service", "variant", "outcome"];
                    assert!(
                        dimensions == ["service"] || by_variant && known.dimensions() == Dimensions::VariantToo,
                        "{texts:?}"
                    );
                } else {
                    let listed = OF_AWS.iter().any(|(known, name, _)| (known, name) == (namespace, metric));
                    assert!(
                        listed || *namespace == "AWS/Lambda" && OF_LAMBDA.contains(metric),
                        "{name}: {namespace} {metric}"
                    );
                    let wanted: &[&str] = match *namespace {
                        "AWS/CloudFront" => &["DistributionId", "Region"],
                        "AWS/ApiGateway" => &["ApiId"],
                        _ => &["FunctionName"],
                    };
                    assert_eq!(dimensions, wanted);
                }
            }
        }
    }
}

#[test]
fn every_metric_of_the_table_is_on_a_dashboard() {
    let text: String = boards().iter().map(|(_, board)| board.to_string()).collect();
    for metric in Metric::ALL {
        // As a row has it, or a search.
        let named = [format!("\"{}\"", metric.name()), format!("MetricName=\\\"{}\\\"", metric.name())];
        assert!(named.iter().any(|named| text.contains(named)), "{} is on no dashboard", metric.name());
    }
    // Each way that an answer can come from the cache has its metric.
    for source in Source::ALL {
        let name = format!("Cache{}{}", source.name()[..1].to_uppercase(), &source.name()[1..]);
        assert!(Metric::ALL.iter().any(|metric| metric.name() == name), "{name}");
    }
}

#[test]
fn every_statistic_is_one_that_the_metric_allows() {
    for (name, board) in boards() {
        for widget in widgets(&board) {
            for (texts, options) in rows(widget) {
                if options["expression"].is_string() {
                    continue;
                }
                let stat = options["stat"].as_str().unwrap_or_else(|| panic!("{name}: {texts:?} has no statistic"));
                assert!(is_statistic(stat), "{name}: {stat}");
                // A percentile or a mean of ones says nothing; what is counted is summed.
                let own = Metric::ALL.iter().find(|metric| texts[0] == NAMESPACE && metric.name() == texts[1]);
                if own.is_some_and(|metric| metric.unit() == Unit::Count) {
                    assert_eq!(stat, "Sum", "{name}: {texts:?}");
                }
                if texts[0] == "AWS/CloudFront" {
                    let allowed = if texts[1] == "OriginLatency" { stat.starts_with('p') } else { stat == "Sum" };
                    assert!(allowed, "{name}: {texts:?} {stat}");
                }
            }
        }
    }
}

#[test]
fn ids_are_unique_begin_with_a_lower_case_letter_and_are_there_when_an_expression_names_them() {
    const FUNCTIONS: [&str; 5] = ["SUM", "FILL", "SEARCH", "RUNNING_SUM", "IF"];
    let check = |name: &str, ids: Vec<&str>, expressions: Vec<&str>| {
        let unique: HashSet<&str> = ids.iter().copied().collect();
        assert_eq!(unique.len(), ids.len(), "{name}: {ids:?}");
        for id in &ids {
            assert!(id.starts_with(|letter: char| letter.is_ascii_lowercase()), "{name}: {id}");
            assert!(
                id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && id.len() <= 255,
                "{name}: {id}"
            );
        }
        for expression in expressions {
            assert!(expression.len() <= 2048, "{name}: {expression}");
            // Outside quotes, where names of dimensions stand.
            let outside: String = expression.split('\'').step_by(2).collect();
            for word in
                outside.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == '.'))
            {
                let known = word.is_empty() || word.parse::<f64>().is_ok() || FUNCTIONS.contains(&word);
                assert!(known || unique.contains(word), "{name}: nothing has the id {word} in {expression}");
            }
            // A SEARCH may be 1,024 characters long.
            for search in expression.split('\'').skip(1).step_by(2) {
                assert!(search.len() <= 1024, "{name}: {search}");
            }
        }
    };
    for (name, board) in boards() {
        for widget in widgets(&board) {
            let rows = rows(widget);
            let ids = rows.iter().filter_map(|(_, options)| options["id"].as_str()).collect();
            check(&name, ids, rows.iter().filter_map(|(_, options)| options["expression"].as_str()).collect());
        }
    }
    let alarms = dashboards::alarm::all();
    for (name, alarm) in alarms.as_object().unwrap() {
        let queries = alarm["Properties"]["Metrics"].as_array().map_or(&[][..], Vec::as_slice);
        let expressions: Vec<&str> = queries.iter().filter_map(|query| query["Expression"].as_str()).collect();
        // An alarm takes no SEARCH, ten metrics at most, and one result.
        assert!(expressions.iter().all(|expression| !expression.contains("SEARCH")) && queries.len() <= 10, "{name}");
        assert!(
            queries.is_empty() || queries.iter().filter(|query| query["ReturnData"] == true).count() == 1,
            "{name}"
        );
        check(name, queries.iter().filter_map(|query| query["Id"].as_str()).collect(), expressions);
    }
}

#[test]
fn a_widget_has_its_region_and_only_placeholders_that_are_filled_in() {
    for (name, board) in files() {
        let text = board.to_string();
        for rest in text.split("${").skip(1) {
            let placeholder = rest.split('}').next().unwrap();
            assert!(PLACEHOLDERS.contains(&placeholder), "{name}: {placeholder}");
        }
    }
    for (name, board) in boards() {
        let china = name.starts_with("aws-cn/");
        for widget in widgets(&board).iter().filter(|widget| widget["type"] != "text") {
            assert_eq!(widget["properties"]["region"], "${AWS::Region}", "{name}");
            for (texts, options) in rows(widget) {
                // CloudFront's metrics are in one region, whichever the function's is.
                let of_cloudfront = texts.first() == Some(&"AWS/CloudFront");
                let wanted = if china { "cn-northwest-1" } else { "us-east-1" };
                assert_eq!(options["region"].as_str(), of_cloudfront.then_some(wanted), "{name}: {texts:?}");
            }
        }
    }
}

#[test]
fn what_does_not_exist_in_aws_china_is_left_out_there() {
    for (name, board) in files().into_iter().filter(|(name, _)| name.starts_with("aws-cn/")) {
        let text = board.to_string();
        for (_, metric, _) in OF_AWS.iter().filter(|(.., in_china)| !in_china) {
            assert!(!text.contains(metric), "{name}: {metric}");
        }
        assert!(!text.contains("us-east-1") && !text.to_lowercase().contains("xray"), "{name}");
    }
}

#[test]
fn every_alarm_says_why_its_threshold_is_what_it_is_and_watches_what_is_emitted() {
    let alarms = dashboards::alarm::all();
    let alarms = alarms.as_object().unwrap();
    assert!(alarms.len() >= 8);
    for (id, alarm) in alarms {
        let properties = &alarm["Properties"];
        let why = properties["AlarmDescription"].as_str().unwrap();
        // CloudWatch takes 1,024 characters.
        assert!((80..=1024).contains(&why.len()), "{id}: {why}");
        assert!(properties["Threshold"].is_number() && properties["TreatMissingData"] == "notBreaching", "{id}");
        assert!(properties["DatapointsToAlarm"].as_u64() <= properties["EvaluationPeriods"].as_u64(), "{id}");
        let statistics =
            ["Statistic", "ExtendedStatistic", "Metrics"].iter().filter(|name| !properties[**name].is_null());
        assert_eq!(statistics.count(), 1, "{id}: one of the three");
        let queries = properties["Metrics"].as_array().map_or(&[][..], Vec::as_slice);
        let watched = queries.iter().map(|query| &query["MetricStat"]["Metric"]).chain([properties]);
        for metric in watched.filter(|metric| metric["MetricName"].is_string()) {
            let name = metric["MetricName"].as_str().unwrap();
            let emitted = match metric["Namespace"].as_str().unwrap() {
                NAMESPACE => Metric::ALL.iter().any(|known| known.name() == name),
                namespace => OF_AWS.iter().any(|(known, of_aws, _)| (*known, *of_aws) == (namespace, name)),
            };
            assert!(emitted, "{id}: nothing emits {name}");
        }
    }
}

#[test]
fn the_page_of_metrics_is_the_table() {
    let page = std::fs::read_to_string(Path::new(FOLDER).join("../docs/metrics.md")).unwrap();
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 5).collect();
    let wanted: Vec<String> = Metric::ALL
        .iter()
        .map(|metric| {
            let dimensions = match metric.dimensions() {
                Dimensions::Service => "service",
                Dimensions::VariantToo => "service; service, variant, outcome",
            };
            format!("| `{}` | {} | {dimensions} | {} |", metric.name(), metric.unit().name(), metric.meaning())
        })
        .collect();
    assert_eq!(rows, wanted, "docs/metrics.md and src/metric.rs differ");
}

//! Checks the dashboards and alarms without an account: they match the generator, CloudWatch accepts them, and the metrics
//! that they name exist.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::path::Path;

use dashboards::partition::Partition;
use dashboards::template;
use nearedge_core::metric::{Dimensions, Metric, NAMESPACE, Unit};
use nearedge_core::store::Source;
use serde_json::Value;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// The placeholders that CloudFormation or `--print` replaces.
const PLACEHOLDERS: [&str; 19] = [
    "AWS::Region",
    "FunctionName",
    "ApiId",
    "DistributionId",
    "VariantA",
    "VariantB",
    "VariantC",
    "VariantD",
    "WatchExperiment",
    "VariationA",
    "VariationB",
    "VariationC",
    "VariationD",
    "WeightA",
    "WeightB",
    "WeightC",
    "WeightD",
    "GoalA",
    "GoalB",
];

/// The metrics of AWS that dashboards and alarms use: namespace, name, and whether AWS China has it.
const AWS_METRICS: [(&str, &str, bool); 12] = [
    ("AWS/CloudFront", "Requests", true),
    // An additional metric: billed, and not available in AWS China.
    ("AWS/CloudFront", "OriginLatency", false),
    ("AWS/ApiGateway", "Count", true),
    ("AWS/ApiGateway", "Latency", true),
    ("AWS/ApiGateway", "IntegrationLatency", true),
    ("AWS/ApiGateway", "5xx", true),
    // AWS China has no function URLs.
    ("AWS/Lambda", "UrlRequestCount", false),
    ("AWS/Lambda", "UrlRequestLatency", false),
    ("AWS/Lambda", "Url5xxCount", false),
    ("AWS/Lambda", "Duration", true),
    ("AWS/Lambda", "Errors", true),
    ("AWS/Lambda", "Throttles", true),
];

/// Further metrics of Lambda that only dashboards use.
const LAMBDA_METRICS: [&str; 2] = ["Invocations", "ConcurrentExecutions"];

fn files() -> Vec<(String, Value)> {
    dashboards::files().into_iter().map(|(name, text)| (name, serde_json::from_str(&text).unwrap())).collect()
}

fn boards() -> Vec<(String, Value)> {
    files().into_iter().filter(|(name, _)| !name.ends_with("alarms.json")).collect()
}

fn widgets(board: &Value) -> &[Value] {
    board["widgets"].as_array().unwrap()
}

/// The rows of a metric widget: the text items and the options of each.
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
fn the_committed_files_match_the_generator() {
    let mut known = HashSet::new();
    for (name, text) in dashboards::files() {
        let committed = std::fs::read_to_string(Path::new(FOLDER).join(&name)).unwrap_or_default();
        assert!(
            committed == text,
            "{name} differs from the generator: run `cargo run -p dashboards` and commit the result"
        );
        known.insert(name);
    }
    for folder in ["aws", "aws-cn"] {
        for file in std::fs::read_dir(Path::new(FOLDER).join(folder)).unwrap() {
            let name = format!("{folder}/{}", file.unwrap().file_name().to_string_lossy());
            assert!(known.contains(&name), "{name} is not generated: delete it");
        }
    }
}

#[test]
fn the_templates_of_deploy_match_the_generator() {
    for partition in Partition::ALL {
        let path = Path::new(FOLDER).join("../deploy").join(format!("{}.yaml", partition.name()));
        let committed = std::fs::read_to_string(&path).unwrap();
        let generated = template::complete(partition, &committed).unwrap();
        assert!(
            committed == generated,
            "{} differs from the generator: run `cargo run -p dashboards` and commit the result",
            path.display()
        );
        for id in dashboards::alarm::all(partition).as_object().unwrap().keys() {
            assert!(committed.contains(&format!("\n  {id}: {{")), "{} has no {id}", path.display());
        }
    }
}

#[test]
fn the_experiment_compares_each_variant_with_the_control() {
    for (partition, count) in Partition::ALL.into_iter().flat_map(|partition| [2, 3, 4].map(|count| (partition, count)))
    {
        let suffix = if count == 2 { String::new() } else { format!("-{count}") };
        let name = format!("{}/experiment{suffix}.json", partition.name());
        let (_, board) = boards().into_iter().find(|(file, _)| *file == name).unwrap();
        let variants = ["${VariantA}", "${VariantB}", "${VariantC}", "${VariantD}"];
        let (shown, absent) = variants.split_at(count);
        let text = board.to_string();
        assert!(absent.iter().all(|variant| !text.contains(variant)), "{name}");
        let text = widgets(&board)[0]["properties"]["markdown"].as_str().unwrap();
        assert!(text.contains(" against the control ${VariantA}\n"), "{name}: {text}");
        for widget in widgets(&board) {
            let title = widget["properties"]["title"].as_str().unwrap_or_default();
            let labels: Vec<&str> = rows(widget)
                .into_iter()
                .filter(|(_, options)| options["visible"] != false)
                .filter_map(|(_, options)| options["label"].as_str())
                .collect();
            match title {
                "Requests by variant" | "Requests by variant and outcome" => {
                    assert_eq!(labels, [shown, &["other", "no variant"]].concat(), "{name}: {title}");
                }
                "Failed requests" | "Missing objects" | "Requests in five minutes" | "Body bytes by variant" => {
                    assert_eq!(labels, shown, "{name}: {title}");
                }
                _ => {}
            }
        }
        for variant in &shown[1..] {
            let compared = widgets(&board).iter().filter_map(|widget| widget["properties"]["title"].as_str());
            let compared = compared.filter(|title| title.contains(&format!("{variant} − control ${{VariantA}}")));
            assert_eq!(compared.count(), 2, "{name}: {variant}");
        }
    }
}

#[test]
fn a_variant_has_the_same_colour_in_every_widget() {
    for (name, board) in boards().into_iter().filter(|(name, _)| name.contains("/experiment")) {
        let mut colours = std::collections::HashMap::new();
        let labels = ["${VariantA}", "${VariantB}", "${VariantC}", "${VariantD}", "other", "no variant"];
        for (_, options) in widgets(&board).iter().flat_map(rows) {
            let (Some(label), Some(colour)) = (options["label"].as_str(), options["color"].as_str()) else { continue };
            if labels.contains(&label) {
                assert_eq!(colours.entry(label).or_insert(colour), &colour, "{name}: {label}");
            }
        }
        let distinct: HashSet<_> = colours.values().collect();
        assert_eq!((distinct.len(), colours.contains_key("other")), (colours.len(), true), "{name}: {colours:?}");
    }
}

#[test]
fn every_graph_names_its_unit_once() {
    for (name, board) in boards() {
        for widget in widgets(&board).iter().filter(|widget| widget["type"] != "text") {
            let properties = &widget["properties"];
            let title = properties["title"].as_str().unwrap();
            let axis = properties["yAxis"]["left"]["label"].as_str();
            let end = title.rsplit_once(", ").map(|(_, end)| end).filter(|end| ["%", "ms", "MB"].contains(end));
            assert!(axis.is_none() || end.is_none(), "{name}: the title {title} repeats the unit of the axis");
            let needs_unit = properties["view"] == "timeSeries";
            assert!(!needs_unit || axis.or(end).is_some(), "{name}: {title} has no unit");
        }
    }
}

#[test]
fn no_graph_goes_below_zero_but_a_difference() {
    for (name, board) in boards() {
        for widget in widgets(&board) {
            let title = widget["properties"]["title"].as_str().unwrap_or_default();
            if widget["type"] != "metric" || widget["properties"]["view"] != "timeSeries" || title.contains(" − ") {
                continue;
            }
            assert_eq!(widget["properties"]["yAxis"]["left"]["min"], 0, "{name}: {title}");
            for (_, options) in rows(widget) {
                let expression = options["expression"].as_str().unwrap_or_default();
                // A square is not negative.
                let differences = expression.split(" - ").skip(1);
                let all_squared = differences
                    .clone()
                    .all(|rest| rest.split_once(')').is_some_and(|(_, end)| end.starts_with(" ^ 2")));
                assert!(all_squared || expression.starts_with("IF("), "{name}: {title}: {expression}");
            }
        }
    }
}

#[test]
fn widgets_do_not_overlap_and_stay_within_24_columns() {
    for (name, board) in boards() {
        let mut taken = HashSet::new();
        for widget in widgets(&board) {
            let [x, y, width, height] = ["x", "y", "width", "height"].map(|side| widget[side].as_u64().unwrap());
            assert!((1..=24).contains(&width) && x + width <= 24 && (1..=1000).contains(&height), "{name}: {widget}");
            for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}: two widgets overlap at {cell:?}");
            }
        }
        assert!(widgets(&board).len() <= 500);
    }
}

#[test]
fn every_metric_is_emitted_with_these_dimensions() {
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
                    let known = known.unwrap_or_else(|| panic!("{name}: nearedge does not emit {metric}"));
                    let published: &[&[&str]] = match known.dimensions() {
                        Dimensions::Service => &[&["service"]],
                        Dimensions::ServiceAndVariant => &[&["service"], &["service", "variant", "outcome"]],
                        Dimensions::Coding => &[&["service"], &["service", "coding"]],
                        Dimensions::Variation => &[&["service", "experiment_id", "variation_id"]],
                        Dimensions::VariationAndGoal => &[&["service", "experiment_id", "variation_id", "goal"]],
                    };
                    assert!(published.contains(&dimensions.as_slice()), "{texts:?}");
                } else {
                    let listed = AWS_METRICS.iter().any(|(known, name, _)| (known, name) == (namespace, metric));
                    assert!(
                        listed || *namespace == "AWS/Lambda" && LAMBDA_METRICS.contains(metric),
                        "{name}: {namespace} {metric}"
                    );
                    let expected: &[&str] = match *namespace {
                        "AWS/CloudFront" => &["DistributionId", "Region"],
                        "AWS/ApiGateway" => &["ApiId"],
                        _ if metric.starts_with("Url") => &["FunctionName", "Resource"],
                        _ => &["FunctionName"],
                    };
                    assert_eq!(dimensions, expected);
                }
            }
        }
    }
}

#[test]
fn every_metric_of_the_table_is_on_a_dashboard() {
    let text: String = boards().iter().map(|(_, board)| board.to_string()).collect();
    for metric in Metric::ALL {
        // In a row or in a SEARCH.
        let named = [format!("\"{}\"", metric.name()), format!("MetricName=\\\"{}\\\"", metric.name())];
        assert!(named.iter().any(|named| text.contains(named)), "{} is on no dashboard", metric.name());
    }
    // Each source of a response has its own metric.
    for source in Source::ALL {
        let name = format!("Cache{}{}", source.name()[..1].to_uppercase(), &source.name()[1..]);
        assert!(Metric::ALL.iter().any(|metric| metric.name() == name), "{name}");
    }
}

#[test]
fn every_metric_supports_its_statistic() {
    for (name, board) in boards() {
        for widget in widgets(&board) {
            for (texts, options) in rows(widget) {
                if options["expression"].is_string() {
                    continue;
                }
                let stat = options["stat"].as_str().unwrap_or_else(|| panic!("{name}: {texts:?} has no statistic"));
                assert!(is_statistic(stat), "{name}: {stat}");
                // The values of a counter are mostly 1, so only their sum is meaningful.
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

/// An expression with numbers instead of its placeholders.
fn with_weights(expression: &str) -> String {
    ["${WeightA}", "${WeightB}", "${WeightC}", "${WeightD}"]
        .iter()
        .fold(expression.to_owned(), |text, weight| text.replace(weight, "1"))
}

#[test]
fn ids_are_valid_unique_and_defined_for_every_expression() {
    // https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html, also for AWS China
    // (https://docs.amazonaws.cn/en_us/AmazonCloudWatch/latest/monitoring/using-metric-math.html)
    const FUNCTIONS: [&str; 7] = ["SUM", "FILL", "SEARCH", "RUNNING_SUM", "IF", "LOG", "AND"];
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
            assert!(expression.len() <= 1024, "{name}: {expression}");
            let expression = with_weights(expression);
            // Without quoted text, which contains names of dimensions.
            let outside: String = expression.split('\'').step_by(2).collect();
            for word in
                outside.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == '.'))
            {
                let known = word.is_empty() || word.parse::<f64>().is_ok() || FUNCTIONS.contains(&word);
                assert!(known || unique.contains(word), "{name}: no row has the id {word} of {expression}");
            }
            // The maximum length of a SEARCH is 1,024 characters.
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
    let alarms = dashboards::alarm::all(Partition::Aws);
    for (name, alarm) in alarms.as_object().unwrap() {
        let queries = alarm["Properties"]["Metrics"].as_array().map_or(&[][..], Vec::as_slice);
        let texts = queries.iter().map(|query| &query["Expression"]);
        let expressions: Vec<&str> = texts.filter_map(|text| text["Fn::Sub"].as_str().or(text.as_str())).collect();
        // CloudWatch allows no SEARCH, at most ten metrics, ten expressions and exactly one result in an alarm.
        let metrics = queries.iter().filter(|query| query["MetricStat"].is_object()).count();
        assert_eq!(metrics + expressions.len(), queries.len(), "{name}");
        assert!(metrics <= 10 && expressions.len() <= 10, "{name}");
        assert!(expressions.iter().all(|expression| !expression.contains("SEARCH")), "{name}");
        assert!(
            queries.is_empty() || queries.iter().filter(|query| query["ReturnData"] == true).count() == 1,
            "{name}"
        );
        check(name, queries.iter().filter_map(|query| query["Id"].as_str()).collect(), expressions);
    }
}

#[test]
fn widgets_have_valid_regions_and_known_placeholders() {
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
                // CloudFront's metrics are in one region, independent of the function's region.
                let is_cloudfront = texts.first() == Some(&"AWS/CloudFront");
                let region = if china { "cn-northwest-1" } else { "us-east-1" };
                assert_eq!(options["region"].as_str(), is_cloudfront.then_some(region), "{name}: {texts:?}");
            }
        }
    }
}

#[test]
fn the_files_for_aws_china_omit_what_it_lacks() {
    for (name, board) in files().into_iter().filter(|(name, _)| name.starts_with("aws-cn/")) {
        let text = board.to_string();
        for (_, metric, _) in AWS_METRICS.iter().filter(|(.., in_china)| !in_china) {
            assert!(!text.contains(metric), "{name}: {metric}");
        }
        assert!(!text.contains("us-east-1") && !text.to_lowercase().contains("xray"), "{name}");
    }
}

#[test]
fn every_alarm_has_a_reason_and_watches_emitted_metrics() {
    let alarms = dashboards::alarm::all(Partition::Aws);
    let alarms = alarms.as_object().unwrap();
    assert!(alarms.len() >= 8);
    for (id, alarm) in alarms {
        let properties = &alarm["Properties"];
        let description = properties["AlarmDescription"].as_str().unwrap();
        // CloudWatch allows 1,024 characters.
        assert!((80..=1024).contains(&description.len()), "{id}: {description}");
        assert!(properties["Threshold"].is_number() && properties["TreatMissingData"] == "notBreaching", "{id}");
        assert!(properties["DatapointsToAlarm"].as_u64() <= properties["EvaluationPeriods"].as_u64(), "{id}");
        let statistics =
            ["Statistic", "ExtendedStatistic", "Metrics"].iter().filter(|name| !properties[**name].is_null());
        assert_eq!(statistics.count(), 1, "{id}: expected one of Statistic, ExtendedStatistic and Metrics");
        let queries = properties["Metrics"].as_array().map_or(&[][..], Vec::as_slice);
        let watched = queries.iter().map(|query| &query["MetricStat"]["Metric"]).chain([properties]);
        for metric in watched.filter(|metric| metric["MetricName"].is_string()) {
            let name = metric["MetricName"].as_str().unwrap();
            let emitted = match metric["Namespace"].as_str().unwrap() {
                NAMESPACE => Metric::ALL.iter().any(|known| known.name() == name),
                namespace => AWS_METRICS.iter().any(|(known, of_aws, _)| (*known, *of_aws) == (namespace, name)),
            };
            assert!(emitted, "{id}: no component emits {name}");
        }
    }
}

#[test]
fn the_table_in_docs_metrics_matches_the_code() {
    let page = std::fs::read_to_string(Path::new(FOLDER).join("../docs/metrics.md")).unwrap();
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 5).collect();
    let expected: Vec<String> = Metric::ALL
        .iter()
        .map(|metric| {
            let dimensions = match metric.dimensions() {
                Dimensions::Service => "service",
                Dimensions::ServiceAndVariant => "service; service, variant, outcome",
                Dimensions::Coding => "service; service, coding",
                Dimensions::Variation => "service, experiment_id, variation_id",
                Dimensions::VariationAndGoal => "service, experiment_id, variation_id, goal",
            };
            format!("| `{}` | {} | {dimensions} | {} |", metric.name(), metric.unit().name(), metric.meaning())
        })
        .collect();
    assert_eq!(rows, expected, "docs/metrics.md and src/core/metric.rs differ");
}

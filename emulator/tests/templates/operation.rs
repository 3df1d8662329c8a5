//! Errors, rotations, rollouts, dashboards and alarms, and the services that AWS China lacks.

use crate::rendered::Rendered;
use serde_json::{Value, json};

const SECRET_OF_THE_TEMPLATE: &str = "${LambdaAuth}";

#[test]
fn the_distribution_does_not_cache_errors() {
    for rendered in Rendered::all(&[]) {
        let distribution = rendered.distribution();
        for code in [400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504] {
            let error = distribution["CustomErrorResponses"]
                .as_array()
                .unwrap()
                .iter()
                .find(|error| error["ErrorCode"] == code);
            assert_eq!(error.unwrap()["ErrorCachingMinTTL"], 0, "{code}");
        }
    }
}

#[test]
fn a_rotation_accepts_both_secrets_and_sends_the_selected_one() {
    for (sent, header) in [("current", "${LambdaAuth}"), ("next", "${LambdaAuthNext}")] {
        for rendered in Rendered::all(&[("LambdaAuthNext", "given"), ("SecretSent", sent)]) {
            let settings = rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
            assert_eq!(
                (&settings["lambda_auth"], &settings["lambda_auth_next"]),
                (&json!("${LambdaAuth}"), &json!("${LambdaAuthNext}"))
            );
            assert_eq!(rendered.distribution()["Origins"][0]["OriginCustomHeaders"][0]["HeaderValue"], header);
        }
    }
    let arn = "arn:aws:secretsmanager:eu-west-1:111111111111:secret:ab";
    for (sent, version) in [("current", "1"), ("next", "2")] {
        let values = [("SecretArn", arn), ("SecretVersionId", "1"), ("SecretNextVersionId", "2"), ("SecretSent", sent)];
        for rendered in Rendered::all(&values) {
            let secret = |version: &str| format!("{{{{resolve:secretsmanager:{arn}:SecretString:::{version}}}}}");
            let settings = rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
            assert_eq!(
                (&settings["lambda_auth"], &settings["lambda_auth_next"]),
                (&json!(secret("1")), &json!(secret("2")))
            );
            assert_eq!(rendered.distribution()["Origins"][0]["OriginCustomHeaders"][0]["HeaderValue"], secret(version));
        }
    }
    // `next` without a second secret selects the current one.
    for rendered in Rendered::all(&[("SecretSent", "next")]) {
        assert_eq!(
            rendered.distribution()["Origins"][0]["OriginCustomHeaders"][0]["HeaderValue"],
            SECRET_OF_THE_TEMPLATE
        );
    }
}

#[test]
fn a_rollout_is_gradual_and_rolls_back_on_an_alarm() {
    for rendered in Rendered::all(&[]) {
        let alias = rendered.only("AWS::Lambda::Alias");
        assert_eq!((&alias["Name"], &alias["FunctionVersion"]), (&json!("live"), &json!("${Version.Version}")));
        let group = rendered.only("AWS::CodeDeploy::DeploymentGroup");
        assert_eq!(group["DeploymentConfigName"], "CodeDeployDefault.LambdaCanary10Percent10Minutes");
        assert_eq!(group["AutoRollbackConfiguration"]["Enabled"], true);
        assert_eq!(group["AlarmConfiguration"]["Alarms"].as_array().unwrap().len(), 3);
    }
    for rendered in Rendered::all(&[("Rollout", "AllAtOnce")]) {
        assert!(rendered.template.resources("AWS::CodeDeploy::DeploymentGroup").unwrap().is_empty());
    }
}

#[test]
fn dashboards_and_alarms_are_optional() {
    for rendered in Rendered::all(&[]) {
        assert_eq!(rendered.template.resources("AWS::CloudWatch::Dashboard").unwrap().len(), 4);
        assert_eq!(rendered.template.resources("AWS::CloudWatch::Alarm").unwrap().len(), 14);
        for (id, dashboard) in rendered.template.resources("AWS::CloudWatch::Dashboard").unwrap() {
            let body: Value = serde_json::from_str(dashboard["DashboardBody"].as_str().unwrap()).unwrap();
            assert!(!body["widgets"].as_array().unwrap().is_empty(), "{id}");
        }
    }
    for rendered in Rendered::all(&[("Watch", "false")]) {
        for kind in ["AWS::CloudWatch::Dashboard", "AWS::CloudWatch::Alarm", "AWS::SNS::Topic"] {
            assert!(rendered.template.resources(kind).unwrap().is_empty(), "{kind}");
        }
    }
}

#[test]
fn the_experiment_dashboard_has_the_deployed_variants() {
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[], "v2 against the control v1"),
        (&[("VariantC", "red")], "v2 and red against the control v1"),
        (&[("VariantD", "red")], "v2 and red against the control v1"),
        (&[("VariantC", "red"), ("VariantD", "blue")], "v2, red and blue against the control v1"),
    ];
    for (values, expected) in cases {
        for rendered in Rendered::all(values) {
            let boards = rendered.template.resources("AWS::CloudWatch::Dashboard").unwrap();
            let (_, board) = boards.iter().find(|(id, _)| id == "DashboardExperiment").unwrap();
            let body = board["DashboardBody"].as_str().unwrap();
            assert!(body.contains(expected), "{expected}: {body}");
            assert!(!body.contains("${Variant") && !body.contains(r#""variant","""#), "{body}");
            let widgets: Value = serde_json::from_str(body).unwrap();
            assert!(widgets["widgets"].as_array().unwrap().len() > 10);
        }
    }
}

#[test]
fn a_watched_experiment_has_a_dashboard_of_its_variations_and_goals() {
    let treatment = [("VariationB", "green")];
    let third = [("VariationD", "blue"), ("WeightD", "3")];
    let fourth = [("VariationC", "red"), ("VariationD", "blue")];
    let goal = [("GoalA", "signup")];
    let goals = [("GoalA", "signup"), ("GoalB", "order")];
    let cases = [
        (vec![], vec!["control", "treatment"], 7),
        ([&treatment[..], &goal].concat(), vec!["control", "green"], 11),
        (goals[1..].to_vec(), vec!["control", "treatment"], 11),
        ([&third[..], &goals].concat(), vec!["control", "treatment", "blue"], 17),
        ([&fourth[..], &goals].concat(), vec!["control", "treatment", "red", "blue"], 19),
    ];
    for (values, variations, count) in cases {
        let values = [&[("WatchExperiment", "checkout")][..], &values].concat();
        for rendered in Rendered::all(&values) {
            let boards = rendered.template.resources("AWS::CloudWatch::Dashboard").unwrap();
            let (_, board) = boards.iter().find(|(id, _)| id == "DashboardResults").unwrap();
            let body = board["DashboardBody"].as_str().unwrap();
            assert!(!body.contains("${"), "{body}");
            let widgets: Value = serde_json::from_str(body).unwrap();
            let widgets = widgets["widgets"].as_array().unwrap();
            assert_eq!(widgets.len(), count, "{values:?}");
            let visitors = widgets.iter().find(|widget| widget["properties"]["title"] == "Visitors").unwrap();
            let metrics = visitors["properties"]["metrics"].as_array().unwrap();
            let shown: Vec<&str> = metrics.iter().filter_map(|row| row[0]["label"].as_str()).collect();
            assert_eq!(shown, variations);
            let ratio = widgets.iter().find(|widget| widget["properties"]["yAxis"]["left"]["label"] == "chi-squared");
            let critical = &ratio.unwrap()["properties"]["annotations"]["horizontal"][0]["value"];
            assert_eq!(critical, [10.828, 13.816, 16.266][variations.len() - 2]);
            let alarms = rendered.template.resources("AWS::CloudWatch::Alarm").unwrap();
            let ratios: Vec<_> = alarms.iter().filter(|(id, _)| id.starts_with("AlarmSampleRatio")).collect();
            assert_eq!(ratios.len(), variations.len() - 1, "an alarm for each variation but the control");
            assert!(
                ratios
                    .iter()
                    .all(|(_, alarm)| !alarm.to_string().contains("${V") && !alarm.to_string().contains("${W"))
            );
        }
    }
    let unwatched = [("WatchExperiment", "checkout"), ("Watch", "false")];
    for rendered in Rendered::all(&unwatched).iter().chain(&Rendered::all(&[])) {
        let boards = rendered.template.resources("AWS::CloudWatch::Dashboard").unwrap();
        assert!(boards.iter().all(|(id, _)| id != "DashboardResults"));
    }
}

#[test]
fn each_variant_has_alarms_that_compare_it_with_the_control() {
    for (values, letters) in
        [(&[][..], "B"), (&[("VariantD", "v4")], "BD"), (&[("VariantC", "v3"), ("VariantD", "v4")], "BCD")]
    {
        for rendered in Rendered::all(values) {
            let alarms = rendered.template.resources("AWS::CloudWatch::Alarm").unwrap();
            for kind in ["AlarmVariantFailing", "AlarmVariantSlow"] {
                let found: String = alarms.iter().filter_map(|(id, _)| id.strip_prefix(kind)).collect();
                assert_eq!(found, letters, "{kind}");
            }
        }
    }
}

#[test]
fn the_china_template_avoids_missing_services() {
    for rendered in Rendered::all(&[]).into_iter().filter(|rendered| rendered.china) {
        for kind in [
            "AWS::CloudFront::CachePolicy",
            "AWS::CloudFront::OriginRequestPolicy",
            "AWS::CloudFront::OriginAccessControl",
            "AWS::CloudFront::MonitoringSubscription",
        ] {
            assert!(rendered.template.resources(kind).unwrap().is_empty(), "{kind}");
        }
        let distribution = rendered.distribution();
        assert_eq!(distribution["Aliases"], json!(["ab.example.com.cn"]));
        assert_eq!(distribution["ViewerCertificate"]["IamCertificateId"], "${CertificateId}");
        assert!(rendered.only("AWS::Lambda::Function").get("TracingConfig").is_none());
    }
}

//! Each fault that leads requests past the test is found, in both shapes, with its place.

use serde_json::{Value, json};

use crate::shape::{check_both, valid};

/// An id, a place, and a change to a valid configuration that the rule must report there.
type Fault = (&'static str, &'static str, fn(&mut Value));

fn group(config: &mut Value, members: [&str; 2], statuses: &[u64]) {
    config["OriginGroups"] = json!({"Quantity": 1, "Items": [{
        "Id": "both",
        "FailoverCriteria": {"StatusCodes": {"Quantity": statuses.len(), "Items": statuses}},
        "Members": {"Quantity": 2, "Items": [{"OriginId": members[0]}, {"OriginId": members[1]}]},
    }]});
    config["DefaultCacheBehavior"]["TargetOriginId"] = "both".into();
}

const FAULTS: [Fault; 19] = [
    ("test-bypassed", "the default behaviour", |c| c["DefaultCacheBehavior"]["TargetOriginId"] = "bucket".into()),
    ("test-bypassed", "the default behaviour", |c| {
        // The API is only known by its custom header.
        c["Origins"]["Items"][0]["DomainName"] = "api.example.com".into();
        c["DefaultCacheBehavior"]["TargetOriginId"] = "bucket".into();
    }),
    ("test-bypassed", "the default behaviour", |c| {
        c["Origins"]["Items"].as_array_mut().unwrap().push(json!({"Id": "other", "DomainName": "www.example.com",
            "CustomOriginConfig": {"OriginProtocolPolicy": "https-only", "OriginSslProtocols": {"Items": ["TLSv1.2"]}}}));
        c["DefaultCacheBehavior"]["TargetOriginId"] = "other".into();
    }),
    ("test-bypassed", "the default behaviour", |c| {
        // No origin can be the API.
        c["Origins"]["Items"].as_array_mut().unwrap().remove(0);
        c["DefaultCacheBehavior"]["TargetOriginId"] = "bucket".into();
    }),
    ("test-bypassed", "the default behaviour", |c| {
        // A bucket as a custom origin is still a bucket.
        c["Origins"]["Items"][1]["CustomOriginConfig"] = c["Origins"]["Items"][0]["CustomOriginConfig"].clone();
        c["DefaultCacheBehavior"]["TargetOriginId"] = "bucket".into();
    }),
    ("test-bypassed", "the origin group both", |c| group(c, ["bucket", "api"], &[500])),
    ("origin-missing", "the default behaviour", |c| c["DefaultCacheBehavior"]["TargetOriginId"] = "nothing".into()),
    ("origin-missing", "the default behaviour", |c| c["DefaultCacheBehavior"]["TargetOriginId"] = "API".into()),
    ("origin-missing", "the default behaviour", |c| c["DefaultCacheBehavior"]["TargetOriginId"] = "".into()),
    ("origin-missing", "the behaviour /v2/*", |c| c["CacheBehaviors"]["Items"][1]["TargetOriginId"] = "buckets".into()),
    ("origin-missing", "the origin group both", |c| group(c, ["api", "nothing"], &[500])),
    ("failover-bypasses-test", "the origin group both", |c| group(c, ["api", "bucket"], &[403, 404])),
    ("failover-bypasses-test", "the origin group both", |c| group(c, ["api", "bucket"], &[500, 404])),
    ("failover-bypasses-test", "the origin group both", |c| group(c, ["api", "bucket"], &[416])),
    ("root-object", "DefaultRootObject", |c| c["DefaultRootObject"] = "v1/index.html".into()),
    ("root-object", "DefaultRootObject", |c| c["DefaultRootObject"] = "v1".into()),
    ("root-object", "DefaultRootObject", |c| c["DefaultRootObject"] = "V2/index.html".into()),
    ("root-object", "DefaultRootObject", |c| c["DefaultRootObject"] = "/index.html".into()),
    ("root-object", "DefaultRootObject", |c| {
        // The variant's folder is not served from the bucket.
        c["CacheBehaviors"]["Items"].as_array_mut().unwrap().remove(1);
        c["DefaultRootObject"] = "v2/index.html".into();
    }),
];

#[test]
fn each_way_past_the_test_is_found_in_both_shapes() {
    for china in [false, true] {
        for (index, (id, place, seed)) in FAULTS.iter().enumerate() {
            let mut config = valid(china);
            seed(&mut config);
            for (shape, findings) in check_both(&config, china) {
                let found = findings.iter().any(|finding| finding.id == *id && finding.place == *place);
                assert!(found, "fault {index}, {shape}: expected {id} at {place}, found {findings:#?}");
            }
        }
    }
}

#[test]
fn both_shapes_of_the_valid_configurations_have_no_findings() {
    for china in [false, true] {
        for (shape, findings) in check_both(&valid(china), china) {
            assert_eq!(findings, [], "{shape}");
        }
    }
}

#[test]
fn failover_for_errors_of_the_api_is_accepted() {
    for members in [["api", "bucket"], ["api", "spare"]] {
        let mut config = valid(false);
        let mut spare = config["Origins"]["Items"][0].clone();
        spare["Id"] = "spare".into();
        config["Origins"]["Items"].as_array_mut().unwrap().push(spare);
        group(&mut config, members, &[500, 502, 503, 504, 429]);
        for (shape, findings) in check_both(&config, false) {
            assert_eq!(findings, [], "{shape}");
        }
    }
}

#[test]
fn failover_between_two_apis_is_accepted_for_any_status() {
    let mut config = valid(false);
    let mut spare = config["Origins"]["Items"][0].clone();
    spare["Id"] = "spare".into();
    config["Origins"]["Items"].as_array_mut().unwrap().push(spare);
    group(&mut config, ["api", "spare"], &[403, 404, 416, 500]);
    for (shape, findings) in check_both(&config, false) {
        assert_eq!(findings, [], "{shape}");
    }
}

#[test]
fn a_root_object_without_a_variant_is_accepted() {
    for object in ["index.html", "shop/index.html", ""] {
        let mut config = valid(false);
        config["DefaultRootObject"] = object.into();
        for (shape, findings) in check_both(&config, false) {
            assert_eq!(findings, [], "{shape}: {object:?}");
        }
    }
}

#[test]
fn a_test_of_one_folder_is_a_warning() {
    let mut config = valid(false);
    let mut shop = config["DefaultCacheBehavior"].clone();
    shop["PathPattern"] = "/shop/*".into();
    config["CacheBehaviors"]["Items"].as_array_mut().unwrap().push(shop);
    config["DefaultCacheBehavior"] = config["CacheBehaviors"]["Items"][0].clone();
    config["DefaultCacheBehavior"].as_object_mut().unwrap().remove("PathPattern");
    for (shape, findings) in check_both(&config, false) {
        let ids: Vec<_> = findings.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, ["test-bypassed"], "{shape}");
        assert_eq!(findings[0].severity, emulator::policy::finding::Severity::Warning, "{shape}");
        assert!(findings[0].why.contains("/shop/*"), "{}", findings[0]);
    }
}

#[test]
fn a_missing_object_in_a_group_of_bucket_and_api_loops() {
    let mut config = valid(false);
    group(&mut config, ["bucket", "api"], &[403, 404]);
    config["DefaultCacheBehavior"]["TargetOriginId"] = "api".into();
    config["CacheBehaviors"]["Items"][0]["TargetOriginId"] = "both".into();
    for (shape, findings) in check_both(&config, false) {
        let found =
            findings.iter().any(|finding| finding.id == "redirect-loops" && finding.place == "the behaviour /v1/*");
        assert!(found, "{shape}: {findings:#?}");
    }
}

#[test]
fn a_url_as_the_domain_name_of_an_origin_is_found() {
    let mut config = valid(false);
    config["Origins"]["Items"][0]["DomainName"] = "https://eded4b71.execute-api.us-east-1.amazonaws.com".into();
    for (shape, findings) in check_both(&config, false) {
        let places: Vec<_> = findings.iter().map(|finding| (finding.id, finding.place.as_str())).collect();
        assert_eq!(places, [("origin-domain", "the origin api")], "{shape}");
    }
}

//! The templates in `deploy/` contain every resource and setting of the published walk-through, step by step, and what
//! production needs in addition.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use emulator::policy::template::{Template, read};
use serde_json::{Value, json};

const SECRET_OF_THE_TEMPLATE: &str = "${LambdaAuth}";

struct Rendered {
    china: bool,
    template: Template,
}

impl Rendered {
    /// Both templates, rendered in each of their regions.
    fn all(values: &[(&str, &str)]) -> Vec<Self> {
        ["us-east-1", "eu-west-1", "cn-north-1", "cn-northwest-1"]
            .iter()
            .map(|region| Self::in_region(region, values))
            .collect()
    }

    fn in_region(region: &str, values: &[(&str, &str)]) -> Self {
        let china = region.starts_with("cn-");
        let file = if china { "aws-cn.yaml" } else { "aws.yaml" };
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)).unwrap();
        let mut values: Vec<_> = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        if china {
            values.push(("Alias".to_owned(), "ab.example.com.cn".to_owned()));
        }
        Self { china, template: Template::new(read(&text).unwrap(), region, &values).unwrap() }
    }

    /// The only resource of a type.
    fn only(&self, kind: &str) -> Value {
        let mut found = self.template.resources(kind).unwrap();
        assert_eq!(found.len(), 1, "{kind}");
        found.remove(0).1
    }

    /// The resource of a type with this logical id.
    fn named(&self, kind: &str, id: &str) -> Value {
        let found = self.template.resources(kind).unwrap();
        found.into_iter().find(|(name, _)| name == id).unwrap_or_else(|| panic!("{kind} {id}")).1
    }

    fn distribution(&self) -> Value {
        self.only("AWS::CloudFront::Distribution")["DistributionConfig"].clone()
    }

    /// The statements of the function's role.
    fn statements(&self) -> Vec<Value> {
        let role = self.named("AWS::IAM::Role", "Role");
        role["Policies"][0]["PolicyDocument"]["Statement"].as_array().unwrap().clone()
    }
}

#[test]
fn step_1_the_bucket_is_private_encrypted_and_versioned() {
    for rendered in Rendered::all(&[]) {
        let bucket = rendered.only("AWS::S3::Bucket");
        let block = &bucket["PublicAccessBlockConfiguration"];
        for setting in ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"] {
            assert_eq!(block[setting], true, "{setting}");
        }
        assert_eq!(bucket["VersioningConfiguration"]["Status"], "Enabled");
        let encryption = &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
        assert_eq!(encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"], "AES256");
    }
}

#[test]
fn step_2_the_role_has_minimal_permissions() {
    for rendered in Rendered::all(&[]) {
        let statements = rendered.statements();
        let allows = |action: &str, resource: &str| {
            statements.iter().any(|statement| {
                let actions = &statement["Action"];
                statement["Effect"] == "Allow"
                    && (actions == action
                        || actions.as_array().is_some_and(|all| all.iter().any(|each| each == action)))
                    && statement["Resource"].as_str().unwrap().contains(resource)
            })
        };
        assert!(allows("s3:GetObject", "${Bucket.Arn}/*"));
        assert!(allows("s3:ListBucket", "${Bucket.Arn}"));
        for action in ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"] {
            assert!(allows(action, ":log-group:/aws/lambda/lambdaapi:*"), "{action}");
        }
        assert_eq!(
            allows("xray:PutTraceSegments", "*"),
            !rendered.china,
            "X-Ray is not integrated with Lambda in AWS China"
        );
        // No wildcard actions, and wildcard resources only for X-Ray, which supports nothing else.
        for statement in &statements {
            assert!(!statement["Action"].to_string().contains(":*"), "{statement}");
            assert!(statement["Resource"] != "*" || statement["Sid"] == "Traces", "{statement}");
        }
        let trust = &rendered.named("AWS::IAM::Role", "Role")["AssumeRolePolicyDocument"]["Statement"][0];
        assert_eq!(trust["Principal"]["Service"], "lambda.amazonaws.com");
    }
}

#[test]
fn step_3_the_function_has_the_walk_throughs_settings() {
    for rendered in Rendered::all(&[]) {
        let function = rendered.only("AWS::Lambda::Function");
        assert_eq!(function["FunctionName"], "lambdaapi");
        assert_eq!(function["Timeout"], 20);
        assert_eq!(function["Runtime"], "provided.al2023");
        assert_eq!(function["Architectures"], json!(["arm64"]));
        assert_eq!(function["Role"], "${Role.Arn}");
        let settings = &function["Environment"]["Variables"];
        assert_eq!(settings["bucket"], "${Bucket}");
        assert_eq!(settings["lambda_auth"], SECRET_OF_THE_TEMPLATE);
        let url = if rendered.china { "https://ab.example.com.cn" } else { "https://${Distribution.DomainName}" };
        assert_eq!(settings["redirect_path"], url);
        assert_eq!(settings["test_versions"], "v1,v2");
        assert!(settings.get("lambda_auth_next").is_none(), "the second secret is set only during a rotation");
    }
    let x86 = Rendered::in_region(
        "us-east-1",
        &[("Architecture", "x86_64"), ("MemorySize", "512"), ("LogRetentionDays", "7")],
    );
    let function = x86.only("AWS::Lambda::Function");
    assert_eq!((&function["Architectures"][0], &function["MemorySize"]), (&json!("x86_64"), &json!("512")));
    assert_eq!(x86.named("AWS::Logs::LogGroup", "LogGroup")["RetentionInDays"], "7");
}

#[test]
fn step_4_the_http_api_integrates_the_function() {
    for rendered in Rendered::all(&[]) {
        assert_eq!(rendered.only("AWS::ApiGatewayV2::Api")["ProtocolType"], "HTTP");
        let integration = rendered.only("AWS::ApiGatewayV2::Integration");
        assert_eq!(integration["IntegrationType"], "AWS_PROXY");
        assert_eq!(integration["PayloadFormatVersion"], "2.0");
        assert_eq!(integration["IntegrationUri"], "${LiveAlias}");
        // The walk-through's route /{proxy+} does not match `/`.
        let route = rendered.only("AWS::ApiGatewayV2::Route");
        assert_eq!((&route["RouteKey"], &route["Target"]), (&json!("$default"), &json!("integrations/${Integration}")));
        let stage = rendered.only("AWS::ApiGatewayV2::Stage");
        assert_eq!((&stage["StageName"], &stage["AutoDeploy"]), (&json!("$default"), &json!(true)));
        let permission = rendered.only("AWS::Lambda::Permission");
        assert_eq!(permission["Principal"], "apigateway.amazonaws.com");
        assert_eq!(permission["FunctionName"], "${LiveAlias}");
        let partition = if rendered.china { "arn:aws-cn:" } else { "arn:aws:" };
        assert!(permission["SourceArn"].as_str().unwrap().starts_with(partition));
    }
}

#[test]
fn step_5_the_distribution_sends_the_secret_over_https() {
    for rendered in Rendered::all(&[]) {
        let distribution = rendered.distribution();
        let api = &distribution["Origins"][0];
        let suffix = if rendered.china { ".amazonaws.com.cn" } else { ".amazonaws.com" };
        let domain = api["DomainName"].as_str().unwrap();
        assert!(domain.starts_with("${Api}.execute-api.") && domain.ends_with(suffix), "{domain}");
        assert_eq!(api["CustomOriginConfig"]["OriginProtocolPolicy"], "https-only");
        assert_eq!(
            api["OriginCustomHeaders"],
            json!([{"HeaderName": "lambda_auth", "HeaderValue": SECRET_OF_THE_TEMPLATE}])
        );
        let behavior = &distribution["DefaultCacheBehavior"];
        assert_eq!(
            (&behavior["TargetOriginId"], &behavior["ViewerProtocolPolicy"]),
            (&api["Id"], &json!("https-only"))
        );
        assert_eq!(behavior["Compress"], true);
    }
}

#[test]
fn step_6_headers_queries_and_cookies_are_forwarded_uncached() {
    for rendered in Rendered::all(&[]) {
        let behavior = &rendered.distribution()["DefaultCacheBehavior"];
        if rendered.china {
            assert_eq!(
                behavior["ForwardedValues"],
                json!({"Headers": ["test_version", "redirect"], "QueryString": true, "Cookies": {"Forward": "all"}})
            );
            assert_eq!(
                (&behavior["MinTTL"], &behavior["DefaultTTL"], &behavior["MaxTTL"]),
                (&json!(0), &json!(0), &json!(0))
            );
        } else {
            // A cache policy for its flags, which forward Accept-Encoding, with the least TTL that permits them.
            assert_eq!(behavior["CachePolicyId"], "${CachePolicy}");
            let cache = rendered.named("AWS::CloudFront::CachePolicy", "CachePolicy")["CachePolicyConfig"].clone();
            assert_eq!((&cache["MinTTL"], &cache["DefaultTTL"], &cache["MaxTTL"]), (&json!(0), &json!(0), &json!(1)));
            let off = Rendered::in_region("eu-west-1", &[("Compress", "off")]);
            assert_eq!(off.distribution()["DefaultCacheBehavior"]["CachePolicyId"], CACHING_DISABLED);
            assert_eq!(behavior["OriginRequestPolicyId"], "${OriginRequestPolicy}");
            let policy = rendered.only("AWS::CloudFront::OriginRequestPolicy")["OriginRequestPolicyConfig"].clone();
            assert_eq!(
                policy["HeadersConfig"],
                json!({"HeaderBehavior": "whitelist", "Headers": ["test_version", "redirect"]})
            );
            assert_eq!(policy["QueryStringsConfig"]["QueryStringBehavior"], "all");
            assert_eq!(policy["CookiesConfig"]["CookieBehavior"], "all");
        }
    }
}

#[test]
fn the_headers_can_have_names_without_underscores() {
    for rendered in Rendered::all(&[]) {
        let settings = rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
        assert!(settings.get("auth_header").is_none() && settings.get("version_header").is_none());
    }
    let values = [
        ("AuthHeader", "x-lambda-auth"),
        ("VersionHeader", "x-test-version"),
        ("SpaFallback", "index.html"),
        ("Caching", "on"),
    ];
    for region in ["eu-west-1", "cn-north-1"] {
        let china = region == "cn-north-1";
        let rendered = Rendered::in_region(region, &values[..if china { 3 } else { 4 }]);
        let settings = rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
        assert_eq!(
            (&settings["auth_header"], &settings["version_header"]),
            (&json!("x-lambda-auth"), &json!("x-test-version"))
        );
        assert_eq!(settings["lambda_auth"], SECRET_OF_THE_TEMPLATE, "the setting of the secret keeps its name");
        let distribution = rendered.distribution();
        assert_eq!(
            distribution["Origins"][0]["OriginCustomHeaders"],
            json!([{"HeaderName": "x-lambda-auth", "HeaderValue": SECRET_OF_THE_TEMPLATE}])
        );
        let forwarded = if china {
            vec![distribution["DefaultCacheBehavior"]["ForwardedValues"]["Headers"].clone()]
        } else {
            let policy = rendered.only("AWS::CloudFront::OriginRequestPolicy")["OriginRequestPolicyConfig"].clone();
            let key = rendered.named("AWS::CloudFront::CachePolicy", "CachePolicy")["CachePolicyConfig"].clone();
            vec![
                policy["HeadersConfig"]["Headers"].clone(),
                key["ParametersInCacheKeyAndForwardedToOrigin"]["HeadersConfig"]["Headers"].clone(),
            ]
        };
        for headers in forwarded {
            assert_eq!(headers, json!(["x-test-version", "redirect", if china { "Accept" } else { "accept" }]));
        }
        let outputs = rendered.template.outputs().unwrap();
        for (number, names) in [(2, &["x-lambda-auth:$"][..]), (3, &["x-lambda-auth:$", "x-test-version:v2"])] {
            let command = outputs[format!("Try{number}")]["Value"].as_str().unwrap();
            assert!(names.iter().all(|name| command.contains(name)), "{command}");
        }
        for command in (1..=7).map(|number| outputs[format!("Try{number}")]["Value"].as_str().unwrap()) {
            assert!(!command.contains("lambda_auth") && !command.contains("test_version"), "{command}");
        }
    }
}

#[test]
fn step_7_the_bucket_serves_redirected_requests() {
    let values = [("VariantC", "v3"), ("VariantD", "v4")];
    for (values, variants) in [(&values[..0], &["v1", "v2"][..]), (&values, &["v1", "v2", "v3", "v4"])] {
        for rendered in Rendered::all(values) {
            let distribution = rendered.distribution();
            let bucket = &distribution["Origins"][1];
            assert_eq!(bucket["DomainName"], "${Bucket.RegionalDomainName}");
            if rendered.china {
                let identity = &bucket["S3OriginConfig"]["OriginAccessIdentity"];
                assert_eq!(identity, "origin-access-identity/cloudfront/${OriginAccessIdentity}");
            } else {
                assert_eq!(bucket["OriginAccessControlId"], "${OriginAccessControl.Id}");
            }
            let behaviors = distribution["CacheBehaviors"].as_array().unwrap();
            let patterns: Vec<_> = behaviors.iter().map(|behavior| behavior["PathPattern"].as_str().unwrap()).collect();
            assert_eq!(patterns, variants.iter().map(|variant| format!("/{variant}/*")).collect::<Vec<_>>());
            assert!(behaviors.iter().all(|behavior| behavior["TargetOriginId"] == bucket["Id"]));
            let policy = &rendered.only("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"];
            let allowed = policy.as_array().unwrap().iter().find(|statement| statement["Effect"] == "Allow").unwrap();
            let folders: Vec<_> = variants.iter().map(|variant| format!("${{Bucket.Arn}}/{variant}/*")).collect();
            assert_eq!(allowed["Resource"], json!(folders), "only the folders of the variants");
            let function = rendered.only("AWS::Lambda::Function");
            assert_eq!(function["Environment"]["Variables"]["test_versions"], variants.join(","));
        }
    }
}

#[test]
fn step_8_the_seven_commands_are_outputs_without_a_secret() {
    for rendered in Rendered::all(&[]) {
        let outputs = rendered.template.outputs().unwrap();
        let command = |number: u8| outputs[format!("Try{number}")]["Value"].as_str().unwrap().to_owned();
        for number in 1..=7 {
            let command = command(number);
            let url = match (number, rendered.china) {
                (..=5, _) => "${Api.ApiEndpoint}/",
                (_, true) => "https://ab.example.com.cn/",
                (_, false) => "https://${Distribution.DomainName}/",
            };
            assert!(command.starts_with("curl ") && command.contains(url), "{command}");
        }
        assert!(
            command(4).ends_with("/test.png > test.png")
                && command(5).contains("redirect:true")
                && command(7).contains("-I")
        );
        assert!(!outputs.to_string().contains(SECRET_OF_THE_TEMPLATE), "the outputs contain the secret");
    }
}

#[test]
fn logs_are_json_at_info_and_expire() {
    for rendered in Rendered::all(&[]) {
        let logging = &rendered.only("AWS::Lambda::Function")["LoggingConfig"];
        assert_eq!((&logging["LogFormat"], &logging["ApplicationLogLevel"]), (&json!("JSON"), &json!("INFO")));
        for (_, group) in rendered.template.resources("AWS::Logs::LogGroup").unwrap() {
            assert_eq!(group["RetentionInDays"], 30);
        }
        let format =
            rendered.only("AWS::ApiGatewayV2::Stage")["AccessLogSettings"]["Format"].as_str().unwrap().to_owned();
        let fields: Value = serde_json::from_str(&format).unwrap();
        assert!(fields.as_object().unwrap().len() >= 8, "expected a JSON object with eight fields or more: {format}");
        assert!(
            !format.contains("lambda_auth") && !format.contains("header"),
            "the access log contains request headers: {format}"
        );
    }
}

#[test]
fn with_caching_the_cache_key_contains_the_vary_headers() {
    let rendered = Rendered::in_region("eu-west-1", &[("Caching", "on"), ("SpaFallback", "index.html")]);
    assert_eq!(rendered.distribution()["DefaultCacheBehavior"]["CachePolicyId"], "${CachePolicy}");
    let policy = rendered.named("AWS::CloudFront::CachePolicy", "CachePolicy")["CachePolicyConfig"].clone();
    let headers = &policy["ParametersInCacheKeyAndForwardedToOrigin"]["HeadersConfig"]["Headers"];
    assert_eq!(headers, &json!(["test_version", "redirect", "accept"]));
    assert_eq!(policy["MinTTL"], 0, "a minimum TTL would override no-store");
}

#[test]
fn experiments_are_off_by_default() {
    // Without the definition's key the other parameters have no effect.
    let others = [
        ("ExperimentsHeaders", "accept-language"),
        ("ExperimentsConsent", "ok=1"),
        ("ExperimentsPreview", "true"),
        ("ExperimentsPath", "/track"),
        ("ExperimentsLogIds", "hash"),
    ];
    for (plain, rendered) in Rendered::all(&[]).into_iter().zip(Rendered::all(&others)) {
        let [plain, rendered] = [plain, rendered].map(|rendered| {
            let kinds =
                ["Distribution", "OriginRequestPolicy", "CachePolicy"].map(|kind| format!("AWS::CloudFront::{kind}"));
            let resources = kinds.map(|kind| rendered.template.resources(&kind).unwrap());
            let settings = rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
            assert!(settings.as_object().unwrap().keys().all(|name| !name.starts_with("experiments")), "{settings}");
            (resources, settings)
        });
        assert_eq!(plain, rendered);
    }
}

#[test]
fn experiments_get_headers_cookies_and_settings() {
    let values = [
        ("Experiments", "experiments.json"),
        ("ExperimentsHeaders", "cloudfront-viewer-country,accept-language"),
        ("ExperimentsConsent", "ok=1"),
        ("ExperimentsPreview", "true"),
        ("SpaFallback", "index.html"),
    ];
    for rendered in Rendered::all(&values) {
        let settings = rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
        assert_eq!(settings["experiments"], "experiments.json");
        assert_eq!(settings["experiments_consent"], "ok=1");
        assert_eq!(settings["experiments_preview"], "true");
        let (headers, cookies) = if rendered.china {
            let behavior = &rendered.distribution()["DefaultCacheBehavior"];
            assert_eq!((&behavior["MinTTL"], &behavior["MaxTTL"]), (&json!(0), &json!(0)), "caching stays off");
            let forwarded = &behavior["ForwardedValues"];
            (forwarded["Headers"].clone(), forwarded["Cookies"]["Forward"].clone())
        } else {
            let policy = rendered.only("AWS::CloudFront::OriginRequestPolicy")["OriginRequestPolicyConfig"].clone();
            (policy["HeadersConfig"]["Headers"].clone(), policy["CookiesConfig"]["CookieBehavior"].clone())
        };
        assert_eq!(cookies, "all");
        let headers: Vec<_> =
            headers.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_lowercase()).collect();
        let core = "test_version redirect accept user-agent sec-fetch-dest sec-purpose";
        assert_eq!(headers.join(" "), format!("{core} cloudfront-viewer-country accept-language"));
    }
}

#[test]
fn beacons_pass_uncached_with_every_method() {
    let experiments = ("Experiments", "experiments.json");
    for rendered in Rendered::all(&[experiments, ("ExperimentsPath", "/track"), ("ExperimentsLogIds", "hash")]) {
        let settings = rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
        assert_eq!(
            (&settings["experiments_path"], &settings["experiments_log_ids"]),
            (&json!("/track"), &json!("hash"))
        );
        let distribution = rendered.distribution();
        let (default, beacons) = (&distribution["DefaultCacheBehavior"], &distribution["CacheBehaviors"][0]);
        assert_eq!(beacons["PathPattern"], "/track/*", "before the behaviours of the variants");
        assert_eq!(beacons["AllowedMethods"], json!(["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]));
        assert!(rendered.china || beacons["CachePolicyId"] == CACHING_DISABLED);
        let same = ["TargetOriginId", "ViewerProtocolPolicy", "OriginRequestPolicyId", "ForwardedValues"];
        for name in same.into_iter().chain(["MinTTL", "DefaultTTL", "MaxTTL"]) {
            assert_eq!(beacons[name], default[name], "{name}: as the default behaviour, which does not cache");
        }
    }
    let cached = Rendered::in_region("eu-west-1", &[experiments, ("Caching", "on")]);
    let beacons = &cached.distribution()["CacheBehaviors"][0];
    assert_eq!(beacons["PathPattern"], "/.nearedge/*");
    assert_eq!(beacons["CachePolicyId"], "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "CachingDisabled");
    let settings = cached.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
    assert!(settings.get("experiments_path").is_none() && settings.get("experiments_log_ids").is_none());
    for rendered in Rendered::all(&[]) {
        let behaviors = rendered.distribution()["CacheBehaviors"].clone();
        assert_eq!(behaviors.as_array().unwrap().len(), 2, "without experiments only the variants");
    }
}

#[test]
fn with_caching_the_key_contains_assignments_and_never_the_id() {
    let key = |values: &[(&str, &str)]| {
        let values = [&[("Caching", "on"), ("Experiments", "experiments.json")], values].concat();
        let rendered = Rendered::in_region("eu-west-1", &values);
        let policy = rendered.named("AWS::CloudFront::CachePolicy", "CachePolicy")["CachePolicyConfig"].clone();
        assert_eq!(policy["MinTTL"], 0, "a minimum TTL would override no-store");
        let key = policy["ParametersInCacheKeyAndForwardedToOrigin"].clone();
        let settings = rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
        (
            key["HeadersConfig"]["Headers"].clone(),
            key["CookiesConfig"]["Cookies"].clone(),
            key["QueryStringsConfig"]["QueryStringBehavior"].clone(),
            settings["experiments_cache_key"].clone(),
        )
    };
    let header = ("ExperimentsHeaders", "cloudfront-viewer-country");
    let plain = json!(["test_version", "redirect"]);
    let v = json!(["nearedge_v"]);
    assert_eq!(key(&[header]), (plain.clone(), v.clone(), json!("none"), Value::Null));
    assert_eq!(key(&[("ExperimentsPreview", "true")]), (plain.clone(), v.clone(), json!("all"), Value::Null));
    assert_eq!(
        key(&[("ExperimentsConsent", "ok=1")]),
        (plain, json!(["nearedge_v", "ok"]), json!("none"), json!("cookie.ok"))
    );
    let all = [header, ("ExperimentsCacheKey", "country"), ("ExperimentsConsent", "ok"), ("SpaFallback", "a.html")];
    let headers = json!(["test_version", "redirect", "accept", "cloudfront-viewer-country"]);
    assert_eq!(key(&all), (headers, json!(["nearedge_v", "ok"]), json!("all"), json!("country,cookie.ok")));
}

/// The settings of the function.
fn settings(rendered: &Rendered) -> Value {
    rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone()
}

/// The headers that the default behaviour lists, in lower case: of the origin request policy, or of the legacy settings.
fn listed_headers(rendered: &Rendered) -> Vec<String> {
    let headers = if rendered.china {
        rendered.distribution()["DefaultCacheBehavior"]["ForwardedValues"]["Headers"].clone()
    } else {
        let policy = rendered.only("AWS::CloudFront::OriginRequestPolicy");
        policy["OriginRequestPolicyConfig"]["HeadersConfig"]["Headers"].clone()
    };
    headers.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_lowercase()).collect()
}

/// The headers of the cache key, with `Caching=on`.
fn key_headers(values: &[(&str, &str)]) -> Value {
    let rendered = Rendered::in_region("eu-west-1", &[&[("Caching", "on")], values].concat());
    let policy = rendered.named("AWS::CloudFront::CachePolicy", "CachePolicy")["CachePolicyConfig"].clone();
    assert_eq!(policy["MinTTL"], 0, "a minimum TTL would override private and no-store");
    policy["ParametersInCacheKeyAndForwardedToOrigin"]["HeadersConfig"]["Headers"].clone()
}

const CACHING_DISABLED: &str = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";
const ALL_VIEWER_EXCEPT_HOST: &str = "b689b0a8-53d0-40ab-baf2-68738e2966ac";

#[test]
fn rules_are_off_unless_a_parameter_names_them() {
    let names = ["redirects", "headers", "access", "html_handling", "spa_fallback_dots", "object_redirects"];
    for rendered in Rendered::all(&[]) {
        let settings = settings(&rendered);
        assert!(names.iter().all(|name| settings.get(*name).is_none()), "{settings}");
    }
    let values = [
        ("Redirects", "_redirects"),
        ("Headers", "_headers"),
        ("Access", "conf/access.json"),
        ("HtmlHandling", "auto-trailing-slash"),
        ("SpaFallbackDots", "true"),
        ("ObjectRedirects", "true"),
    ];
    let given = ["_redirects", "_headers", "conf/access.json", "auto-trailing-slash", "true", "true"];
    for rendered in Rendered::all(&values) {
        let settings = settings(&rendered);
        assert_eq!(names.map(|name| settings[name].as_str().unwrap()), given);
        assert!(settings.get("oversize").is_none(), "presign: nothing leads to S3 without a signature");
    }
}

#[test]
fn pages_may_read_large_objects_behind_the_redirect_to_s3() {
    for rendered in Rendered::all(&[]) {
        let rule = rendered.only("AWS::S3::Bucket")["CorsConfiguration"]["CorsRules"][0].clone();
        assert_eq!(rule["AllowedOrigins"], json!(["*"]), "a page of another origin sends the origin null");
        assert_eq!((&rule["AllowedMethods"], &rule["AllowedHeaders"]), (&json!(["GET", "HEAD"]), &json!(["*"])));
        for name in ["ETag", "Content-Length", "Content-Range"] {
            assert!(rule["ExposedHeaders"].as_array().unwrap().contains(&json!(name)), "{name}");
        }
    }
    for rendered in Rendered::all(&[("CorsOrigins", "https://a.example,https://b.example")]) {
        let rules = rendered.only("AWS::S3::Bucket")["CorsConfiguration"]["CorsRules"].clone();
        assert_eq!(rules[0]["AllowedOrigins"], json!(["https://a.example", "https://b.example"]));
    }
    for rendered in Rendered::all(&[("CorsOrigins", "")]) {
        assert!(rendered.only("AWS::S3::Bucket").get("CorsConfiguration").is_none());
    }
}

#[test]
fn with_access_nothing_leads_past_the_function() {
    let four = [("VariantC", "v3"), ("VariantD", "v4"), ("Experiments", "experiments.json"), ("Access", "access.json")];
    for values in [&four[3..], &four] {
        for rendered in Rendered::all(values) {
            let distribution = rendered.distribution();
            let origins = distribution["Origins"].as_array().unwrap();
            assert_eq!((origins.len(), &origins[0]["Id"]), (1, &json!("api")), "the bucket is no origin");
            let behaviors = distribution["CacheBehaviors"].as_array().unwrap();
            assert_eq!(behaviors.len(), usize::from(values.len() > 1), "only beacons");
            assert!(behaviors.iter().all(|behavior| behavior["TargetOriginId"] == "api"));
            let policy = rendered.only("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"].clone();
            assert!(policy.as_array().unwrap().iter().all(|statement| statement["Effect"] == "Deny"), "{policy}");
            for kind in ["AWS::CloudFront::OriginAccessControl", "AWS::CloudFront::CloudFrontOriginAccessIdentity"] {
                assert!(rendered.template.resources(kind).unwrap().is_empty(), "{kind}");
            }
        }
    }
}

#[test]
fn with_access_authorization_reaches_the_function() {
    let access = ("Access", "access.json");
    let experiments = ("Experiments", "experiments.json");
    for rendered in Rendered::all(&[access, experiments]) {
        let distribution = rendered.distribution();
        let (default, beacons) = (&distribution["DefaultCacheBehavior"], &distribution["CacheBehaviors"][0]);
        assert_eq!(default["Compress"], rendered.china, "BREACH; without caching the legacy settings compress nothing");
        for behavior in [default, beacons] {
            if rendered.china {
                let headers = behavior["ForwardedValues"]["Headers"].as_array().unwrap();
                assert!(headers.contains(&json!("Authorization")), "{headers:?}");
                assert_eq!(behavior["MaxTTL"], 0);
            } else {
                // An origin request policy cannot list it, and the cache key of CachingDisabled is empty.
                let policy = if behavior == default { "${CachePolicy}" } else { CACHING_DISABLED };
                assert_eq!(behavior["CachePolicyId"], policy);
                assert_eq!(behavior["OriginRequestPolicyId"], ALL_VIEWER_EXCEPT_HOST);
                assert!(!listed_headers(&rendered).contains(&"authorization".to_owned()));
            }
        }
    }
    let cached = Rendered::in_region("eu-west-1", &[access, experiments, ("Caching", "on")]);
    let distribution = cached.distribution();
    assert_eq!(distribution["DefaultCacheBehavior"]["OriginRequestPolicyId"], "${OriginRequestPolicy}");
    assert_eq!(distribution["CacheBehaviors"][0]["OriginRequestPolicyId"], ALL_VIEWER_EXCEPT_HOST, "beacons: no key");
    assert_eq!(key_headers(&[access]), json!(["test_version", "redirect", "authorization"]));
    let without = [access, ("AccessAuthorization", "false")];
    assert_eq!(key_headers(&without), json!(["test_version", "redirect"]));
    for rendered in Rendered::all(&without) {
        // Accept shows a navigation, which a login needs.
        assert_eq!(listed_headers(&rendered), ["test_version", "redirect", "accept"]);
        let policy = &rendered.distribution()["DefaultCacheBehavior"]["OriginRequestPolicyId"];
        assert!(rendered.china || policy == "${OriginRequestPolicy}");
    }
    for rendered in Rendered::all(&[]) {
        assert_eq!(listed_headers(&rendered), ["test_version", "redirect"], "not without Access");
    }
}

#[test]
fn with_headers_preflights_and_origins_reach_the_function() {
    let cors = ["origin", "access-control-request-method", "access-control-request-headers"];
    for rendered in Rendered::all(&[("Headers", "_headers")]) {
        assert_eq!(listed_headers(&rendered)[2..], cors);
        let methods = rendered.distribution()["DefaultCacheBehavior"]["AllowedMethods"].clone();
        assert!(methods.as_array().unwrap().contains(&json!("OPTIONS")));
        assert!(!rendered.distribution()["DefaultCacheBehavior"]["CachedMethods"].to_string().contains("OPTIONS"));
    }
    assert_eq!(key_headers(&[("Headers", "_headers")]), json!(["test_version", "redirect", "origin"]));
    // CloudFront allows ten headers in a list: experiments need six, and CORS three.
    let all = [("Headers", "_headers"), ("Experiments", "experiments.json"), ("ExperimentsHeaders", "accept-language")];
    for rendered in Rendered::all(&all) {
        assert_eq!(listed_headers(&rendered).len(), 10);
    }
}

#[test]
fn the_headers_of_conditions_are_forwarded_and_in_the_key() {
    let headers = ("ExperimentsHeaders", "cloudfront-viewer-country,accept-language");
    let values = [("Redirects", "_redirects"), headers];
    for rendered in Rendered::all(&values) {
        assert_eq!(listed_headers(&rendered)[2..], ["cloudfront-viewer-country", "accept-language"]);
    }
    let key = json!(["test_version", "redirect", "cloudfront-viewer-country", "accept-language"]);
    assert_eq!(key_headers(&values), key);
    let cached = Rendered::in_region("eu-west-1", &[("Redirects", "_redirects"), ("Caching", "on")]);
    let policy = cached.named("AWS::CloudFront::CachePolicy", "CachePolicy")["CachePolicyConfig"].clone();
    let queries = &policy["ParametersInCacheKeyAndForwardedToOrigin"]["QueryStringsConfig"];
    assert_eq!(queries["QueryStringBehavior"], "all", "rules select by query parameters");
    for rendered in Rendered::all(&[headers]) {
        assert_eq!(listed_headers(&rendered), ["test_version", "redirect"], "nothing reads them");
    }
}

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

//! The resources and settings of the published walk-through, step by step.

use crate::rendered::Rendered;
use serde_json::{Value, json};

const SECRET_OF_THE_TEMPLATE: &str = "${LambdaAuth}";
const CACHING_DISABLED: &str = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";

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

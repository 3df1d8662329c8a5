//! Attributes of resources whose form AWS documents, although only AWS knows their values.
//!
//! [Attributes](https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-getatt.html)
//! of each resource type.

/// The value of a resource's attribute, with the placeholder `${ID}` for the part that only AWS knows.
///
/// `kind` is the resource type; `None` if the template does not contain the resource, such as one that SAM generates.
/// `domain` is the partition's `AWS::URLSuffix`.
pub(super) fn form(kind: Option<&str>, id: &str, attribute: &str, region: &str, domain: &str) -> Option<String> {
    let cloudfront = if domain.ends_with(".cn") { "cloudfront.cn" } else { "cloudfront.net" };
    Some(match (kind, attribute) {
        (Some("AWS::ApiGatewayV2::Api" | "AWS::Serverless::HttpApi") | None, "ApiEndpoint") => {
            format!("https://${{{id}}}.execute-api.{region}.{domain}")
        }
        (Some("AWS::Lambda::Url") | None, "FunctionUrl") => format!("https://${{{id}}}.lambda-url.{region}.on.aws/"),
        (Some("AWS::S3::Bucket"), "DomainName") => format!("${{{id}}}.s3.{domain}"),
        (Some("AWS::S3::Bucket"), "RegionalDomainName") => format!("${{{id}}}.s3.{region}.{domain}"),
        (Some("AWS::S3::Bucket"), "DualStackDomainName") => format!("${{{id}}}.s3.dualstack.{region}.{domain}"),
        (Some("AWS::S3::Bucket"), "WebsiteURL") => format!("http://${{{id}}}.s3-website-{region}.{domain}"),
        (Some("AWS::CloudFront::Distribution"), "DomainName") => format!("${{{id}}}.{cloudfront}"),
        _ => return None,
    })
}

//! Rules for the secret header, and for the signature that replaces it. No finding contains the secret.

use std::collections::BTreeSet;

use crate::policy::distribution::Origin;
use crate::policy::finding::{Finding, Severity};
use crate::policy::json::is_unknown;
use crate::policy::rule::context::Context;

/// The minimum length of a secret: 16 random letters and digits have 95 bits.
const LENGTH_MIN: usize = 16;

/// The minimum number of different characters in a secret.
const DIFFERENT_MIN: usize = 8;

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = &context.subject.auth_header;
    let other = if context.subject.is_template {
        ""
    } else {
        ", or add --auth-header if the function's auth_header is another"
    };
    for origin in context.api_origins() {
        // AWS China has no function URLs: that is a finding of its own.
        findings.extend(unsigned(origin).filter(|_| !context.subject.china));
        match context.secret(origin) {
            // Lambda authenticates the distribution by its signature.
            None | Some("") if origin.is_signed_url() => {}
            None | Some("") => findings.push(Finding {
                severity: Severity::Error,
                id: "secret-missing",
                place: origin.name(),
                why: format!("it sends no {name}: every response is 403, unless viewers send the secret"),
                fix: format!("add the custom header {name} with the secret to this origin{other}"),
            }),
            // A parameter or a dynamic reference: the configuration does not contain the secret.
            Some(value) if is_unknown(value) => {}
            Some(value) => {
                if context.subject.is_template {
                    findings.push(in_template(origin));
                }
                findings.extend(weak(origin, value));
            }
        }
    }
    findings.extend(context.other_origins().filter_map(|origin| leaked(name, origin)));
    findings
}

/// Finds a function URL without an origin access control
/// ([access to a function URL](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-restricting-access-to-lambda.html)).
fn unsigned(origin: &Origin) -> Option<Finding> {
    (origin.is_function_url() && !origin.signed).then(|| Finding {
        severity: Severity::Error,
        id: "url-unsigned",
        place: origin.name(),
        why: "CloudFront does not sign requests to this function URL: with AuthType AWS_IAM every response is 403, and with NONE \
              the URL is open to the internet"
            .to_owned(),
        fix: "add an origin access control of type lambda that always signs, and set AuthType to AWS_IAM".to_owned(),
    })
}

fn in_template(origin: &Origin) -> Finding {
    Finding {
        severity: Severity::Error,
        id: "secret-in-template",
        place: origin.name(),
        why: "the template contains the secret: every reader of the template can bypass the distribution".to_owned(),
        fix: "use a parameter with NoEcho and no default, or a dynamic reference to Secrets Manager".to_owned(),
    }
}

fn weak(origin: &Origin, secret: &str) -> Option<Finding> {
    let length = secret.chars().count();
    let different = secret.chars().collect::<BTreeSet<_>>().len();
    let weakness = if secret == "lambdaapi_test" {
        "is the one from the published walk-through".to_owned()
    } else if length < LENGTH_MIN {
        format!("has only {length} characters")
    } else if different < DIFFERENT_MIN {
        format!("has only {different} different characters")
    } else {
        return None;
    };
    Some(Finding {
        severity: Severity::Error,
        id: "secret-weak",
        place: origin.name(),
        why: format!("the secret {weakness}: it can be guessed, and the API is open to the internet"),
        fix: "rotate to a random secret (deploy/rotate.sh generates 64 hexadecimal digits)".to_owned(),
    })
}

fn leaked(name: &str, origin: &Origin) -> Option<Finding> {
    origin.header(name).map(|_| Finding {
        severity: Severity::Error,
        id: "secret-leaks",
        place: origin.name(),
        why: "it receives the secret but does not need it".to_owned(),
        fix: format!("remove the custom header {name} from this origin, then rotate the secret"),
    })
}

//! The SDK's resolvers of the endpoint and of the authentication schemes, asked once.
//!
//! The SDK asks for the schemes once and for the endpoint twice in each request. Its own cache of endpoints compares the object's key
//! as well, so that it has none for a new object. But all requests of this client are for one bucket, and no endpoint depends on the key
//! ([the endpoint's parameters](https://docs.rs/aws-sdk-s3/latest/aws_sdk_s3/config/endpoint/struct.Params.html)).
//!
//! The exception is CreateSession, which the SDK itself sends for directory buckets, with the resolvers of this client: it has
//! another authentication scheme than the reads of objects
//! ([CreateSession](https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateSession.html)).

use std::fmt;
use std::sync::OnceLock;

use aws_sdk_s3::config::auth::{self, DefaultAuthSchemeResolver, ResolveAuthScheme};
use aws_sdk_s3::config::endpoint::{self, DefaultResolver, Endpoint, EndpointFuture, ResolveEndpoint};
use aws_sdk_s3::config::{ConfigBag, RuntimeComponents};
use aws_smithy_runtime_api::client::auth::{AuthSchemeOption, AuthSchemeOptionsFuture};

/// A resolver and its first result, which is the result for all requests.
pub(super) struct Once<R, T> {
    resolver: R,
    resolved: OnceLock<T>,
}

/// The endpoint of one bucket.
pub(super) type OneEndpoint = Once<DefaultResolver, Endpoint>;

/// The authentication schemes of one bucket.
pub(super) type OneAuthScheme = Once<DefaultAuthSchemeResolver, Vec<AuthSchemeOption>>;

impl<R: Default, T> Default for Once<R, T> {
    fn default() -> Self {
        Self { resolver: R::default(), resolved: OnceLock::new() }
    }
}

// The SDK requires it. A derived one is 10 kB of the binary, for the types of the SDK.
impl<R, T> fmt::Debug for Once<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl ResolveEndpoint for OneEndpoint {
    fn resolve_endpoint<'a>(&'a self, params: &'a endpoint::Params) -> EndpointFuture<'a> {
        if params.disable_s3_express_session_auth() == Some(true) {
            return ResolveEndpoint::resolve_endpoint(&self.resolver, params);
        }
        if let Some(resolved) = self.resolved.get() {
            return EndpointFuture::ready(Ok(resolved.clone()));
        }
        EndpointFuture::new(async {
            let resolved = ResolveEndpoint::resolve_endpoint(&self.resolver, params).await?;
            Ok(self.resolved.get_or_init(|| resolved).clone())
        })
    }
}

impl ResolveAuthScheme for OneAuthScheme {
    fn resolve_auth_scheme<'a>(
        &'a self,
        params: &'a auth::Params,
        bag: &'a ConfigBag,
        components: &'a RuntimeComponents,
    ) -> AuthSchemeOptionsFuture<'a> {
        if params.operation_name() == "CreateSession" {
            return self.resolver.resolve_auth_scheme(params, bag, components);
        }
        if let Some(resolved) = self.resolved.get() {
            return AuthSchemeOptionsFuture::ready(Ok(resolved.clone()));
        }
        AuthSchemeOptionsFuture::new(async {
            let resolved = self.resolver.resolve_auth_scheme(params, bag, components).await?;
            Ok(self.resolved.get_or_init(|| resolved).clone())
        })
    }
}

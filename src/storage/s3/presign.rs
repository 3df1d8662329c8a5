//! Presigned URLs.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::ProvideCredentials;
use aws_sdk_s3::presigning::PresigningConfig;
use nearedge_core::object::ObjectKey;
use nearedge_core::store::{FetchError, Part};

use crate::storage::s3::S3;
use crate::storage::s3::attempt::OnlySigned;
use crate::storage::s3::error::S3Error;

impl S3 {
    /// Signs a URL that lives for `ttl`, but not longer than the credentials that sign it.
    pub(super) async fn sign(&self, key: &ObjectKey, part: Part, ttl: Duration) -> Result<String, FetchError> {
        let failed = |error| FetchError::Failed(S3Error::Presign(error).into());
        let Some(provider) = &self.credentials else {
            return Err(FetchError::Failed(S3Error::NoCredentials.into()));
        };
        // The same credentials sign below. Those of Lambda's environment have no expiry.
        let credentials = provider.provide_credentials().await.map_err(|error| failed(error.into()))?;
        let left = credentials.expiry().map_or(ttl, |at| at.duration_since(SystemTime::now()).unwrap_or_default());
        // The lifetime of a URL is a whole number of seconds.
        let lifetime = Duration::from_secs(left.min(ttl).as_secs());
        if lifetime.is_zero() {
            return Err(FetchError::Failed(S3Error::CredentialsExpire.into()));
        }
        let config = PresigningConfig::expires_in(lifetime).map_err(|error| failed(error.into()))?;
        let signing = aws_sdk_s3::config::Builder::new().credentials_provider(credentials);
        let (client, bucket, key) = (&self.client, &self.bucket, key.as_str());
        // The signature covers the method.
        let signed = match part {
            Part::Whole => {
                let request = client.get_object().bucket(bucket).key(key).customize().config_override(signing);
                request.interceptor(OnlySigned).presigned(config).await.map_err(|error| failed(error.into()))?
            }
            Part::Head => {
                let request = client.head_object().bucket(bucket).key(key).customize().config_override(signing);
                request.interceptor(OnlySigned).presigned(config).await.map_err(|error| failed(error.into()))?
            }
        };
        Ok(signed.uri().to_owned())
    }
}

//! The usual next step: lambda_http with a moka cache of raw bytes in front of S3.

use std::time::Duration;

use aws_sdk_s3::Client;
use lambda_http::{Body, Error, Request, RequestExt, Response, run, service_fn};
use moka::future::Cache;

type Objects = Cache<String, (String, Vec<u8>)>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let s3 = Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build());
    let bucket = std::env::var("bucket")?;
    let secret = std::env::var("lambda_auth")?;
    let objects: Objects = Cache::builder()
        .max_capacity(48 << 20)
        .weigher(|_, (_, body): &(String, Vec<u8>)| body.len().try_into().unwrap_or(u32::MAX))
        .time_to_live(Duration::from_secs(3600))
        .build();
    run(service_fn(|request: Request| respond(request, &s3, &objects, &bucket, &secret))).await
}

async fn respond(
    request: Request,
    s3: &Client,
    objects: &Objects,
    bucket: &str,
    secret: &str,
) -> Result<Response<Body>, Error> {
    let Some(key) = compare::plain_key(request.headers(), request.raw_http_path(), secret) else {
        return Ok(Response::builder().status(403).body("request is forbidden".into())?);
    };
    let (content_type, body) = match objects.get(&key).await {
        Some(object) => object,
        None => {
            let object = s3.get_object().bucket(bucket).key(&key).send().await?;
            let content_type = object.content_type().unwrap_or("binary/octet-stream").to_owned();
            let object = (content_type, object.body.collect().await?.to_vec());
            objects.insert(key, object.clone()).await;
            object
        }
    };
    Ok(Response::builder().header("content-type", content_type).body(Body::Binary(body))?)
}

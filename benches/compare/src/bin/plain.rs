//! The walk-through's rules with lambda_http and aws-sdk-s3, written as in their guides: an afternoon's work.

use aws_sdk_s3::Client;
use lambda_http::{Body, Error, Request, RequestExt, Response, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let s3 = Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build());
    let bucket = std::env::var("bucket")?;
    let secret = std::env::var("lambda_auth")?;
    run(service_fn(|request: Request| respond(request, &s3, &bucket, &secret))).await
}

async fn respond(request: Request, s3: &Client, bucket: &str, secret: &str) -> Result<Response<Body>, Error> {
    let Some(key) = compare::plain_key(request.headers(), request.raw_http_path(), secret) else {
        return Ok(Response::builder().status(403).body("request is forbidden".into())?);
    };
    let object = s3.get_object().bucket(bucket).key(key).send().await?;
    let content_type = object.content_type().unwrap_or("binary/octet-stream").to_owned();
    let body = object.body.collect().await?.to_vec();
    Ok(Response::builder().header("content-type", content_type).body(Body::Binary(body))?)
}

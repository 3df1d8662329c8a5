//! lambda_http alone, as in its guide: how fast a Rust function can start.

use lambda_http::{Error, Request, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(service_fn(async |_: Request| Ok::<_, Error>("ok"))).await
}

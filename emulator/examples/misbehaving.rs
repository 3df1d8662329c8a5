//! A faulty handler for the tests. The environment variable `mode` selects the fault; the handler starts only if the
//! file in `needs` exists.
//!
//! It implements the Runtime API over one plain socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
    let mode = std::env::var("mode")?;
    if let Some(file) = std::env::var_os("needs")
        && !std::path::Path::new(&file).exists()
    {
        return Err("the file in the variable needs does not exist".into());
    }
    let mut socket = BufReader::new(TcpStream::connect(&api)?);
    if mode == "init-error" {
        let report = r#"{"errorType":"Test.Init","errorMessage":"init failed on request"}"#;
        post(&mut socket, &api, "init/error", report.as_bytes())?;
        std::process::exit(1);
    }
    loop {
        write!(socket.get_mut(), "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: {api}\r\n\r\n")?;
        let (headers, event) = read(&mut socket)?;
        let id = headers
            .iter()
            .find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: "))
            .ok_or("no request id")?
            .to_owned();
        let response: Vec<u8> = match mode.as_str() {
            "crash" => std::process::exit(3),
            "hang" => loop {
                std::thread::park();
            },
            "invalid" => b"not JSON".to_vec(),
            "too-large" => vec![b' '; 6 * 1024 * 1024 + 101],
            "cookies" => br#"{"statusCode":200,"cookies":["a=1","b=2"],"headers":{"x-a":"1"},"body":"hi"}"#.to_vec(),
            // API Gateway returns JSON without `statusCode` as the body.
            "echo" => event,
            other => return Err(format!("unknown mode {other:?}").into()),
        };
        post(&mut socket, &api, &format!("invocation/{id}/response"), &response)?;
    }
}

fn post(socket: &mut BufReader<TcpStream>, api: &str, path: &str, body: &[u8]) -> Outcome {
    let length = body.len();
    let head = format!("POST /2018-06-01/runtime/{path} HTTP/1.1\r\nhost: {api}\r\ncontent-length: {length}\r\n\r\n");
    socket.get_mut().write_all(head.as_bytes())?;
    socket.get_mut().write_all(body)?;
    read(socket).map(drop)
}

fn read(socket: &mut BufReader<TcpStream>) -> Result<(Vec<String>, Vec<u8>), Box<dyn std::error::Error>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => headers.push(line.to_ascii_lowercase()),
        }
    }
    let length = headers.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0").parse()?;
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    Ok((headers, body))
}

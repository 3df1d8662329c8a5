//! The command `nearedge`: output, exit code and processes.

use std::path::Path;
use std::process::{Output, Stdio};

use emulator::serve::{self, HttpClient};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::{nearedge, site, wait_until};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(nearedge());
    if !arguments.contains(&"--port-base") {
        command.args(["--port-base", "0"]);
    }
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.kill_on_drop(true);
    command
}

/// Starts the command, and returns when it has printed the whole banner.
pub(crate) async fn start(arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>, Vec<String>) {
    start_command(command(arguments)).await
}

async fn start_command(mut command: Command) -> (Child, Lines<BufReader<ChildStdout>>, Vec<String>) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut banner = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let last = line.contains("Ctrl-C");
        banner.push(line);
        if last {
            return (child, lines, banner);
        }
    }
    panic!("the command exited before it was ready: {banner:#?}");
}

/// The error that the command prints.
pub(crate) async fn error_of(arguments: &[&str]) -> String {
    let output = command(arguments).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "expected one line, found: {error}");
    error
}

/// Counts the child processes of the emulator.
fn handlers_of(emulator: u32) -> usize {
    let children = std::fs::read_to_string(format!("/proc/{emulator}/task/{emulator}/children")).unwrap_or_default();
    children.split_whitespace().count()
}

/// Counts the processes with this text in their environment.
fn handlers_with(variable: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter(|process| {
            std::fs::read(process.join("environ"))
                .is_ok_and(|environ| String::from_utf8_lossy(&environ).contains(variable))
        })
        .count()
}

/// The URL in the banner's line for `service`.
pub(crate) fn url_of(banner: &[String], service: &str) -> String {
    let line = banner.iter().find_map(|line| line.trim_start().strip_prefix(service)).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

/// The commands of the banner.
fn curls(banner: &[String]) -> Vec<&str> {
    banner.iter().filter_map(|line| line.strip_prefix("  ")).filter(|line| line.starts_with("curl ")).collect()
}

/// Sends the request of a curl command, and returns the status and the header of the response.
async fn run_curl(client: &HttpClient, command: &str) -> (StatusCode, HeaderMap) {
    let mut request = Request::builder();
    let mut words = shlex::split(command).unwrap().into_iter().skip(1);
    while let Some(word) = words.next() {
        request = match word.as_str() {
            "-H" => match words.next().unwrap().split_once(':') {
                Some((name, value)) => request.header(name, value),
                None => panic!("expected a header in {command}"),
            },
            "-I" => request.method(Method::HEAD),
            "-v" => request,
            ">" => break,
            url => request.uri(url),
        };
    }
    let response = client.request(request.body(serve::full("")).unwrap()).await.unwrap();
    (response.status(), response.headers().clone())
}

/// The first line of standard output that contains `text`.
async fn line_with(lines: &mut Lines<BufReader<ChildStdout>>, text: &str) -> String {
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if line.contains(text) {
            return line;
        }
    }
}

/// A folder with these files. The content of a file is its path.
pub(crate) fn folder_of(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
    folder
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn the_banner_lists_the_addresses_and_seven_commands() {
    let (mut child, _lines, banner) = start(&[]).await;
    let (cdn, api) = (url_of(&banner, "CDN"), url_of(&banner, "API"));
    let secret = "-H \"lambda_auth:lambdaapi_test\"";
    let expected = [
        format!("curl {api}/"),
        format!("curl -v {secret} {api}/"),
        format!("curl {secret} -H \"test_version:v2\" {api}/test.html"),
        format!("curl {secret} -H \"test_version:v2\" {api}/test.png > test.png"),
        format!("curl -v {secret} -H \"test_version:v1\" -H \"redirect:true\" {api}/test.html"),
        format!("curl -H \"test_version:v1\" {cdn}/test.html"),
        format!("curl -I -H \"test_version:v1\" -H \"redirect:true\" {cdn}/test.html"),
    ];
    assert_eq!(curls(&banner), expected, "{banner:#?}");
    for service in ["CDN", "API", "bucket", "console"] {
        assert!(url_of(&banner, service).starts_with("http://127.0.0.1:"), "{banner:#?}");
    }
    assert!(banner.iter().any(|line| line.contains("An edited file shows after 10 s")), "{banner:#?}");
    assert!(!banner.iter().any(|line| line.starts_with("Note:")), "{banner:#?}");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn the_banners_commands_work_on_any_site() {
    let sites: [(&[&str], &[&str]); 5] = [
        (&["index.html", "red/index.html", "green/index.html", "green/logo.png"], &["--variants", "red, green"]),
        (&["home.html", "v1/a b.html", "v2/a b.html"], &[]),
        (&["red/x/page.html"], &["--env", "test_versions=red,blue"]),
        (&["docs/start.htm", "docs/it's.png"], &["--stage", "prod"]),
        (&["index.html"], &["--env", "lambda_auth=a\"$b`c!d\\e"]),
    ];
    let client = serve::client();
    for (files, options) in sites {
        let folder = folder_of(files);
        let (mut child, _lines, banner) = start(&[&["--site", text(folder.path())], options].concat()).await;
        let commands = curls(&banner);
        assert!(commands.len() >= 3, "{files:?}: {commands:#?}");
        for (index, command) in commands.into_iter().enumerate() {
            let (status, headers) = run_curl(&client, command).await;
            let expected = match index {
                0 => StatusCode::FORBIDDEN,
                _ if command.contains("redirect:true") => StatusCode::FOUND,
                _ => StatusCode::OK,
            };
            assert_eq!(status, expected, "{files:?}: {command}");
            if let Some(location) = headers.get("location") {
                let (status, _) = run_curl(&client, &format!("curl {}", location.to_str().unwrap())).await;
                assert_eq!(status, StatusCode::OK, "{files:?}: {location:?}");
            }
        }
        let browse = banner.iter().find_map(|line| line.strip_prefix("To see the site, open ")).unwrap();
        let page = browse.split_whitespace().next().unwrap();
        assert_eq!(run_curl(&client, &format!("curl {page}")).await.0, StatusCode::OK, "{files:?}: {browse}");
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn the_banner_names_what_a_site_lacks_and_what_to_do() {
    let cases: [(&[&str], &[&str], &str); 5] = [
        (&[], &[], "is empty, so every object is missing (404). Copy files into it"),
        (&["index.html"], &[], "v1/, v2/ do not exist or have no file"),
        (&["index.html", "v1/index.html"], &[], "v2/ does not exist or has no file"),
        (&["v1/index.html", "v2/index.html"], &[], "has no index.html"),
        (&["index.html"], &["--env", "variant_fallback=true"], "get the objects without a variant"),
    ];
    for (files, options, note) in cases {
        let folder = folder_of(files);
        let (mut child, _lines, banner) = start(&[&["--site", text(folder.path())], options].concat()).await;
        assert!(
            banner.iter().any(|line| line.starts_with("Note: ") && line.contains(note)),
            "expected {note:?} for {files:?}, found {banner:#?}"
        );
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn the_banner_states_when_an_edit_shows() {
    for (setting, message) in [
        ("cache_ttl_secs=60", "An edited file shows after 60 s;"),
        ("cache_ttl_secs=0", "An edited file shows at once."),
        ("cache_max_bytes=0", "An edited file shows at once."),
        ("stale_while_revalidate_secs=5", "An edited file shows after 10 s and one more request;"),
    ] {
        let (mut child, _lines, banner) = start(&["--env", setting]).await;
        assert!(banner.iter().any(|line| line.contains(message)), "{setting}: {banner:#?}");
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn variants_of_the_command_line_have_metrics() {
    let folder = folder_of(&["red/index.html", "green/index.html"]);
    for options in [["--variants", "red,green"], ["--env", "test_versions=red,green"]] {
        let (mut child, _lines, banner) = start(&[&["--site", text(folder.path())], &options[..]].concat()).await;
        let client = serve::client();
        let get = |url: String| client.request(Request::get(url).body(serve::full("")).unwrap());
        let command = format!("curl -H test_version:green {}/", url_of(&banner, "CDN"));
        assert_eq!(run_curl(&client, &command).await.0, StatusCode::OK);
        let direct = format!("curl {}/green/index.html", url_of(&banner, "CDN"));
        assert_eq!(run_curl(&client, &direct).await.0, StatusCode::OK);
        let counted = async {
            loop {
                let response = get(format!("{}/api/state", url_of(&banner, "console"))).await.unwrap();
                let state = response.into_body().collect().await.unwrap().to_bytes();
                let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
                assert_eq!(state["variants"], serde_json::json!(["red", "green"]));
                let variants: Vec<&String> = state["requests"].as_object().unwrap().keys().collect();
                if !variants.is_empty() {
                    assert_eq!(variants, ["green"]);
                    break;
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), counted).await.expect("a metric of the request");
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn redirects_lead_to_the_public_url() {
    let (mut child, _lines, banner) = start(&["--public-url", "https://phone.test/"]).await;
    assert_eq!(url_of(&banner, "CDN"), "https://phone.test");
    let redirect =
        curls(&banner).into_iter().find(|command| command.starts_with("curl -v") && command.contains("redirect"));
    let (_, headers) = run_curl(&serve::client(), redirect.unwrap()).await;
    assert_eq!(headers["location"], "https://phone.test/v1/test.html");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn sigint_and_sigterm_end_all_processes() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let marker = format!("marker=of-{}-{signal}", std::process::id());
        let (mut child, mut lines, _) = start(&["--env", &marker]).await;
        let id = child.id().unwrap();
        assert!(handlers_of(id) + handlers_with(&marker) > 0, "no handler runs");
        kill(Pid::from_raw(id.try_into().unwrap()), signal).unwrap();
        let stopping = line_with(&mut lines, "stopping").await;
        assert!(stopping.contains("press Ctrl-C again to stop at once"), "{stopping}");
        assert!(child.wait().await.unwrap().success());
        // The emulator has the marker as an argument, not in its environment.
        assert_eq!(handlers_with(&marker), 0);
    }
}

#[tokio::test]
async fn a_killed_emulator_leaves_no_handler_process() {
    let marker = format!("marker=of-{}-killed", std::process::id());
    let (mut child, _lines, _) = start(&["--env", &marker]).await;
    assert_eq!(handlers_with(&marker), 1);
    child.kill().await.unwrap();
    wait_until(|| handlers_with(&marker) == 0).await;
}

#[tokio::test]
async fn each_request_prints_one_line() {
    let (mut child, mut lines, banner) = start(&[]).await;
    let (status, _) =
        run_curl(&serve::client(), &format!("curl -H test_version:v2 {}/test.html", url_of(&banner, "CDN"))).await;
    assert_eq!(status, StatusCode::OK);
    let line = line_with(&mut lines, "/test.html").await;
    let size = format!("{} B", site().join("v2/test.html").metadata().unwrap().len());
    for part in ["cdn>api", "GET", "/test.html", "v2", "200", &size, " ms", "cold start"] {
        assert!(line.contains(part), "expected {part} in {line}");
    }
    assert!(!line.contains('\u{1b}'), "a pipe gets no colours: {line}");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_a_one_line_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--edge", "--gateway", "--s3", "--console"] {
        let error = error_of(&[flag, &address]).await;
        assert!(error.contains(&address) && error.contains("is already in use") && error.contains(flag), "{error}");
    }
}

#[tokio::test]
async fn all_taken_ports_are_one_error_with_free_ports() {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let base = (21_000..30_000).step_by(4).find(|base| (*base..*base + 4).all(|port| is_free(&port))).unwrap();
    let taken = [base, base + 3].map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
    let error = error_of(&["--port-base", &base.to_string()]).await;
    for part in [format!("127.0.0.1:{base} of the CDN (--edge)"), format!("127.0.0.1:{} of the console", base + 3)] {
        assert!(error.contains(&part), "expected {part:?} in {error}");
    }
    assert!(!error.contains("API") && !error.contains("bucket"), "{error}");
    let free = error.trim_end().rsplit_once("--port-base ").unwrap().1;
    let (mut child, _lines, banner) = start(&["--port-base", free]).await;
    for (service, offset) in [("CDN", 0), ("API", 1), ("bucket", 2), ("console", 3)] {
        let address = format!("http://127.0.0.1:{}", free.parse::<u16>().unwrap() + offset);
        assert!(url_of(&banner, service).starts_with(&address), "{banner:#?}");
    }
    child.kill().await.unwrap();
    drop(taken);
}

#[tokio::test]
async fn an_invalid_option_states_what_was_expected() {
    for (arguments, expected) in [
        (["--edge", "3000"], "expected an IP address and a port"),
        (["--port-base", "65533"], "65532"),
        (["--variants", "red,../x"], "expected names of 1 to 64 letters"),
        (["--variants", "red,,green"], "expected names of 1 to 64 letters"),
        (["--public-url", "phone.test:3000"], "expected a URL without a query"),
        (["--public-url", "ftp://phone.test"], "expected a URL without a query"),
        (["--log", "yaml"], "json"),
        (["completion", "cmd"], "powershell"),
    ] {
        let output = Command::new(nearedge()).args(arguments).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[tokio::test]
async fn an_address_can_name_localhost() {
    let (mut child, _lines, banner) = start(&["--edge", "localhost:0"]).await;
    assert!(url_of(&banner, "CDN").starts_with("http://127.0.0.1:"), "{banner:#?}");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn no_color_wins_over_forced_colours() {
    for (no_color, coloured) in [(None, true), (Some("1"), false)] {
        let mut command = command(&[]);
        command.env("CLICOLOR_FORCE", "1").envs(no_color.map(|value| ("NO_COLOR", value)));
        let (mut child, mut lines, banner) = start_command(command).await;
        run_curl(&serve::client(), &format!("curl {}/none", url_of(&banner, "CDN"))).await;
        let line = line_with(&mut lines, "/none").await;
        assert_eq!(line.contains("\u{1b}[33m404\u{1b}[0m"), coloured, "{line:?}");
        assert_eq!(line.contains('\u{1b}'), coloured, "{line:?}");
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn log_json_writes_json_lines_only() {
    let mut command = command(&["--log", "json", "--logs"]);
    let mut child = command.env("CLICOLOR_FORCE", "1").spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut parsed = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let line: serde_json::Value = serde_json::from_str(&line).expect(&line);
        let kind = line["type"].as_str().unwrap().to_owned();
        if kind == "ready" {
            assert_eq!(line["message"], "nearedge is ready");
            let cdn = line["cdn"].as_str().unwrap();
            run_curl(&serve::client(), &format!("curl -H test_version:v1 {cdn}/test.html")).await;
        }
        if kind == "request" {
            for (name, value) in [("via", "cdn>api"), ("method", "GET"), ("path", "/test.html"), ("variant", "v1")] {
                assert_eq!(line[name], value, "{line}");
            }
            assert!(line["status"] == 200 && line["duration_ms"].is_f64() && line["cold_start_ms"].is_f64(), "{line}");
            kill(Pid::from_raw(child.id().unwrap().try_into().unwrap()), Signal::SIGINT).unwrap();
        }
        parsed.push(kind);
    }
    for kind in ["environment", "ready", "request", "stopping"] {
        assert!(parsed.iter().any(|parsed| parsed == kind), "expected {kind}, found {parsed:?}");
    }
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_completion_script_names_the_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let Output { status, stdout, .. } =
            Command::new(nearedge()).args(["completion", shell]).output().await.unwrap();
        let script = String::from_utf8(stdout).unwrap();
        assert!(status.success() && script.contains("port-base") && script.contains("nearedge"), "{shell}: {script}");
    }
}

#[tokio::test]
async fn an_unusable_site_or_handler_is_a_one_line_error() {
    assert!(error_of(&["--site", "/nowhere/at/all"]).await.contains("/nowhere/at/all"));
    assert!(error_of(&["--bootstrap", "/nowhere/bootstrap"]).await.contains("/nowhere/bootstrap"));
    assert!(error_of(&["--bootstrap", "/dev/null"]).await.contains("expected an executable file"));
    assert!(error_of(&["--bootstrap", "/bin/false"]).await.contains("exited: exit status: 1"));
    assert!(error_of(&["--env", "missing_status=9"]).await.contains("missing_status is \"9\""));
    assert!(error_of(&["--env", "lambda_auth="]).await.contains("lambda_auth is empty"));
}

/// The distribution of the repository's template for AWS.
const TEMPLATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/aws.yaml");

/// A distribution as the AWS CLI returns it.
const DISTRIBUTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policy/distribution.json");

/// Its origin request policy.
const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policy/origin-request-policy.json");

#[tokio::test]
async fn a_distribution_file_decides_what_the_cdn_caches() {
    let files = tempfile::tempdir().unwrap();
    let policy = files.path().join("policy.json");
    let id = "9d5c315b-17af-4e8a-a7aa-6f1a13ffdf14";
    let config = serde_json::json!({"CachePolicy": {"Id": id, "CachePolicyConfig": {"MinTTL": 0}}});
    std::fs::write(&policy, config.to_string()).unwrap();
    for (options, second) in [
        (&["--cache"][..], "Hit from cloudfront"),
        (&["--distribution", TEMPLATE, "--set", "Caching=on"], "Hit from cloudfront"),
        // Its cache policy forwards Accept-Encoding, and confirms each response with the function.
        (&["--distribution", TEMPLATE], "RefreshHit from cloudfront"),
        (&["--distribution", TEMPLATE, "--set", "Compress=off"], "Miss from cloudfront"),
        (&["--distribution", DISTRIBUTION, "--policy", POLICY, "--policy", text(&policy)], "Miss from cloudfront"),
        (&[], "Miss from cloudfront"),
    ] {
        let (mut child, _lines, banner) = start(options).await;
        let curl = format!("curl -H test_version:v2 {}/test.html", url_of(&banner, "CDN"));
        for x_cache in ["Miss from cloudfront", second] {
            let (status, headers) = run_curl(&serve::client(), &curl).await;
            assert_eq!((status, &headers["x-cache"]), (StatusCode::OK, &x_cache.parse().unwrap()), "{options:?}");
        }
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn an_unusable_distribution_is_a_one_line_error() {
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, content: serde_json::Value| {
        let path = files.path().join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let origins = serde_json::json!([{"Id": "api", "DomainName": "x", "CustomOriginConfig": {}}]);
    let behavior = serde_json::json!({"TargetOriginId": "api", "CachePolicyId": "CachingDisabled", "AllowedMethods": ["GET", "POST"]});
    let methods = file("methods.json", serde_json::json!({"Origins": origins, "DefaultCacheBehavior": behavior}));
    let behavior = serde_json::json!({"TargetOriginId": "none", "CachePolicyId": "CachingDisabled"});
    let target = file("target.json", serde_json::json!({"Origins": origins, "DefaultCacheBehavior": behavior}));
    for (options, expected) in [
        (&["--distribution", "/nowhere.json"][..], "/nowhere.json: No such file"),
        (&["--distribution", POLICY], "found no Origins"),
        (&["--distribution", DISTRIBUTION], "the behaviour /v1/*: expected a known policy"),
        (&["--distribution", DISTRIBUTION, "--set", "Caching=on"], "--set Caching requires a template"),
        (&["--distribution", TEMPLATE, "--set", "Cache=on"], "the template has no parameter Cache"),
        (&["--distribution", &methods], "AllowedMethods: expected GET,HEAD or"),
        (&["--distribution", &target], "expected an origin with the id \"none\""),
    ] {
        let error = error_of(options).await;
        assert!(error.starts_with("nearedge: --distribution ") && error.contains(expected), "{options:?}: {error}");
    }
    for options in [&["--cache", "--distribution", TEMPLATE][..], &["--policy", POLICY], &["--set", "Caching=on"]] {
        let output = command(options).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}");
    }
}

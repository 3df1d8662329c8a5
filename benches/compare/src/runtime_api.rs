//! The Runtime API of one environment: blocking, with one thread per connection.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use compare::{head_bytes, message_bytes};

use crate::chunked;

/// A running Runtime API server. Dropping it ends the handler's wait for events.
pub struct RuntimeApi {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    sampled: bool,
}

#[derive(Default)]
struct State {
    /// Requests for the next event so far.
    next_requests: u64,
    events: VecDeque<(u64, Arc<[u8]>)>,
    next_id: u64,
    sent: HashMap<u64, Instant>,
    responses: VecDeque<Response>,
    closed: bool,
}

/// A response that the handler posted.
pub struct Response {
    pub payload: Vec<u8>,
    /// Time from the event's last byte to the response's last byte.
    pub latency: Duration,
    /// The rest of a streamed response, of which `payload` is the first chunk.
    pub stream: Option<Stream>,
}

/// The rest of a streamed response, after its first chunk.
pub struct Stream {
    /// Time from the event's last byte to the first byte.
    pub first_byte: Duration,
    /// The number of bytes.
    pub bytes: u64,
    /// Whether they are those of [`compare::object`].
    pub is_intact: bool,
}

/// For one step of the handler. A longer wait fails the benchmark.
const TIMEOUT: Duration = Duration::from_secs(60);

impl RuntimeApi {
    pub fn start(sampled: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { sampled, ..Shared::default() });
        let served = shared.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nodelay(true).expect("nodelay");
                let shared = served.clone();
                std::thread::spawn(move || {
                    // An error means that the handler has exited.
                    let _ = serve(stream, &shared);
                });
            }
        });
        Self { address, shared }
    }

    /// Waits until the handler requests its first event.
    pub fn wait_until_ready(&self) {
        let state = self.shared.state.lock().expect("the state");
        let (_state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, TIMEOUT, |state| state.next_requests == 0)
            .expect("the state");
        assert!(!waited.timed_out(), "the handler requested no event within {TIMEOUT:?}");
    }

    /// Sends events, at most `window` concurrently, and passes each response to `inspect`.
    pub fn send(&self, events: impl Iterator<Item = Arc<[u8]>>, window: usize, mut inspect: impl FnMut(Response)) {
        let mut events = events.peekable();
        let mut in_flight = 0;
        let mut state = self.shared.state.lock().expect("the state");
        loop {
            while in_flight < window
                && let Some(event) = events.next()
            {
                let id = state.next_id;
                state.next_id += 1;
                state.events.push_back((id, event));
                in_flight += 1;
                self.shared.changed.notify_all();
            }
            if in_flight == 0 {
                return;
            }
            let waited;
            (state, waited) = self
                .shared
                .changed
                .wait_timeout_while(state, TIMEOUT, |state| state.responses.is_empty())
                .expect("the state");
            assert!(!waited.timed_out(), "no response within {TIMEOUT:?}");
            while let Some(response) = state.responses.pop_front() {
                in_flight -= 1;
                inspect(response);
            }
        }
    }

    /// Sends one event and returns its response.
    pub fn invoke(&self, event: Arc<[u8]>) -> Response {
        let mut only = None;
        self.send(std::iter::once(event), 1, |response| only = Some(response));
        only.expect("a response")
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        if let Ok(mut state) = self.shared.state.lock() {
            state.closed = true;
        }
        self.shared.changed.notify_all();
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some(mut message) = read_message(&mut stream, &mut buffer)? else { return Ok(()) };
        let mut streamed = None;
        if compare::header(&message, "transfer-encoding") == Some("chunked") {
            let (first, rest) = chunked::read(&mut stream, &mut buffer)?;
            message.extend_from_slice(&first);
            streamed = Some(rest);
        }
        let request = std::str::from_utf8(&message[..head_bytes(&message).unwrap_or(0)]).unwrap_or("");
        let mut parts = request.split([' ', '/']);
        let id = parts.by_ref().skip_while(|part| *part != "invocation").nth(1).unwrap_or("");
        if request.contains("/extension/") {
            // Registering is part of the start, and the handler goes on without.
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")?;
        } else if id == "next" {
            let Some((id, event)) = next(shared) else { return Ok(()) };
            let deadline = std::time::SystemTime::now() + Duration::from_secs(20);
            let deadline = deadline.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: \
                 00000000-0000-0000-0000-{id:012}\r\nlambda-runtime-deadline-ms: {deadline}\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:lambdaapi\r\n\
                 lambda-runtime-trace-id: Root=1-65000000-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled={}\r\n\
                 content-length: {}\r\n\r\n",
                u8::from(shared.sampled),
                event.len()
            );
            let mut message = head.into_bytes();
            message.extend_from_slice(&event);
            stream.write_all(&message)?;
            shared.state.lock().expect("the state").sent.insert(id, Instant::now());
        } else {
            let payload = message[head_bytes(&message).unwrap_or(0)..].to_vec();
            let number = id.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
            assert!(
                number.is_some() && request.contains("/response "),
                "the handler reported an error: {}",
                String::from_utf8_lossy(&message)
            );
            let arrived = Instant::now();
            stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"status\":\"OK\"}\n")?;
            let mut state = shared.state.lock().expect("the state");
            // The thread that sent the event may not have stored the time yet.
            let sent = number.and_then(|number| state.sent.remove(&number)).unwrap_or(arrived);
            let stream = streamed.map(|rest: chunked::Rest| Stream {
                first_byte: rest.first_byte.map_or(Duration::ZERO, |first| first.saturating_duration_since(sent)),
                bytes: rest.bytes,
                is_intact: rest.is_intact,
            });
            state.responses.push_back(Response { payload, latency: arrived - sent, stream });
            drop(state);
            shared.changed.notify_all();
        }
    }
}

fn next(shared: &Shared) -> Option<(u64, Arc<[u8]>)> {
    let mut state = shared.state.lock().expect("the state");
    state.next_requests += 1;
    shared.changed.notify_all();
    let mut state =
        shared.changed.wait_while(state, |state| state.events.is_empty() && !state.closed).expect("the state");
    state.events.pop_front()
}

/// Reads one message; `None` at the end of the connection. A chunked body follows it.
pub fn read_message(stream: &mut impl Read, buffer: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    let mut chunk = vec![0; 256 << 10];
    let mut wanted = None;
    loop {
        wanted = wanted.or_else(|| message_bytes(buffer));
        if let Some(length) = wanted.filter(|length| buffer.len() >= *length) {
            let rest = buffer.split_off(length);
            return Ok(Some(std::mem::replace(buffer, rest)));
        }
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Ok(None);
        }
        buffer.extend_from_slice(&chunk[..read]);
    }
}

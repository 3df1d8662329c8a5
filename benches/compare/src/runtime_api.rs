//! The Runtime API of one environment: blocking, a thread for each connection.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use compare::{head_bytes, message_bytes};

/// The server's end of an environment.
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
    /// How often the next event has been asked for.
    asked: u64,
    events: VecDeque<(u64, Arc<[u8]>)>,
    next_id: u64,
    sent: HashMap<u64, Instant>,
    answers: VecDeque<Answer>,
    over: bool,
}

/// What the handler posted.
pub struct Answer {
    pub payload: Vec<u8>,
    /// From the event's last byte to the answer's last.
    pub latency: Duration,
}

const PATIENCE: Duration = Duration::from_secs(60);

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
                    // It ends with the handler.
                    let _ = serve(stream, &shared);
                });
            }
        });
        Self { address, shared }
    }

    /// Waits until the handler asks for its first event.
    pub fn wait_until_ready(&self) {
        let state = self.shared.state.lock().expect("the state");
        let (_state, waited) =
            self.shared.changed.wait_timeout_while(state, PATIENCE, |state| state.asked == 0).expect("the state");
        assert!(!waited.timed_out(), "the handler asked for no event in {PATIENCE:?}");
    }

    /// Sends events, at most `window` at once, and gives each answer to `look`.
    pub fn send(&self, events: impl Iterator<Item = Arc<[u8]>>, window: usize, mut look: impl FnMut(Answer)) {
        let mut events = events.peekable();
        let mut under_way = 0;
        let mut state = self.shared.state.lock().expect("the state");
        loop {
            while under_way < window
                && let Some(event) = events.next()
            {
                let id = state.next_id;
                state.next_id += 1;
                state.events.push_back((id, event));
                under_way += 1;
                self.shared.changed.notify_all();
            }
            if under_way == 0 {
                return;
            }
            let waited;
            (state, waited) = self
                .shared
                .changed
                .wait_timeout_while(state, PATIENCE, |state| state.answers.is_empty())
                .expect("the state");
            assert!(!waited.timed_out(), "no answer in {PATIENCE:?}");
            while let Some(answer) = state.answers.pop_front() {
                under_way -= 1;
                look(answer);
            }
        }
    }

    /// Sends one event.
    pub fn invoke(&self, event: Arc<[u8]>) -> Answer {
        let mut answer = None;
        self.send(std::iter::once(event), 1, |given| answer = Some(given));
        answer.expect("an answer")
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        if let Ok(mut state) = self.shared.state.lock() {
            state.over = true;
        }
        self.shared.changed.notify_all();
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some(message) = read_message(&mut stream, &mut buffer)? else { return Ok(()) };
        let request = std::str::from_utf8(&message[..head_bytes(&message).unwrap_or(0)]).unwrap_or("");
        let mut parts = request.split([' ', '/']);
        let id = parts.by_ref().skip_while(|part| *part != "invocation").nth(1).unwrap_or("");
        if id == "next" {
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
                "the handler failed: {}",
                String::from_utf8_lossy(&message)
            );
            let arrived = Instant::now();
            stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"status\":\"OK\"}\n")?;
            let mut state = shared.state.lock().expect("the state");
            // The thread that sent it may not have come round to saying so.
            let sent = number.and_then(|number| state.sent.remove(&number)).unwrap_or(arrived);
            state.answers.push_back(Answer { payload, latency: arrived - sent });
            drop(state);
            shared.changed.notify_all();
        }
    }
}

fn next(shared: &Shared) -> Option<(u64, Arc<[u8]>)> {
    let mut state = shared.state.lock().expect("the state");
    state.asked += 1;
    shared.changed.notify_all();
    let mut state =
        shared.changed.wait_while(state, |state| state.events.is_empty() && !state.over).expect("the state");
    state.events.pop_front()
}

/// Reads one message; chunked bodies, which lambda_runtime sends for what it streams only, are not understood.
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

//! Inputs -> records, on several threads.

use std::io::Read;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use memchr::memchr;

use crate::lines::input::{Block, Input, LINE_BYTES_MAX, count_lines};
use crate::lines::record::Sink;
use crate::lines::walk::Walker;
use crate::lines::wrapper::{Found, Wrapper};

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broken {
    /// The index of the input.
    pub input: usize,
    /// The number of the line, from 1.
    pub line: u64,
    /// The reason.
    pub reason: String,
}

/// A summary of the input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The lines of all inputs.
    pub lines: u64,
    /// The records.
    pub found: Found,
    /// The lines that could not be read.
    pub broken: u64,
    /// The first of them.
    pub first_broken: Option<Broken>,
    /// The inputs that could not be read to their ends, with the error.
    pub failed: Vec<(usize, String)>,
}

impl Summary {
    fn note(&mut self, input: usize, line: u64, reason: String) {
        self.broken += 1;
        let broken = Broken { input, line, reason };
        if self.first_broken.as_ref().is_none_or(|first| broken < *first) {
            self.first_broken = Some(broken);
        }
    }

    /// Adds what another thread has read.
    fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.found.exposures += other.found.exposures;
        self.found.conversions += other.found.conversions;
        self.found.accesses += other.found.accesses;
        self.broken += other.broken;
        self.first_broken = match (self.first_broken.take(), other.first_broken) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.failed.extend(other.failed);
        self.failed.sort();
    }
}

/// Whole lines, with the place of the first one.
struct Work {
    input: usize,
    first_line: u64,
    bytes: Vec<u8>,
}

/// Reads inputs in their order, and parses them on `threads` further threads. Each thread has a sink of its own, so what
/// they take must not depend on the order.
pub fn scan<'r, R: Read + 'r, S: Sink + Send>(
    inputs: impl Iterator<Item = R>,
    by: Option<&str>,
    threads: usize,
    new_sink: impl Fn() -> S,
) -> (Vec<S>, Summary) {
    let threads = threads.max(1);
    let (send, receive) = sync_channel::<Work>(threads);
    // Buffers come back, so that few are allocated.
    let (send_back, buffers) = sync_channel::<Vec<u8>>(2 * threads + 2);
    let receive = Mutex::new(receive);
    let mut sinks = Vec::with_capacity(threads + 1);
    let mut summary = Summary::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (receive, send_back, sink) = (&receive, send_back.clone(), new_sink());
                scope.spawn(move || {
                    let mut worker = Worker { wrapper: Wrapper::new(by), sink, summary: Summary::default() };
                    while let Some(work) = next(receive) {
                        worker.read(&work);
                        // A buffer too many is dropped.
                        drop(send_back.try_send(work.bytes));
                    }
                    (worker.sink, worker.summary)
                })
            })
            .collect();
        let mut worker = Worker { wrapper: Wrapper::new(by), sink: new_sink(), summary: Summary::default() };
        for (index, input) in inputs.enumerate() {
            let mut first_line = 1;
            let mut long_line = LongLine::default();
            let read = Input::new(input);
            let mut input = match read {
                Ok(input) => input,
                Err(error) => {
                    worker.summary.failed.push((index, error.to_string()));
                    continue;
                }
            };
            loop {
                match input.next(buffers.try_recv().unwrap_or_default()) {
                    Ok(None) => break,
                    Ok(Some(Block::Lines(bytes))) => {
                        let lines = count_lines(&bytes) + u64::from(bytes.last() != Some(&b'\n'));
                        worker.summary.lines += lines;
                        // A worker can only be gone if it panicked, which the join reports.
                        drop(send.send(Work { input: index, first_line, bytes }));
                        first_line += lines;
                    }
                    Ok(Some(Block::Part { bytes, is_last })) => {
                        long_line.read(&bytes, is_last, &mut worker, (index, first_line));
                        if is_last {
                            worker.summary.lines += 1;
                            first_line += 1;
                            long_line = LongLine::default();
                        }
                    }
                    Err(error) => worker.summary.failed.push((index, error.to_string())),
                }
            }
        }
        drop(send);
        sinks.push(worker.sink);
        summary.add(worker.summary);
        for thread in workers {
            match thread.join() {
                Ok((sink, part)) => {
                    sinks.push(sink);
                    summary.add(part);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    (sinks, summary)
}

fn next(receive: &Mutex<Receiver<Work>>) -> Option<Work> {
    receive.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

struct Worker<'s, S> {
    wrapper: Wrapper<'s>,
    sink: S,
    summary: Summary,
}

impl<S: Sink> Worker<'_, S> {
    fn read(&mut self, work: &Work) {
        let (mut rest, mut line) = (&*work.bytes, work.first_line);
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            if let Err(reason) = self.wrapper.read(&rest[..end], &mut self.sink, &mut self.summary.found) {
                self.summary.note(work.input, line, reason);
            }
            line += 1;
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
}

/// A line that is too long to be read as a whole.
#[derive(Default)]
struct LongLine {
    walker: Walker,
    text: Vec<u8>,
    is_broken: bool,
}

impl LongLine {
    fn read<S: Sink>(&mut self, bytes: &[u8], is_last: bool, worker: &mut Worker<'_, S>, (input, line): (usize, u64)) {
        self.text.extend_from_slice(bytes);
        let Worker { wrapper, sink, summary } = worker;
        self.walker.walk(&self.text, |part| {
            let (is_taken, outcome) = wrapper.read_part(part, sink, &mut summary.found);
            if let Err(reason) = outcome {
                summary.note(input, line, reason);
                self.is_broken = true;
            }
            is_taken
        });
        self.text.drain(..self.walker.discard());
        // Documents around events are long, and are not needed.
        while self.text.len() > LINE_BYTES_MAX && self.walker.forget_outermost() {
            self.text.drain(..self.walker.discard());
        }
        if self.text.len() > LINE_BYTES_MAX {
            // A string without end.
            *self = Self { is_broken: true, ..Self::default() };
            summary.note(input, line, format!("the line has a text of more than {} MB", LINE_BYTES_MAX >> 20));
        }
        if is_last && !self.text.trim_ascii_start().is_empty() && !self.is_broken {
            summary.note(input, line, "the line is cut off".to_owned());
        }
    }
}

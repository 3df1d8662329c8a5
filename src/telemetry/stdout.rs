//! Standard output as Lambda reads it: a pipe. When nobody reads it and it is full, lines are lost, not answers.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long a line waits for its reader. After it the lines are lost at once, until there is room again.
const WRITE_TIMEOUT: Duration = Duration::from_millis(100);

/// What a pipe that has room takes without waiting: on Linux it has room when a page is free
/// ([pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html)).
const PIECE: usize = 4096;

/// What this process writes its lines to.
pub(crate) static STDOUT: Lines = Lines::new();

/// A pipe that lines go to.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Nobody has read for a while.
    stalled: AtomicBool,
    /// A line has broken off in the middle.
    torn: AtomicBool,
    lost: AtomicU64,
}

impl Lines {
    const fn new() -> Self {
        Self { stalled: AtomicBool::new(false), torn: AtomicBool::new(false), lost: AtomicU64::new(0) }
    }

    /// How many lines have been lost and not told of, once lines get through again; else 0.
    pub(crate) fn lost(&self) -> u64 {
        if self.stalled.load(Ordering::Relaxed) { 0 } else { self.lost.load(Ordering::Relaxed) }
    }

    /// A line has said that so many were lost. If it was lost itself, or others were meanwhile, the next one says so again.
    pub(crate) fn acknowledge_lost(&self, lost: u64) {
        let _ = self.lost.compare_exchange(lost, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Writes a line, its end included, or loses it. The lock that `out` is under keeps lines apart.
    ///
    /// # Errors
    /// When `out` is closed.
    fn write(&self, mut line: &[u8], out: &mut (impl Write + AsFd)) -> io::Result<()> {
        if self.torn.load(Ordering::Relaxed) {
            if !self.has_room(out) {
                return self.lose();
            }
            out.write_all(b"\n")?;
            self.torn.store(false, Ordering::Relaxed);
        }
        let mut begun = false;
        while !line.is_empty() {
            if !self.has_room(out) {
                self.torn.store(begun, Ordering::Relaxed);
                return self.lose();
            }
            let (piece, rest) = line.split_at(line.len().min(PIECE));
            // Standard output keeps what has no line's end yet: out with it while there is room.
            out.write_all(piece)?;
            out.flush()?;
            (line, begun) = (rest, true);
        }
        Ok(())
    }

    fn lose(&self) -> io::Result<()> {
        self.lost.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn has_room(&self, out: &impl AsFd) -> bool {
        let wait = if self.stalled.load(Ordering::Relaxed) { Duration::ZERO } else { WRITE_TIMEOUT };
        let mut polled = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
        // A signal in between is no reason to lose a line, and neither is what cannot be polled.
        let has_room = match poll(&mut polled, timeout) {
            Ok(ready) => ready > 0,
            Err(Errno::EINTR) => poll(&mut polled, timeout).is_ok_and(|ready| ready > 0),
            Err(_) => true,
        };
        self.stalled.store(!has_room, Ordering::Relaxed);
        has_room
    }
}

/// Standard output for whoever writes whole lines, each with one write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        STDOUT.write(line, &mut io::stdout().lock()).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read};

    /// More than any pipe holds.
    const MANY: usize = 2_000;

    #[test]
    fn a_line_that_nobody_reads_is_lost_and_counted_and_nobody_waits_for_the_next() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let (lines, line) = (Lines::new(), [&[b'x'; 999][..], b"\n"].concat());
        for _ in 0..MANY {
            lines.write(&line, &mut writer).unwrap();
        }
        assert_eq!(lines.lost(), 0, "it cannot be told yet");
        let lost = lines.lost.load(Ordering::Relaxed);
        assert!(lost > 0 && lost < MANY as u64, "{lost}");

        let whole = (MANY as u64 - lost) as usize * line.len();
        let mut read = vec![0; whole];
        reader.read_exact(&mut read).unwrap();
        assert!(read.chunks(line.len()).all(|chunk| chunk == line), "whole lines, one after another");

        lines.write(&line, &mut writer).unwrap();
        assert_eq!(lines.lost(), lost);
        lines.lose().unwrap();
        lines.acknowledge_lost(lost);
        assert_eq!(lines.lost(), lost + 1, "the line that said so was lost itself");
        lines.acknowledge_lost(lost + 1);
        assert_eq!(lines.lost(), 0, "told once");
    }

    #[test]
    fn a_line_longer_than_a_pipe_gets_through_to_a_reader_and_a_torn_one_ends_before_the_next() {
        let (reader, mut writer) = io::pipe().unwrap();
        let lines = Lines::new();
        let long = [&vec![b'x'; 300_000][..], b"\n"].concat();
        lines.write(&long, &mut writer).unwrap();
        assert!(lines.torn.load(Ordering::Relaxed), "nobody read the rest");

        let reading =
            std::thread::spawn(move || BufReader::new(reader).lines().map(Result::unwrap).collect::<Vec<_>>());
        while lines.lost() == 0 {
            lines.write(b"next\n", &mut writer).unwrap();
        }
        lines.write(&long, &mut writer).unwrap();
        drop(writer);
        let read = reading.join().unwrap();
        assert!(read[0].bytes().all(|byte| byte == b'x') && read[0].len() < 300_000);
        assert!(read[1..read.len() - 1].iter().all(|line| line == "next"), "{read:?}");
        assert_eq!(read.last().unwrap().len(), 300_000);
    }

    #[test]
    fn what_is_no_pipe_is_written_to_as_ever() {
        let mut file = tempfile::tempfile().unwrap();
        Lines::new().write(b"a line\n", &mut file).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        assert_eq!(io::read_to_string(file).unwrap(), "a line\n");
    }
}

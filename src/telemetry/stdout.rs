//! Standard output, a pipe in Lambda. If it is full because its reader stalls, lines are dropped instead of delaying
//! responses.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Timeout of a write. After it, lines are dropped at once until the pipe has room again.
const WRITE_TIMEOUT: Duration = Duration::from_millis(100);

/// How many bytes a pipe that has room accepts without blocking: on Linux it has room if a page is free
/// ([pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html)).
const CHUNK_BYTES: usize = 4096;

/// The state of this process's standard output.
pub(crate) static STDOUT: LinePipe = LinePipe::new();

/// The state of a pipe that receives lines.
#[derive(Debug)]
pub(crate) struct LinePipe {
    /// Whether the last write timed out.
    stalled: AtomicBool,
    /// Whether the last line was cut off.
    torn: AtomicBool,
    /// Lines that were dropped and not yet reported.
    lost: AtomicU64,
}

impl LinePipe {
    const fn new() -> Self {
        Self { stalled: AtomicBool::new(false), torn: AtomicBool::new(false), lost: AtomicU64::new(0) }
    }

    /// The number of dropped lines not yet reported; 0 while the pipe is stalled.
    pub(crate) fn lost(&self) -> u64 {
        if self.stalled.load(Ordering::Relaxed) { 0 } else { self.lost.load(Ordering::Relaxed) }
    }

    /// Acknowledges that `lost` dropped lines were reported. If the counter has moved meanwhile, nothing is reset and
    /// the next line reports them again.
    pub(crate) fn acknowledge_lost(&self, lost: u64) {
        let _ = self.lost.compare_exchange(lost, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Writes a line, which includes its newline, or drops it. The caller holds the lock of `out`, which keeps lines
    /// apart.
    ///
    /// # Errors
    /// If `out` is closed.
    fn write(&self, mut line: &[u8], out: &mut (impl Write + AsFd)) -> io::Result<()> {
        if self.torn.load(Ordering::Relaxed) {
            if !self.has_room(out) {
                return self.count_lost();
            }
            out.write_all(b"\n")?;
            self.torn.store(false, Ordering::Relaxed);
        }
        let mut started = false;
        while !line.is_empty() {
            if !self.has_room(out) {
                self.torn.store(started, Ordering::Relaxed);
                return self.count_lost();
            }
            let (chunk, rest) = line.split_at(line.len().min(CHUNK_BYTES));
            // Standard output buffers text up to a newline. Flush while the pipe has room.
            out.write_all(chunk)?;
            out.flush()?;
            (line, started) = (rest, true);
        }
        Ok(())
    }

    fn count_lost(&self) -> io::Result<()> {
        self.lost.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn has_room(&self, out: &impl AsFd) -> bool {
        let wait = if self.stalled.load(Ordering::Relaxed) { Duration::ZERO } else { WRITE_TIMEOUT };
        let mut polled = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
        // Neither a signal during the poll nor a file that cannot be polled drops a line.
        let has_room = match poll(&mut polled, timeout) {
            Ok(ready) => ready > 0,
            Err(Errno::EINTR) => poll(&mut polled, timeout).is_ok_and(|ready| ready > 0),
            Err(_) => true,
        };
        self.stalled.store(!has_room, Ordering::Relaxed);
        has_room
    }
}

/// A writer to standard output. Each write must be a whole line.
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

    /// More lines than a pipe holds.
    const MANY: usize = 2_000;

    #[test]
    fn unread_lines_are_dropped_and_counted_without_blocking() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let (lines, line) = (LinePipe::new(), [&[b'x'; 999][..], b"\n"].concat());
        for _ in 0..MANY {
            lines.write(&line, &mut writer).unwrap();
        }
        assert_eq!(lines.lost(), 0, "the pipe is stalled: nothing can be reported");
        let lost = lines.lost.load(Ordering::Relaxed);
        assert!(lost > 0 && lost < MANY as u64, "{lost}");

        let whole = (MANY as u64 - lost) as usize * line.len();
        let mut read = vec![0; whole];
        reader.read_exact(&mut read).unwrap();
        assert!(read.chunks(line.len()).all(|chunk| chunk == line), "a line is not whole");

        lines.write(&line, &mut writer).unwrap();
        assert_eq!(lines.lost(), lost);
        lines.count_lost().unwrap();
        lines.acknowledge_lost(lost);
        assert_eq!(lines.lost(), lost + 1, "the line that reported them was dropped too");
        lines.acknowledge_lost(lost + 1);
        assert_eq!(lines.lost(), 0, "reported twice");
    }

    #[test]
    fn a_long_line_is_written_whole_and_a_torn_one_terminated() {
        let (reader, mut writer) = io::pipe().unwrap();
        let lines = LinePipe::new();
        let long = [&vec![b'x'; 300_000][..], b"\n"].concat();
        lines.write(&long, &mut writer).unwrap();
        assert!(lines.torn.load(Ordering::Relaxed), "the pipe held the whole line");

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
    fn a_file_is_written_like_a_pipe() {
        let mut file = tempfile::tempfile().unwrap();
        LinePipe::new().write(b"a line\n", &mut file).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        assert_eq!(io::read_to_string(file).unwrap(), "a line\n");
    }
}

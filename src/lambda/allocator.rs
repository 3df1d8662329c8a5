//! How glibc's allocator is set for a cache of large bodies.

/// From this size on, in bytes, a block is mapped by itself, and goes back to the system when it is freed: half of glibc's own
/// start value, which else grows to 32 MiB with the first large block that is freed
/// ([mallopt(3)](https://man7.org/linux/man-pages/man3/mallopt.3.html)).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES: libc::c_int = 64 * 1024;

/// So many free bytes are kept at the end of the heap, so that a miss does not hand back what the next one needs.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: libc::c_int = 256 * 1024;

/// Keeps bodies that come and go out of the heap: in it each leaves a hole that the next does not fit, and the process
/// holds a quarter more than the cache does.
///
/// To be called before there are other threads. `false` where it could not be set, as elsewhere than under glibc: all works as
/// well, with more memory.
#[allow(unsafe_code)]
pub(crate) fn map_large_blocks() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two numbers and no pointers, and locks the allocator's state for itself. What it is not safe
    // against is the allocator's own first call in another thread (MT-Unsafe init); there is none yet, and this thread's
    // has been long ago. A value that it does not take changes nothing.
    let set = unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES) == 1
            && libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES) == 1
    };
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let set = false;
    set
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    fn resident_kb() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Tells the test that it has the process to itself: what others allocate is not its business.
    const ALONE: &str = "NEAREDGE_TEST_ALONE";

    #[test]
    fn freed_large_blocks_return_to_the_system() {
        if std::env::var_os(ALONE).is_none() {
            let test = "lambda::allocator::tests::freed_large_blocks_return_to_the_system";
            let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
            let output = alone.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        assert!(map_large_blocks());
        let before = resident_kb();
        let mut kept = Vec::new();
        for turn in 0..40 {
            // The second turn's blocks would come from the heap if the threshold had grown with the first's end.
            drop(std::hint::black_box(vec![1_u8; 600_000 + turn * 10_000]));
            kept.push(vec![1_u8; 1_000]);
        }
        let (mut large, mut between) = (Vec::new(), Vec::new());
        for _ in 0..40 {
            large.push(vec![1_u8; 500_000]);
            between.push(vec![1_u8; 1_000]);
        }
        drop(large);
        let grown = resident_kb().saturating_sub(before);
        assert!(grown < 10_000, "{grown} kB are held, of 20,000 that were freed");
        assert_eq!(kept.len(), between.len());
    }

    /// Run on valgrind's processor too (.ci/memory.sh), with glibc's own allocator: memcheck and the sanitizers put theirs in its place,
    /// and mallopt with it.
    #[test]
    fn blocks_keep_their_content_across_the_setting() {
        let before: Vec<Vec<u8>> = sizes().map(|size| vec![7; size]).collect();
        assert!(map_large_blocks());
        let after: Vec<Vec<u8>> = sizes().map(|size| vec![9; size]).collect();
        for (before, after) in before.iter().zip(&after) {
            assert!(before.iter().all(|byte| *byte == 7) && after.iter().all(|byte| *byte == 9));
        }
    }

    fn sizes() -> impl Iterator<Item = usize> {
        (0..21).map(|power| 1 << power)
    }
}

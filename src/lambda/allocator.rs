//! Settings of glibc's allocator for a cache of large bodies.

/// Blocks of this size or larger are mapped individually and return to the system when they are freed.
///
/// Half of glibc's initial value. Without a setting, that value grows with each freed mapped block, up to 32 MiB
/// ([mallopt(3)](https://man7.org/linux/man-pages/man3/mallopt.3.html)).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MMAP_THRESHOLD_BYTES: libc::c_int = 64 * 1024;

/// The heap keeps up to this many free bytes at its end, so that a miss does not return memory that the next one needs.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRIM_THRESHOLD_BYTES: libc::c_int = 256 * 1024;

/// Makes the allocator map large blocks individually. In the heap, evicted bodies leave holes that new bodies do not
/// fit, and the process uses a quarter more memory than the cache.
///
/// Call it before other threads start. Returns `false` if the settings were not applied, as on systems without glibc:
/// everything still works, with more memory.
#[allow(unsafe_code)]
pub(crate) fn map_large_blocks() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two numbers and no pointers, and locks the allocator's state itself. It is unsafe only
    // during the allocator's initialization by another thread (MT-Unsafe init): no other thread exists yet, and this
    // thread has allocated before. A rejected value changes nothing.
    let set = unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES) == 1
            && libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES) == 1
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

    /// Set in the child process that runs only this test, without allocations of other tests.
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
            // Without the setting, freeing the first block would raise the threshold, and the heap would serve the
            // others.
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
        assert!(grown < 10_000, "{grown} kB of the 20,000 kB freed are still resident");
        assert_eq!(kept.len(), between.len());
    }

    /// Runs on valgrind's processor too (.ci/memory.sh), with glibc's allocator: memcheck and the sanitizers replace
    /// it, including mallopt.
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

//! The limit of open file descriptors, of which every connection needs one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors besides connections to the Runtime API and to S3: standard streams, the async runtime, signals, the
/// extension, the span exporter.
const RESERVED: u64 = 24;

/// The least number of connections to S3 that a function can work with.
const S3_CONNECTIONS_MIN: u64 = 2;

/// The most connections to S3 at once, however many descriptors there are.
const S3_CONNECTIONS_MAX: u64 = 1024;

/// Raises the soft limit to the hard limit, and returns it. `u64::MAX` if the system does not say.
pub(crate) fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// How many connections to S3 may be open at once, so that every worker keeps its connection to the Runtime API.
///
/// # Errors
/// If the limit is too low for the concurrency: one line.
pub(crate) fn s3_connections(limit: u64, concurrency: u32) -> Result<usize, String> {
    let needed = RESERVED + u64::from(concurrency) + S3_CONNECTIONS_MIN;
    let Some(spare) = limit.checked_sub(needed) else {
        return Err(format!(
            "AWS_LAMBDA_MAX_CONCURRENCY={concurrency} needs {needed} open file descriptors, but the limit is {limit}: \
             lower the concurrency or raise the limit"
        ));
    };
    Ok((S3_CONNECTIONS_MIN + spare).min(S3_CONNECTIONS_MAX) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_what_the_limit_leaves() {
        assert_eq!(s3_connections(1024, 400), Ok(600));
        assert_eq!(s3_connections(u64::MAX, 1), Ok(1024));
        assert_eq!(s3_connections(42, 16), Ok(2));
    }

    #[test]
    fn a_limit_that_is_too_low_is_an_error_with_the_number() {
        let error = s3_connections(40, 16).unwrap_err();
        assert!(error.contains("needs 42 open file descriptors, but the limit is 40"), "{error}");
    }
}

//! The requested host, which is read only if a rule needs it.

use std::borrow::Cow;
use std::cell::OnceCell;

/// The host of a request.
pub(super) struct RequestedHost<'a> {
    read: &'a dyn Fn() -> Cow<'a, str>,
    name: OnceCell<Cow<'a, str>>,
}

impl<'a> RequestedHost<'a> {
    pub(super) fn new(read: &'a dyn Fn() -> Cow<'a, str>) -> Self {
        Self { read, name: OnceCell::new() }
    }

    /// The host in lower case, without its port.
    pub(super) fn name(&self) -> &str {
        self.name.get_or_init(|| normalized((self.read)()))
    }
}

fn normalized(host: Cow<'_, str>) -> Cow<'_, str> {
    let end = host.rfind(':').filter(|colon| host[colon + 1..].bytes().all(|byte| byte.is_ascii_digit()));
    let mut host = match (host, end) {
        (host, None) => host,
        (Cow::Borrowed(host), Some(end)) => Cow::Borrowed(&host[..end]),
        (Cow::Owned(mut host), Some(end)) => {
            host.truncate(end);
            Cow::Owned(host)
        }
    };
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        host.to_mut().make_ascii_lowercase();
    }
    host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_compared_in_lower_case_without_port() {
        for (host, expected) in
            [("a.com", "a.com"), ("A.com:443", "a.com"), ("a.com:", "a.com"), ("[::1]", "[::1]"), ("é:x", "é:x")]
        {
            assert_eq!(RequestedHost::new(&|| host.into()).name(), expected);
            assert_eq!(RequestedHost::new(&|| host.to_owned().into()).name(), expected);
        }
    }
}

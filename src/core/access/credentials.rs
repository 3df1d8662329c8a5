//! The parts of a request that access control reads.

use std::borrow::Cow;

use smallvec::SmallVec;

/// The values of all cookies of one name.
pub type CookieValues<'a> = SmallVec<[&'a str; 2]>;

/// The parts of a request that access control reads, each when a rule needs it.
pub trait Credentials {
    /// The value of a header, by its name in lower case; repeated fields joined with commas.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;

    /// The values of all cookies of this name, in the request's order.
    fn cookies(&self, name: &str) -> CookieValues<'_>;

    /// The query string as sent, without its `?`.
    fn query(&self) -> &str;

    /// The absolute URL of the request if the client navigates to a page, so that a login page can return to it.
    ///
    /// `None` for other requests: a script or an image cannot log in, and gets 401 instead of a redirect.
    fn page_url(&self) -> Option<Cow<'_, str>>;
}

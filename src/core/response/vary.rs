//! Vary: the request header fields that select the response (RFC 9110 §12.5.5).

use crate::object::Copyable;

/// The values of Vary, built once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vary([[String; 3]; 2]);

/// A request header field that selects among the copies of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegotiatedField {
    /// None: the object has no copies.
    None,
    /// Accept-Encoding.
    AcceptEncoding,
    /// Accept.
    Accept,
}

/// Which copies of objects may be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Negotiation {
    /// Copies in content codings that the function makes.
    pub made: bool,
    /// Uploaded copies in content codings.
    pub uploaded: bool,
    /// Uploaded images in other formats.
    pub formats: bool,
}

impl Negotiation {
    /// The field that selects among the copies of an object.
    pub fn field(self, copyable: Copyable) -> NegotiatedField {
        match copyable {
            Copyable::Text { may_transform } if self.uploaded || self.made && may_transform => {
                NegotiatedField::AcceptEncoding
            }
            Copyable::Image if self.formats => NegotiatedField::Accept,
            _ => NegotiatedField::None,
        }
    }

    /// Whether uploaded copies may be sent.
    pub fn has_uploaded(self) -> bool {
        self.uploaded || self.formats
    }

    /// Whether any copies may be sent.
    pub fn is_enabled(self) -> bool {
        self != Self::default()
    }
}

impl Vary {
    /// The values for responses that `fields` select in any case, separated by commas.
    pub fn new(fields: &str) -> Self {
        let has_accept = fields.split(',').any(|field| field.trim_ascii() == "accept");
        let accept = if has_accept { fields.to_owned() } else { format!("{fields}, accept") };
        let negotiated = [fields.to_owned(), format!("{fields}, accept-encoding"), accept];
        let with_cookie = negotiated.clone().map(|fields| format!("{fields}, cookie"));
        Self([negotiated, with_cookie])
    }

    /// The value for a response that may depend on cookies, and on a negotiated field.
    pub fn value(&self, has_cookie: bool, negotiated: NegotiatedField) -> &str {
        &self.0[usize::from(has_cookie)][negotiated as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vary_names_each_field_once() {
        let value = |fields, has_cookie, negotiated| Vary::new(fields).value(has_cookie, negotiated).to_owned();
        assert_eq!(value("a, b", false, NegotiatedField::None), "a, b");
        assert_eq!(value("a, b", true, NegotiatedField::None), "a, b, cookie");
        assert_eq!(value("a", false, NegotiatedField::AcceptEncoding), "a, accept-encoding");
        assert_eq!(value("a", true, NegotiatedField::Accept), "a, accept, cookie");
        assert_eq!(value("a, accept", true, NegotiatedField::Accept), "a, accept, cookie");
    }

    #[test]
    fn only_enabled_copies_are_negotiated() {
        let (made, uploaded, formats) = (true, true, true);
        let field = |negotiation: Negotiation, copyable| negotiation.field(copyable);
        let (free, fixed) = (Copyable::Text { may_transform: true }, Copyable::Text { may_transform: false });
        let only_made = Negotiation { made, ..Negotiation::default() };
        assert_eq!(field(only_made, free), NegotiatedField::AcceptEncoding);
        assert_eq!(field(only_made, fixed), NegotiatedField::None);
        assert_eq!(field(only_made, Copyable::Image), NegotiatedField::None);
        assert_eq!(field(Negotiation { uploaded, ..Negotiation::default() }, fixed), NegotiatedField::AcceptEncoding);
        assert_eq!(field(Negotiation { formats, ..Negotiation::default() }, Copyable::Image), NegotiatedField::Accept);
        assert_eq!(field(Negotiation::default(), free), NegotiatedField::None);
    }
}

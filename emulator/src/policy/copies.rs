//! Which copies of objects the function sends, by its settings.

/// Which copies of objects the function sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// Those in content codings, which Accept-Encoding selects: `compress` or `precompressed` is not `off`.
    pub codings: bool,
    /// Images in other formats, which Accept selects: `formats` is set.
    pub formats: bool,
}

impl Default for Copies {
    fn default() -> Self {
        Self { codings: true, formats: false }
    }
}

impl Copies {
    /// The settings of the function are unknown: it may send none.
    pub const UNKNOWN: Self = Self { codings: false, formats: false };

    /// Reads the function's settings; `setting` returns a setting by its name.
    pub fn from_settings(setting: impl Fn(&str) -> Option<String>) -> Self {
        let is_on = |name: &str, default: bool| match setting(name).as_deref().map(str::trim) {
            None | Some("") => default,
            Some(value) => value != "off",
        };
        Self { codings: is_on("compress", true) || is_on("precompressed", false), formats: is_on("formats", false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_made_unless_they_are_off() {
        let of = |set: &[(&str, &str)]| {
            Copies::from_settings(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()))
        };
        assert_eq!(of(&[]), Copies::default());
        assert_eq!(of(&[("compress", "off")]), Copies { codings: false, formats: false });
        assert_eq!(of(&[("compress", "off"), ("precompressed", "br")]), Copies { codings: true, formats: false });
        assert_eq!(of(&[("formats", "avif")]), Copies { codings: true, formats: true });
    }
}

//! The settings of copies: `compress`, `precompressed` and `formats`.

use nearedge_core::object::CopyKind;

use crate::config::reader::Reader;
use crate::storage::copies::CopiesConfig;

/// The codings in which the function makes copies by default.
const MADE: [CopyKind; 2] = [CopyKind::Br, CopyKind::Gzip];

/// The memory with which a function has a whole core, in bytes
/// ([memory and computing power](https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)).
const BYTES_PER_CORE: u64 = 1769 << 20;

impl<E: Fn(&str) -> Option<String>> Reader<'_, E> {
    /// The settings of copies. A function without a cache makes none and sends none.
    pub(super) fn copies(&mut self, memory_bytes: u64) -> CopiesConfig {
        let made = self.kinds("compress", &MADE).unwrap_or_else(|| MADE.to_vec());
        let uploaded = self.kinds("precompressed", &[CopyKind::Br, CopyKind::Zstd, CopyKind::Gzip]).unwrap_or_default();
        let formats = self.kinds("formats", &[CopyKind::Avif, CopyKind::Webp]).unwrap_or_default();
        let cpu_millis = u32::try_from(memory_bytes * 1000 / BYTES_PER_CORE).unwrap_or(u32::MAX);
        CopiesConfig { made, uploaded, formats, cpu_millis }
    }

    /// A list of kinds, or `off`; `None` if it is not set or invalid.
    fn kinds(&mut self, setting: &'static str, known: &[CopyKind]) -> Option<Vec<CopyKind>> {
        let text = self.text(setting)?;
        if text == "off" {
            return Some(Vec::new());
        }
        let names = || known.iter().map(|kind| kind.name());
        let mut kinds: Vec<CopyKind> = Vec::new();
        for name in text.split(',').map(str::trim) {
            match known.iter().find(|kind| kind.name() == name) {
                Some(kind) if !kinds.contains(kind) => kinds.push(*kind),
                Some(_) => self.reject(setting, format!("names {name} twice: name each once")),
                None => {
                    let all = names().collect::<Vec<_>>().join(",");
                    self.reject(setting, format!("contains {name:?}: use a list of {all}, or off"));
                }
            }
        }
        Some(kinds)
    }
}

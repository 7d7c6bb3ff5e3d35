//! The files of the web console, embedded in the binary: what a browser loads from `/ui`.
//!
//! Plain HTML, style sheets and ES modules, used as they are; nothing builds them. They hold no
//! data. All of it is asked for by the page, through the interfaces that everybody else uses and
//! with the same checks, so this module decides nothing and knows nothing of the state. Begin
//! reading the console with `assets/main.js`.

use std::sync::OnceLock;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Bytes of the digest that stand in an entity tag.
const TAG_BYTES: usize = 12;

/// One file.
#[derive(Debug)]
pub struct Asset {
    /// Path below `/ui/`.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// As it is.
    pub plain: &'static [u8],
    packed: OnceLock<Packed>,
}

/// What is computed once, for the first browser that asks.
#[derive(Debug)]
struct Packed {
    gzip: Option<Bytes>,
    tag: String,
}

impl Asset {
    const fn new(path: &'static str, content_type: &'static str, plain: &'static [u8]) -> Self {
        Self { path, content_type, plain, packed: OnceLock::new() }
    }

    fn packed(&'static self, gzip: fn(&[u8]) -> Option<Vec<u8>>) -> &'static Packed {
        self.packed.get_or_init(|| {
            let digest = Sha256::digest(self.plain);
            let digits = digest[..TAG_BYTES].iter().map(|byte| format!("{byte:02x}"));
            Packed {
                gzip: gzip(self.plain).map(Bytes::from),
                tag: format!("\"{}\"", digits.collect::<String>()),
            }
        })
    }

    /// Its entity tag, quotes included: another content has another one.
    pub fn tag(&'static self, gzip: fn(&[u8]) -> Option<Vec<u8>>) -> &'static str {
        &self.packed(gzip).tag
    }

    /// Compressed by `gzip`, which is asked once; `None` if that could not be done.
    pub fn gzip(&'static self, gzip: fn(&[u8]) -> Option<Vec<u8>>) -> Option<Bytes> {
        self.packed(gzip).gzip.clone()
    }
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One line a file; the path below `/ui/` is the path below `assets/`.
macro_rules! assets {
    ($($content_type:ident $path:literal,)*) => {
        [$(Asset::new($path, $content_type, include_bytes!(concat!("assets/", $path)))),*]
    };
}

/// Every file of the console.
pub static ASSETS: [Asset; 25] = assets! {
    HTML "index.html",
    SVG "icon.svg",
    CSS "base.css",
    CSS "frame.css",
    CSS "parts.css",
    SCRIPT "alarms.js",
    SCRIPT "api.js",
    SCRIPT "dialog.js",
    SCRIPT "dom.js",
    SCRIPT "feed.js",
    SCRIPT "format.js",
    SCRIPT "main.js",
    SCRIPT "metrics.js",
    SCRIPT "parts.js",
    SCRIPT "slots.js",
    SCRIPT "store.js",
    SCRIPT "subjects.js",
    SCRIPT "theme.js",
    SCRIPT "pages/events.js",
    SCRIPT "pages/kvrocks-actions.js",
    SCRIPT "pages/kvrocks.js",
    SCRIPT "pages/operations.js",
    SCRIPT "pages/overview.js",
    SCRIPT "pages/pool.js",
    SCRIPT "pages/undermoon.js",
};

/// The file at a path below `/ui/`; the page itself at the empty one.
#[must_use]
pub fn find(path: &str) -> Option<&'static Asset> {
    let path = if path.is_empty() { "index.html" } else { path };
    ASSETS.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn names(dir: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            match entry.file_type().unwrap().is_dir() {
                true => names(&entry.path(), &format!("{name}/"), found),
                false => drop(found.insert(name)),
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let mut there = BTreeSet::new();
        names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui/assets"), "", &mut there);
        let served: BTreeSet<String> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
        assert_eq!(served, there);
    }

    /// What the content security policy would stop in a browser, found before one is asked.
    #[test]
    fn nothing_is_inline_or_from_elsewhere() {
        for asset in &ASSETS {
            let text = String::from_utf8_lossy(asset.plain);
            let namespace = "http://www.w3.org/2000/svg";
            let text = text.replace(namespace, "");
            for word in ["http://", "https://", "innerHTML", "outerHTML", "insertAdjacentHTML"] {
                assert!(!text.contains(word), "{}: {word}", asset.path);
            }
            for word in ["style=", "<style", " onclick=", "javascript:", "eval("] {
                assert!(!text.contains(word), "{}: {word}", asset.path);
            }
        }
    }

    #[test]
    fn tags_tell_contents_apart() {
        let tags: BTreeSet<&str> = ASSETS.iter().map(|asset| asset.tag(|_| None)).collect();
        assert_eq!(tags.len(), ASSETS.len());
    }
}

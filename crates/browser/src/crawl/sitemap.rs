//! Sitemaps (<https://www.sitemaps.org/protocol.html>): the addresses that a site lists of itself.

use std::{borrow::Cow, io::Read};

use flate2::read::GzDecoder;

/// Addresses of one sitemap that are read: what the protocol allows.
const LOCATIONS_MAX: usize = 50_000;
/// Bytes of an address that counts.
const LOCATION_SIZE_MAX: usize = 4096;
/// Bytes of an unpacked sitemap: what the protocol allows.
const UNPACKED_SIZE_MAX: u64 = 50 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The addresses of a sitemap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sitemap {
    /// They are of further sitemaps.
    pub(crate) is_index: bool,
    /// The addresses, in their order.
    pub(crate) locations: Vec<String>,
}

impl Sitemap {
    /// Reads a sitemap, packed or not. What is none has no addresses.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let unpacked = if bytes.starts_with(&GZIP) {
            let mut unpacked = Vec::new();
            // What was read before an error counts.
            let _ = GzDecoder::new(bytes).take(UNPACKED_SIZE_MAX).read_to_end(&mut unpacked);
            Cow::Owned(unpacked)
        } else {
            Cow::Borrowed(bytes)
        };
        let text = String::from_utf8_lossy(&unpacked);
        let mut sitemap = Self { is_index: text.contains("<sitemapindex"), locations: Vec::new() };
        let mut rest = text.as_ref();
        while sitemap.locations.len() < LOCATIONS_MAX
            && let Some((_, after)) = rest.split_once("<loc")
        {
            rest = after;
            let Some((attributes, content)) = after.split_once('>') else { break };
            // `<loc>` and no other element that is named like it.
            if !attributes.trim().is_empty() {
                continue;
            }
            let Some((location, after)) = content.split_once("</loc>") else { break };
            rest = after;
            let location = plain(location.trim());
            if !location.is_empty() && location.len() <= LOCATION_SIZE_MAX {
                sitemap.locations.push(location);
            }
        }
        sitemap
    }
}

/// The text of an element.
fn plain(text: &str) -> String {
    if let Some(literal) = text.strip_prefix("<![CDATA[").and_then(|text| text.strip_suffix("]]>")) {
        return literal.trim().to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let entity = after.split_once(';').and_then(|(name, after)| Some((character(name)?, after)));
        let (character, after) = entity.unwrap_or(('&', after));
        plain.push(character);
        rest = after;
    }
    plain.push_str(rest);
    plain
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    const SITEMAP: &str =
        "<?xml version=\"1.0\"?><urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">
        <url><loc> http://a.test/?x=1&amp;y=&#50; </loc><lastmod>2026-01-01</lastmod></url>
        <url><loc><![CDATA[http://a.test/b?c&d]]></loc><location>no</location></url></urlset>";

    #[test]
    fn addresses_are_read_as_xml_writes_them() {
        let sitemap = Sitemap::parse(SITEMAP.as_bytes());
        assert_eq!(sitemap.locations, ["http://a.test/?x=1&y=2", "http://a.test/b?c&d"]);
        assert!(!sitemap.is_index);
        assert!(Sitemap::parse(b"<sitemapindex><sitemap><loc>/s</loc></sitemap></sitemapindex>").is_index);
    }

    #[test]
    fn packed_sitemaps_are_unpacked() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(SITEMAP.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(Sitemap::parse(&packed), Sitemap::parse(SITEMAP.as_bytes()));
        assert!(Sitemap::parse(&packed[..12]).locations.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            Sitemap::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read(paths in prop::collection::vec("[a-z0-9&<>'\"=?é]{1,20}", 0..10)) {
            let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let urls: Vec<String> = paths.iter().map(|path| format!("<url><loc>{}</loc></url>", escape(path))).collect();
            let sitemap = Sitemap::parse(format!("<urlset>{}</urlset>", urls.concat()).as_bytes());
            prop_assert_eq!(sitemap.locations, paths);
        }
    }
}

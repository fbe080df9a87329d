//! One rendered sample, ready to be served: what a scraper asked for is made at its first asking and then shared.

use std::io::Write;
use std::sync::OnceLock;

use bytes::Bytes;

use super::openmetrics;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// As `Content-Encoding` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

#[derive(Debug, Default)]
struct Encoded {
    gzip: OnceLock<Bytes>,
    zstd: OnceLock<Bytes>,
}

/// The exposition of one sample in every form that a scraper may ask for.
#[derive(Debug, Default)]
pub struct Page {
    text: Bytes,
    openmetrics: OnceLock<Bytes>,
    encoded: [Encoded; 2],
}

impl Page {
    pub(super) fn of(text: &[u8]) -> Self {
        Self { text: Bytes::copy_from_slice(text), ..Self::default() }
    }

    /// The exposition without encoding.
    pub fn plain(&self, format: Format) -> &Bytes {
        match format {
            Format::Text => &self.text,
            Format::OpenMetrics => self.openmetrics.get_or_init(|| openmetrics::from_text(&self.text).into()),
        }
    }

    /// What to answer; cheap after the first time.
    pub fn get(&self, format: Format, encoding: Encoding) -> Bytes {
        let plain = self.plain(format);
        let [text, openmetrics] = &self.encoded;
        let encoded = match format {
            Format::Text => text,
            Format::OpenMetrics => openmetrics,
        };
        match encoding {
            Encoding::Identity => plain.clone(),
            Encoding::Gzip => encoded.gzip.get_or_init(|| gzip(plain).into()).clone(),
            Encoding::Zstd => encoded.zstd.get_or_init(|| zstd(plain).into()).clone(),
        }
    }
}

/// The fastest level: a page is packed once a sample and read a few times.
fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::with_capacity(plain.len() / 4), flate2::Compression::fast());
    // Into memory nothing can fail; were it to, the scraper would find a broken stream and say so.
    drop(packed.write_all(plain));
    packed.finish().unwrap_or_default()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(plain, 1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn every_form_holds_the_same_exposition() {
        let text = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n".repeat(40);
        let page = Page::of(text.as_bytes());
        for format in [Format::Text, Format::OpenMetrics] {
            let plain = page.get(format, Encoding::Identity);
            assert_eq!(plain.ends_with(b"# EOF\n"), format == Format::OpenMetrics);
            let mut unpacked = String::new();
            flate2::read::GzDecoder::new(&page.get(format, Encoding::Gzip)[..]).read_to_string(&mut unpacked).expect("gzip");
            assert_eq!(unpacked.as_bytes(), plain);
            assert_eq!(zstd::bulk::decompress(&page.get(format, Encoding::Zstd), 1 << 20).expect("zstd"), plain);
            assert!(page.get(format, Encoding::Zstd).len() < plain.len() / 4);
        }
    }

    #[test]
    fn a_form_is_made_once() {
        let page = Page::of(b"a 1\n");
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
            let (first, second) = (page.get(Format::OpenMetrics, encoding), page.get(Format::OpenMetrics, encoding));
            assert_eq!(first.as_ptr(), second.as_ptr(), "{encoding:?}");
        }
    }
}

//! The stylesheet and the icon, in the binary. Their names hold what they hold: a browser keeps them for a year, and a new one is another.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::routing::get;

use crate::wire::collector::hex;

#[derive(Debug)]
pub(super) struct Asset {
    path: LazyLock<String>,
    kind: &'static str,
    text: &'static str,
}

const CSS_TEXT: &str = include_str!("../../../templates/byteport.css");
const ICON_TEXT: &str = include_str!("../../../templates/icon.svg");

pub(super) static CSS: Asset =
    Asset { path: LazyLock::new(|| named("byteport", "css", CSS_TEXT)), kind: "text/css; charset=utf-8", text: CSS_TEXT };
pub(super) static ICON: Asset = Asset { path: LazyLock::new(|| named("icon", "svg", ICON_TEXT)), kind: "image/svg+xml", text: ICON_TEXT };

fn named(stem: &str, ext: &str, text: &str) -> String {
    let hash = hex(&openssl::sha::sha256(text.as_bytes()));
    format!("/assets/{stem}-{}.{ext}", &hash[..16])
}

impl Asset {
    pub(super) fn path(&'static self) -> &'static str {
        &self.path
    }
}

pub(super) fn routes<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    [&CSS, &ICON].into_iter().fold(router, |router, asset| {
        let headers = [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
        router.route(asset.path(), get(move || async move { (headers, asset.text) }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// `--name: #rrggbb` of the first block, and of the one for the dark.
    fn colours() -> [BTreeMap<&'static str, f64>; 2] {
        let dark = CSS_TEXT.find("prefers-color-scheme: dark").expect("a dark scheme");
        [&CSS_TEXT[..dark], &CSS_TEXT[dark..]].map(|part| {
            let lines = part.lines().filter_map(|l| l.trim().strip_prefix("--")?.trim_end_matches(';').split_once(": #"));
            lines.map(|(name, rgb)| (name, luminance(rgb))).collect()
        })
    }

    fn luminance(rgb: &str) -> f64 {
        let part = |at: usize| {
            let c = f64::from(u8::from_str_radix(&rgb[at..at + 2], 16).expect("hex")) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    }

    #[test]
    fn whatever_is_read_can_be_read_in_light_and_in_dark() {
        for scheme in colours() {
            let contrast = |a: &str, b: &str| {
                let (a, b) = (scheme[a], scheme[b]);
                (a.max(b) + 0.05) / (a.min(b) + 0.05)
            };
            for fore in ["text", "muted", "accent", "good", "warn", "bad"] {
                for back in ["page", "raised"] {
                    assert!(contrast(fore, back) >= 4.5, "{fore} on {back}: {:.2}", contrast(fore, back));
                }
            }
            // What shows where a control is.
            assert!(contrast("edge", "page") >= 3.0 && contrast("edge", "raised") >= 3.0, "edge: {:.2}", contrast("edge", "page"));
        }
    }

    #[test]
    fn nothing_is_fetched_from_anywhere_and_nothing_moves() {
        for word in ["http:", "https:", "@import", "url(", "gradient", "animation", "transition"] {
            assert!(!CSS_TEXT.contains(word), "{word}");
        }
        assert!(CSS_TEXT.contains("prefers-reduced-motion"));
    }
}

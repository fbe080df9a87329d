//! What stands in a page of metrics, whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};

/// What a text holds: of each family its type, and of each series its labels, empty ones left out, and its value.
#[derive(Debug, Default)]
pub struct Families {
    pub kinds: BTreeMap<String, String>,
    pub series: BTreeMap<String, BTreeMap<BTreeMap<String, String>, f64>>,
}

impl Families {
    pub fn of(text: &str) -> Self {
        let mut families = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(families.kinds.insert(name.into(), kind.into()).is_none(), "{name} is there twice");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let value = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
                let mut labels = labels_of(labels);
                if name == "node_network_info" {
                    // It is newer than Debian's.
                    labels.remove("adminstate");
                }
                let old = families.series.entry(name.into()).or_default().insert(labels, value);
                assert_eq!(old, None, "{line} is there twice");
            }
        }
        families
    }

    pub fn names(&self) -> BTreeSet<&String> {
        self.kinds.keys().collect()
    }
}

pub fn labels_of(mut rest: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while let Some((name, after)) = rest.split_once("=\"") {
        let (mut value, mut chars) = (String::new(), after.char_indices());
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match chars.next().expect("an escape").1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        if !value.is_empty() {
            labels.insert(name.trim_start_matches(',').to_owned(), value);
        }
        rest = &after[end..];
    }
    labels
}

/// Without the sizes of a chunked answer, which stand on lines of their own.
pub fn unchunked(text: &str) -> String {
    let mut rest = text;
    let mut whole = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else { return text.to_owned() };
        whole.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    whole
}

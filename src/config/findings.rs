//! Every mistake of a file, not only the first: what is wrong is told and taken out, until the rest can be read.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::layers::Source;
use super::problem::Problem;

pub(super) type Table<'s> = Spanned<DeTable<'s>>;

/// Where a key was written last: which file, where in it, and the value as it stands there (empty for a table).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) source: usize,
    pub(super) span: Range<usize>,
    pub(super) text: String,
}

/// Parses one file; every syntax error is a problem.
pub(super) fn parse<'s>(source: &'s Source, problems: &mut Vec<Problem>) -> Table<'s> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    for e in errors {
        problems.push(source.problem(e.span(), e.message(), None));
    }
    table
}

/// For `serde`, with the places kept.
pub(super) fn read<T: DeserializeOwned>(table: Table<'_>) -> Result<T, Error> {
    T::deserialize(toml::de::Deserializer::from(table))
}

/// Tells everything that `read` finds wrong in a table of this file. What is only wrong together with other keys is left
/// for the merged whole: another file may bring the other half.
pub(super) fn collect<'s, T>(
    source: &Source,
    mut table: Table<'s>,
    also_known: &[&str],
    read: impl Fn(Table<'s>) -> Result<T, Error>,
    problems: &mut Vec<Problem>,
) {
    while let Err(e) = read(table.clone()) {
        let Some(span) = e.span() else { return };
        let Some(path) = find(table.get_ref(), span.start) else { return };
        let (message, help) = explain(e.message(), also_known);
        problems.push(source.problem(Some(span), message, help));
        if !remove(table.get_mut(), &path) {
            return;
        }
    }
}

/// The keys that lead to what was written at this offset; `None` for a table as a whole.
fn find(table: &DeTable<'_>, at: usize) -> Option<Vec<String>> {
    let within = |span: Range<usize>| span.contains(&at) || span.start == at;
    for (key, value) in table.iter() {
        let mut path = vec![key.get_ref().to_string()];
        let here = match value.get_ref() {
            DeValue::Table(below) => match find(below, at) {
                Some(rest) => {
                    path.extend(rest);
                    true
                }
                None => within(key.span()),
            },
            other => within(key.span()) || within(value.span()) || elements(other).into_iter().any(within),
        };
        if here {
            return Some(path);
        }
    }
    None
}

/// Where an array's elements stand: those of `[[table]]` lie behind the array's own place.
fn elements(value: &DeValue<'_>) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for item in value.as_array().into_iter().flat_map(|a| a.iter()) {
        spans.push(item.span());
        for (key, value) in item.get_ref().as_table().into_iter().flat_map(|t| t.iter()) {
            spans.extend([key.span(), value.span()]);
        }
    }
    spans
}

fn remove(table: &mut DeTable<'_>, path: &[String]) -> bool {
    match path {
        [] => false,
        [last] => table.remove(last.as_str()).is_some(),
        [first, rest @ ..] => match table.get_mut(first.as_str()).map(Spanned::get_mut) {
            Some(DeValue::Table(below)) => remove(below, rest),
            _ => false,
        },
    }
}

/// serde's sentence in ours, with what was probably meant.
fn explain(message: &str, also_known: &[&str]) -> (String, Option<String>) {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (what, known) = if message.starts_with("unknown field") {
        ("key", true)
    } else if message.starts_with("unknown variant") {
        ("value", false)
    } else {
        return (message.replace('\n', " "), None);
    };
    let Some((wrong, expected)) = quoted.split_first() else { return (message.to_owned(), None) };
    let mut expected = expected.to_vec();
    if known {
        expected.extend(also_known);
    }
    (format!("unknown {what} `{wrong}`"), Some(meant(wrong, &expected)))
}

/// `did you mean ...`, or everything there is to choose from.
pub(super) fn meant(wrong: &str, known: &[&str]) -> String {
    let wrong = wrong.to_lowercase();
    let near = known.iter().map(|k| (strsim::jaro(&wrong, k), *k)).filter(|(score, _)| *score > 0.7);
    match near.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "nothing is known here".into(),
        None => format!("known are: {}", known.join(", ")),
    }
}

/// Lays `from` over `into`: tables key by key, everything else as a whole.
pub(super) fn merge<'s>(into: &mut DeTable<'s>, from: DeTable<'s>) {
    for (key, value) in from {
        match (into.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), value.get_ref()) {
            (Some(DeValue::Table(old)), DeValue::Table(_)) => {
                if let DeValue::Table(new) = value.into_inner() {
                    merge(old, new);
                }
            }
            _ => {
                into.remove(key.get_ref().as_ref());
                into.insert(key, value);
            }
        }
    }
}

/// Notes for each key of a file where it was written.
pub(super) fn ask(number: usize, source: &Source, table: &DeTable<'_>, prefix: &str, asked: &mut BTreeMap<String, Asked>) {
    for (key, value) in table.iter() {
        let dotted = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        let mut entry = Asked { source: number, span: key.span(), text: String::new() };
        match value.get_ref() {
            DeValue::Table(below) => ask(number, source, below, &dotted, asked),
            other => {
                // `[[name]]`: what stands at the array's own place is only the header.
                let end = elements(other).iter().map(|s| s.end).chain([value.span().end]).max().unwrap_or(0);
                let written = source.text.get(value.span().start..end).unwrap_or_default();
                entry.text = written.split_whitespace().collect::<Vec<_>>().join(" ");
            }
        }
        asked.insert(dotted, entry);
    }
}

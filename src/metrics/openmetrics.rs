//! The same exposition as OpenMetrics 1.0. Both formats share every line but the headers: there a counter's family has no `_total`,
//! what is untyped is `unknown`, a help escapes its quotes, and the end is marked.

/// The text format, as [`super::exposition`] writes it, in OpenMetrics' form.
pub(super) fn from_text(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    for line in text.split_inclusive(|b| *b == b'\n') {
        if let Some(rest) = line.strip_prefix(b"# TYPE ") {
            let (name, kind) = split_name(rest);
            out.extend_from_slice(b"# TYPE ");
            out.extend_from_slice(name);
            out.extend_from_slice(if kind.starts_with(b"untyped") { b" unknown\n" } else { b" " });
            if !kind.starts_with(b"untyped") {
                out.extend_from_slice(kind);
            }
        } else if let Some(rest) = line.strip_prefix(b"# HELP ") {
            let (name, help) = split_name(rest);
            out.extend_from_slice(b"# HELP ");
            out.extend_from_slice(name);
            out.push(b' ');
            for byte in help {
                if *byte == b'"' {
                    out.push(b'\\');
                }
                out.push(*byte);
            }
        } else {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(b"# EOF\n");
    out
}

/// The family's name, without a counter's ending, and what follows it.
fn split_name(rest: &[u8]) -> (&[u8], &[u8]) {
    let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    (name.strip_suffix(b"_total").unwrap_or(name), after.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_change_and_series_do_not() {
        let text = b"# HELP a_total An \"a\".\n# TYPE a_total counter\na_total{x=\"# TYPE a_total counter\"} 1\n\
                     # HELP b B.\n# TYPE b untyped\nb 2\n# HELP c C.\n# TYPE c gauge\nc 3\n";
        let expected = "# HELP a An \\\"a\\\".\n# TYPE a counter\na_total{x=\"# TYPE a_total counter\"} 1\n\
                        # HELP b B.\n# TYPE b unknown\nb 2\n# HELP c C.\n# TYPE c gauge\nc 3\n# EOF\n";
        assert_eq!(String::from_utf8(from_text(text)).expect("text"), expected);
        assert_eq!(from_text(b""), b"# EOF\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>) {
            prop_assert!(from_text(&bytes).ends_with(b"# EOF\n"));
        }
    }
}

//! Text inside Markdown: a file name must not become a heading, a link, or the end of a table.

use super::human::clean;

/// Free text in a paragraph, a list item or a table cell: shown as written.
pub(super) fn text(text: &str) -> String {
    let shown = clean(text);
    let mut out = String::with_capacity(shown.len() + 8);
    let mut before = ' ';
    let mut chars = shown.chars().peekable();
    while let Some(c) = chars.next() {
        // Inside a word `_` is no emphasis, and figures are read raw at least as often as rendered.
        let inside_word = before.is_alphanumeric() && chars.peek().is_some_and(|next| next.is_alphanumeric());
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '_' if inside_word => out.push(c),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => out.extend(['\\', c]),
            _ => out.push(c),
        }
        before = c;
    }
    out
}

/// A name or a figure in monospace, also in a table cell. The fence is longer than any run of backticks inside, and a bar, which
/// would end the cell even inside a code span, is written as its escape.
pub(super) fn code(text: &str) -> String {
    let shown = clean(text).replace('|', "\\x7c");
    let longest = shown.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let gap = if shown.is_empty() || shown.starts_with('`') || shown.ends_with('`') { " " } else { "" };
    format!("{fence}{gap}{shown}{gap}{fence}")
}

/// Commands, to be copied: a block whose fence no line inside can close.
pub(super) fn commands(lines: &[&str]) -> String {
    let longest = lines.iter().flat_map(|l| l.split(|c| c != '`')).map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let body: String = lines.iter().map(|l| clean(l) + "\n").collect();
    format!("{fence}sh\n{body}{fence}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_breaks_nothing() {
        assert_eq!(code("a|b\n`c`"), "`` a\\x7cb\\x0a`c` ``");
        assert_eq!(code("``` x"), "```` ``` x ````");
        assert_eq!(text("# a_b <b>|`x`_\n"), "\\# a_b &lt;b&gt;\\|\\`x\\`\\_\\\\x0a");
        assert_eq!(commands(&["echo '```'"]), "````sh\necho '```'\n````\n");
    }
}

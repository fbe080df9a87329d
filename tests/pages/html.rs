//! Reads a page as strictly as it is written: every tag closed in its order, every attribute quoted, nothing that was not put there.

use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq)]
pub struct Tag {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    /// Without its escapes; of a `pre` everything inside it.
    pub text: String,
}

impl Tag {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Tags in their order.
#[derive(Debug)]
pub struct Page(pub Vec<Tag>);

const VOID: &[&str] = &["meta", "link", "input", "br"];
/// What no page may have: each of them runs or loads something, or is taken for it.
const NEVER: &[&str] = &["script", "style", "iframe", "object", "embed", "img", "base", "template"];

impl Page {
    /// # Errors
    /// What is not well-formed, and what stands around it.
    pub fn read(html: &str) -> Result<Self, String> {
        let mut rest = html.strip_prefix("<!DOCTYPE html>\n").ok_or("no doctype")?;
        let (mut tags, mut open): (Vec<Tag>, Vec<usize>) = (Vec::new(), Vec::new());
        loop {
            let at = rest.find('<').unwrap_or(rest.len());
            let (text, from) = rest.split_at(at);
            let plain = unescaped(text)?;
            for index in &open {
                tags[*index].text.push_str(&plain);
            }
            if from.is_empty() {
                break;
            }
            let here = || format!("at {:?}", from.chars().take(120).collect::<String>());
            let end = tag_end(from).ok_or_else(|| format!("a tag without an end {}", here()))?;
            let inside = &from[1..end];
            rest = &from[end + 1..];
            if let Some(name) = inside.strip_prefix('/') {
                let last = open.pop().ok_or_else(|| format!("nothing to close {}", here()))?;
                if tags[last].name != name {
                    return Err(format!("</{name}> closes <{}> {}", tags[last].name, here()));
                }
                continue;
            }
            let (inside, closed) = inside.strip_suffix('/').map_or((inside, false), |i| (i, true));
            let tag = tag(inside).map_err(|e| format!("{e} {}", here()))?;
            if NEVER.contains(&tag.name.as_str()) {
                return Err(format!("<{}> {}", tag.name, here()));
            }
            if !closed && !VOID.contains(&tag.name.as_str()) {
                open.push(tags.len());
            }
            tags.push(tag);
        }
        if let Some(last) = open.last() {
            return Err(format!("<{}> is never closed", tags[*last].name));
        }
        Ok(Self(tags))
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Tag> {
        self.0.iter().filter(move |t| t.name == name)
    }

    pub fn links(&self) -> Vec<String> {
        self.0.iter().filter_map(|t| t.get("href")).map(str::to_owned).collect()
    }

    /// What the page is made of, without what is written in it.
    pub fn shape(&self) -> Vec<String> {
        let shape = |t: &Tag| {
            let names: Vec<&str> = t.attributes.iter().map(|(n, _)| n.as_str()).collect();
            format!("{} {} {}", t.name, names.join(","), t.get("class").unwrap_or_default())
        };
        self.0.iter().map(shape).collect()
    }

    pub fn text(&self) -> &str {
        self.all("body").next().map_or("", |b| b.text.as_str())
    }

    /// What makes a page hard to use for somebody who does not see it, or has no mouse.
    pub fn barriers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut want = |holds: bool, what: String| {
            if !holds {
                found.push(what)
            }
        };
        want(self.all("html").any(|t| t.get("lang") == Some("en")), "no language".into());
        for (name, many) in [("h1", 1), ("main", 1), ("title", 1), ("header", 1), ("footer", 1)] {
            want(self.all(name).count() == many, format!("{} of <{name}>", self.all(name).count()));
        }
        let first = self.all("a").next().and_then(|a| a.get("href"));
        want(first == Some("#main"), format!("the first link leads to {first:?}, not to the content"));
        let ids: Vec<&str> = self.0.iter().filter_map(|t| t.get("id")).collect();
        want(ids.iter().collect::<BTreeSet<_>>().len() == ids.len(), format!("an id twice: {ids:?}"));
        let mut level = 0;
        for tag in self.0.iter().filter(|t| t.name.len() == 2 && t.name.starts_with('h') && t.name != "hr") {
            let new: u32 = tag.name[1..].parse().unwrap_or(9);
            want(new <= level + 1, format!("<{}> after <h{level}>", tag.name));
            level = new;
        }
        for tag in &self.0 {
            let words = |t: &Tag| !t.text.trim().is_empty();
            match tag.name.as_str() {
                "th" => want(tag.get("scope").is_some() && words(tag), format!("a head of nothing: {tag:?}")),
                "a" | "button" | "caption" | "h1" | "h2" | "h3" | "title" | "label" => want(words(tag), format!("no words: {tag:?}")),
                "nav" | "form" => want(tag.get("aria-label").is_some(), format!("no name: {tag:?}")),
                "svg" | "i" => want(tag.get("aria-hidden").is_some() || tag.name == "i", format!("not hidden: {tag:?}")),
                "input" if tag.get("type") != Some("hidden") => {
                    let id = tag.get("id");
                    want(id.is_some() && self.all("label").any(|l| l.get("for") == id), format!("no label: {tag:?}"));
                }
                _ => {}
            }
            for (name, value) in &tag.attributes {
                want(!name.starts_with("on") && name != "style" && !value.starts_with("javascript:"), format!("{name}={value}"));
                if matches!(name.as_str(), "aria-labelledby" | "for") {
                    want(ids.contains(&value.as_str()), format!("{name}={value} leads nowhere"));
                }
            }
        }
        want(self.all("table").count() == self.all("caption").count(), "a table without a caption".into());
        found
    }
}

/// A `>` inside quotes ends nothing.
fn tag_end(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == '>' && !quoted).then_some(at)
    })
}

fn tag(inside: &str) -> Result<Tag, String> {
    let (name, mut rest) = inside.split_once(' ').unwrap_or((inside, ""));
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        return Err(format!("no name of a tag: {name:?}"));
    }
    let mut attributes = Vec::new();
    while !rest.trim_start().is_empty() {
        rest = rest.trim_start();
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let name = &rest[..end];
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphabetic() || c == '-') {
            return Err(format!("no name of an attribute: {name:?}"));
        }
        rest = &rest[end..];
        let value = match rest.strip_prefix("=\"") {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"').ok_or("a quote without an end")?;
                rest = after;
                value
            }
            None if rest.starts_with('=') => return Err(format!("{name} is not quoted")),
            None => "",
        };
        attributes.push((name.to_owned(), unescaped(value)?));
    }
    Ok(Tag { name: name.into(), attributes, text: String::new() })
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split('&');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let escape = part.strip_prefix('#').and_then(|p| p.split_once(';'));
        let (number, rest) = escape.ok_or_else(|| format!("a bare & before {:?}", part.chars().take(40).collect::<String>()))?;
        out.push(number.parse().ok().and_then(char::from_u32).ok_or_else(|| format!("no letter: {number}"))?);
        out.push_str(rest);
    }
    Ok(out)
}

#[test]
fn what_is_not_well_formed_is_told() {
    let page = |body: &str| Page::read(&format!("<!DOCTYPE html>\n<body>{body}</body>")).map(|p| p.text().to_owned());
    assert_eq!(page("a <p class=\"x>\" hidden>&#60;b&#62;</p>"), Ok("a <b>".into()));
    for bad in ["<p>", "</p>", "<p></b></p>", "<p class=x></p>", "<script></script>", "a & b", "<p class=\"x></p>", "<", "<P></P>"] {
        assert!(page(bad).is_err(), "{bad}");
    }
}

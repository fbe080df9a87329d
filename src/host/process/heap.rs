//! What a runtime was told of its heap. Of the arguments and the environment of a process nothing is kept but the settings that are named
//! here, as far as they are numbers: everything else in them may be secret.

use crate::model::{Bytes, HeapSetting, Runtime};

/// Longer than any number that means something.
const LONGEST: usize = 64;

/// Options of these are in effect in this order, the arguments between the second and the third.
const JVM_BEFORE: &[&[u8]] = &[b"JAVA_TOOL_OPTIONS", b"JDK_JAVA_OPTIONS"];
const JVM_AFTER: &[u8] = b"_JAVA_OPTIONS";
const NODE_OPTIONS: &[u8] = b"NODE_OPTIONS";
const GO_LIMIT: &[u8] = b"GOMEMLIMIT";

/// Options whose value is the argument after them.
const JAVA_TAKES_NEXT: &[&[u8]] = &[
    b"-cp",
    b"-classpath",
    b"--class-path",
    b"-p",
    b"--module-path",
    b"--upgrade-module-path",
    b"--add-modules",
    b"--limit-modules",
    b"--add-exports",
    b"--add-opens",
    b"--add-reads",
    b"--patch-module",
    b"--source",
];
const NODE_TAKES_NEXT: &[&[u8]] =
    &[b"-r", b"--require", b"--import", b"--loader", b"--experimental-loader", b"-C", b"--conditions", b"--env-file"];

/// `program`: the name of the file that runs. `arguments` and `environment` as the kernel has them, an end of text after each, `program`'s own
/// name first. `visible`: bytes of memory that a JVM counts its percentage of, `None` where that is not known. Total.
pub(in crate::host) fn parse_settings(program: &[u8], arguments: &[u8], environment: &[u8], visible: Option<u64>) -> Vec<HeapSetting> {
    let variable = |name: &[u8]| {
        let of = |text: &&[u8]| text.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"="));
        // The C library takes the first of two.
        texts(environment).find(of).and_then(|text| text.get(name.len() + 1..)).unwrap_or_default()
    };
    let setting = match program {
        b"java" | b"jsvc" => {
            let before = JVM_BEFORE.iter().flat_map(|name| words(variable(name)));
            let own = own_options(arguments, JAVA_TAKES_NEXT, &[b"-jar", b"-m", b"--module"]);
            jvm(before.chain(own).chain(words(variable(JVM_AFTER))), visible)
        }
        b"node" | b"nodejs" => node(words(variable(NODE_OPTIONS)).chain(own_options(arguments, NODE_TAKES_NEXT, &[b"--"]))),
        // Which programs are Go's their names do not tell; nobody else has a use for this variable.
        _ => go(variable(GO_LIMIT)),
    };
    setting.into_iter().collect()
}

/// Those that the kernel has ended: what was cut off is left out.
fn texts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = bytes.iter().rposition(|b| *b == 0).and_then(|end| bytes.get(..end));
    whole.into_iter().flat_map(|whole| whole.split(|b| *b == 0))
}

/// Quotes keep blanks together in these variables; no setting has any.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'')).filter(|word| !word.is_empty())
}

/// The runtime's options: what follows the program to run is that program's.
fn own_options<'a>(arguments: &'a [u8], take_next: &[&[u8]], last: &[&[u8]]) -> Vec<&'a [u8]> {
    let mut options = Vec::new();
    let mut rest = texts(arguments).skip(1);
    while let Some(option) = rest.next() {
        if !option.starts_with(b"-") && !option.starts_with(b"@") || last.contains(&option) {
            break;
        }
        if take_next.contains(&option) {
            rest.next();
        }
        options.push(option);
    }
    options
}

/// The last one wins, and a size that was given wins over a share.
fn jvm<'a>(options: impl Iterator<Item = &'a [u8]>, visible: Option<u64>) -> Option<HeapSetting> {
    let (mut size, mut share) = (None, None);
    for option in options.filter(|option| option.len() <= LONGEST) {
        if let Some(given) = option.strip_prefix(b"-Xmx").or_else(|| option.strip_prefix(b"-XX:MaxHeapSize=")) {
            size = jvm_size(given).map(|bytes| (option, bytes)).or(size);
        } else if let Some(given) = option.strip_prefix(b"-XX:MaxRAMPercentage=") {
            let percent = std::str::from_utf8(given).ok().and_then(|text| text.parse().ok()).filter(|p: &f64| (0.0..=100.0).contains(p));
            // Where it is not known of what, the share says nothing.
            share = percent.zip(visible).map(|(percent, visible)| (option, (visible as f64 * percent / 100.0) as u64)).or(share);
        }
    }
    size.or(share).and_then(|(option, bytes)| setting(Runtime::Jvm, option, bytes))
}

/// `512m`, `2G`, or bytes.
fn jvm_size(given: &[u8]) -> Option<u64> {
    let (digits, unit) = match given.split_last()? {
        (b'k' | b'K', digits) => (digits, 1 << 10),
        (b'm' | b'M', digits) => (digits, 1 << 20),
        (b'g' | b'G', digits) => (digits, 1 << 30),
        (b't' | b'T', digits) => (digits, 1 << 40),
        _ => (given, 1),
    };
    number(digits)?.checked_mul(unit)
}

/// MiB. The engine takes `-` and `_` for the same.
fn node<'a>(options: impl Iterator<Item = &'a [u8]>) -> Option<HeapSetting> {
    let size = |option: &'a [u8]| {
        let given = option.strip_prefix(b"--max-old-space-size=").or_else(|| option.strip_prefix(b"--max_old_space_size="))?;
        Some((option, number(given)?.checked_mul(1 << 20)?))
    };
    let (option, bytes) = options.filter(|option| option.len() <= LONGEST).filter_map(size).last()?;
    setting(Runtime::Node, option, bytes)
}

/// `1GiB`, `512MiB`, or bytes; `off` is no limit.
fn go(value: &[u8]) -> Option<HeapSetting> {
    let unit = |unit: &[u8], bytes: u64| value.strip_suffix(unit).map(|digits| (digits, bytes));
    let sized = unit(b"KiB", 1 << 10).or_else(|| unit(b"MiB", 1 << 20)).or_else(|| unit(b"GiB", 1 << 30)).or_else(|| unit(b"TiB", 1 << 40));
    let (digits, unit) = sized.or_else(|| unit(b"B", 1)).unwrap_or((value, 1));
    if value.len() > LONGEST {
        return None;
    }
    setting(Runtime::Go, &[GO_LIMIT, b"=", value].concat(), number(digits)?.checked_mul(unit)?)
}

fn setting(runtime: Runtime, written: &[u8], bytes: u64) -> Option<HeapSetting> {
    Some(HeapSetting { runtime, written: std::str::from_utf8(written).ok()?.to_owned(), bytes: Bytes(bytes) })
}

fn number(digits: &[u8]) -> Option<u64> {
    crate::host::columns::number(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ended(texts: &[&str]) -> Vec<u8> {
        texts.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect()
    }

    fn told(program: &str, arguments: &[&str], environment: &[&str]) -> Option<(String, u64)> {
        let settings = parse_settings(program.as_bytes(), &ended(arguments), &ended(environment), Some(1 << 30));
        settings.into_iter().next().map(|s| (s.written, s.bytes.0))
    }

    fn is(written: &str, bytes: u64) -> Option<(String, u64)> {
        Some((written.to_owned(), bytes))
    }

    #[test]
    fn of_a_jvms_sizes_the_last_one_wins_in_the_order_in_which_it_reads_them() {
        let java = |arguments: &[&str], environment: &[&str]| told("java", &[&["/usr/bin/java"], arguments].concat(), environment);
        assert_eq!(java(&["-Xmx512m", "-Xms1g", "-Xmx2G", "-jar", "a.jar"], &[]), is("-Xmx2G", 2 << 30));
        assert_eq!(java(&["-XX:MaxHeapSize=1024", "Main"], &[]), is("-XX:MaxHeapSize=1024", 1024));
        let tool = "JAVA_TOOL_OPTIONS=-javaagent:/a.jar=token=secret '-Xmx1g' -Dx=y";
        assert_eq!(java(&["Main"], &[tool]), is("-Xmx1g", 1 << 30));
        assert_eq!(java(&["-Xmx3k", "Main"], &[tool]), is("-Xmx3k", 3 << 10));
        assert_eq!(java(&["Main"], &["JDK_JAVA_OPTIONS=-Xmx5k", tool]), is("-Xmx5k", 5 << 10));
        assert_eq!(java(&["-Xmx3k", "Main"], &[tool, "_JAVA_OPTIONS=-Xmx4k"]), is("-Xmx4k", 4 << 10));
        assert_eq!(java(&["-Xmx3k", "Main"], &["MY_JAVA_OPTIONS=-Xmx4k", "X=_JAVA_OPTIONS=-Xmx4k"]), is("-Xmx3k", 3 << 10));
    }

    #[test]
    fn a_share_is_one_of_what_the_jvm_sees_and_a_size_wins_over_it() {
        let java = |arguments: &[&str]| told("java", &[&["java"], arguments].concat(), &[]);
        assert_eq!(java(&["-XX:MaxRAMPercentage=75.0", "M"]), is("-XX:MaxRAMPercentage=75.0", 805_306_368));
        assert_eq!(java(&["-Xmx1m", "-XX:MaxRAMPercentage=75.0", "M"]), is("-Xmx1m", 1 << 20));
        assert_eq!(java(&["-XX:MaxRAMPercentage=175", "M"]), None);
        let unseen = parse_settings(b"java", &ended(&["java", "-XX:MaxRAMPercentage=75.0", "M"]), b"", None);
        assert_eq!(unseen, []);
    }

    #[test]
    fn what_a_program_is_given_is_not_its_runtimes() {
        assert_eq!(told("java", &["java", "-cp", "-Xmx9g", "Main", "-Xmx1g"], &[]), None);
        assert_eq!(told("java", &["java", "-Xmx2g", "-jar", "gradle.jar", "-Xmx1g"], &[]), is("-Xmx2g", 2 << 30));
        assert_eq!(
            told("node", &["node", "--require", "x", "--max-old-space-size=64", "app.js", "--max-old-space-size=9"], &[]),
            is("--max-old-space-size=64", 64 << 20)
        );
        // A shell that starts a JVM has its variables.
        assert_eq!(told("bash", &["bash"], &["JAVA_TOOL_OPTIONS=-Xmx1g", "NODE_OPTIONS=--max-old-space-size=9"]), None);
    }

    #[test]
    fn node_and_go() {
        let options = ["NODE_OPTIONS=--max_old_space_size=128 --inspect=0.0.0.0"];
        assert_eq!(told("node", &["node", "app.js"], &options), is("--max_old_space_size=128", 128 << 20));
        assert_eq!(told("node", &["node", "--max-old-space-size=64", "app.js"], &options), is("--max-old-space-size=64", 64 << 20));
        for (value, bytes) in [("1GiB", 1 << 30), ("512MiB", 512 << 20), ("7B", 7), ("1024", 1024), ("3TiB", 3 << 40)] {
            let text = format!("GOMEMLIMIT={value}");
            assert_eq!(told("prometheus", &["prometheus"], &[&text]), is(&text, bytes));
        }
        for none in ["GOMEMLIMIT=off", "GOMEMLIMIT=", "GOMEMLIMIT=-1GiB", "GOMEMLIMIT=99999999999TiB", "GOMEMLIMITS=5"] {
            assert_eq!(told("prometheus", &["prometheus"], &[none]), None, "{none}");
        }
    }

    #[test]
    fn what_was_cut_off_is_not_read() {
        assert_eq!(parse_settings(b"java", b"java\0-Xmx2g\0-Xmx1", b"", None)[0].written, "-Xmx2g");
        assert_eq!(parse_settings(b"x", b"", b"GOMEMLIMIT=10", None), []);
        let long = format!("-Xmx{}1g", "0".repeat(LONGEST));
        assert_eq!(told("java", &["java", &long, "M"], &[]), None);
    }

    proptest! {
        /// Nothing but the setting itself, whatever lies around it.
        #[test]
        fn only_numbers_leave(arguments: Vec<u8>, environment: Vec<u8>, program in "java|node|x", visible: Option<u64>) {
            for setting in parse_settings(program.as_bytes(), &arguments, &environment, visible) {
                prop_assert!(setting.written.len() <= LONGEST + GO_LIMIT.len() + 1);
            }
        }

        #[test]
        fn damaged_settings_are_left_out_or_understood(
            options in proptest::collection::vec("(-Xmx|-XX:MaxHeapSize=|-XX:MaxRAMPercentage=|--max-old-space-size=)[0-9a-zA-Z.-]{0,22}", 0..6),
            program in "java|node",
        ) {
            let options: Vec<&str> = std::iter::once("x").chain(options.iter().map(String::as_str)).collect();
            let named = ["-Xmx", "-XX:MaxHeapSize=", "-XX:MaxRAMPercentage=", "--max-old-space-size="];
            for setting in parse_settings(program.as_bytes(), &ended(&options), b"", Some(u64::MAX)) {
                let value = named.iter().find_map(|name| setting.written.strip_prefix(name)).unwrap();
                prop_assert!(value.trim_end_matches(char::is_alphabetic).parse::<f64>().is_ok(), "{}", value);
            }
        }
    }
}

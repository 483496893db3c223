use pleach_deployment::{KernelArgument, KernelArgumentError as E, KernelArguments};
use proptest::prelude::*;

fn parse(text: &str) -> KernelArguments {
    text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

fn argument(text: &str) -> KernelArgument {
    text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

/// Keys and values as the kernel's `next_arg` gives them.
#[test]
fn reads_as_the_kernel_does() {
    #[track_caller]
    fn check(line: &str, expect: &[(&str, Option<&str>)]) {
        let line = parse(line);
        let read: Vec<_> = line.iter().map(|a| (a.key(), a.value())).collect();
        assert_eq!(read, expect, "{line}");
    }
    check("", &[]);
    check("  \t\n ", &[]);
    check("quiet", &[("quiet", None)]);
    check(" a  b\tc\n", &[("a", None), ("b", None), ("c", None)]);
    check("root=LABEL=root", &[("root", Some("LABEL=root"))]);
    check("a=", &[("a", Some(""))]);
    check("a=\"\"", &[("a", Some(""))]);
    check("a=\"x y\" b", &[("a", Some("x y")), ("b", None)]);
    check("\"a=x y\" b", &[("a", Some("x y")), ("b", None)]);
    check("\"a b\"", &[("a b", None)]);
    check("a=x\" \"y", &[("a", Some("x\" \"y"))]);
    check("a=x\"y z\"", &[("a", Some("x\"y z\""))]);
    check("==b", &[("=", Some("b"))]);
    check("=b", &[("=b", None)]);
    check(
        "dyndbg=\"file a.c +p; file b.c +p\"",
        &[("dyndbg", Some("file a.c +p; file b.c +p"))],
    );
    check("a=\u{e9}", &[("a", Some("\u{e9}"))]);
    check("a=\"\u{e0}\"", &[("a", Some("\u{e0}"))]);
    check("-- a".trim_start_matches("-- "), &[("a", None)]);
}

#[test]
fn refuses_what_the_kernel_would_read_otherwise() {
    #[track_caller]
    fn check(line: &str, expect: fn(String) -> E) {
        assert_eq!(line.parse::<KernelArguments>(), Err(expect(line.into())));
    }
    check("a=\"x", E::OpenQuote);
    check("a \"b c", E::OpenQuote);
    check("a\0b", E::Control);
    check("a=\x1b[0m", E::Control);
    check("a=\u{a0}b", E::NoBreakSpace);
    check("a=\u{e0}", E::NoBreakSpace);
    check("\"\"", E::NoKey);
    check("--", E::InitArguments);
}

#[test]
fn one_argument() {
    #[track_caller]
    fn check(text: &str, expect: Result<&str, fn(String) -> E>) {
        let expect = expect.map_err(|e| e(text.into()));
        assert_eq!(
            text.parse::<KernelArgument>().map(|a| a.to_string()),
            expect.map(String::from)
        );
    }
    check(" a=b ", Ok("a=b"));
    check("a b", Err(E::Several));
    check("", Err(E::NoKey));
    check(" ", Err(E::NoKey));
}

#[test]
fn makes_one_of_key_and_value() {
    #[track_caller]
    fn check(key: &str, value: Option<&str>, expect: Result<&str, E>) {
        let made = KernelArgument::new(key, value).map(|a| a.to_string());
        assert_eq!(made, expect.map(String::from), "{key:?} {value:?}");
    }
    check("quiet", None, Ok("quiet"));
    check("a", Some(""), Ok("a="));
    check("a", Some("b=c"), Ok("a=b=c"));
    check("a", Some("b c"), Ok("a=\"b c\""));
    check("a", Some("\u{e0}"), Ok("a=\"\u{e0}\""));
    check("a", Some("b\"c"), Err(E::Quote("a=b\"c".into())));
    check("a b", None, Err(E::Several("a b".into())));
    check("a=b", None, Err(E::NoKey("a=b".into())));
    check("", Some("x"), Err(E::NoKey("=x".into())));
    check("--", None, Err(E::InitArguments("--".into())));
}

#[test]
fn equality_keeps_the_order_within_a_key() {
    #[track_caller]
    fn check(a: &str, b: &str, equal: bool) {
        assert_eq!(parse(a) == parse(b), equal, "{a} | {b}");
        assert_eq!(parse(b) == parse(a), equal, "{b} | {a}");
    }
    check("a b", "b a", true);
    check("a=1 b a=2", "b a=1 a=2", true);
    check("a=1 a=2", "a=2 a=1", false);
    check("a", "a a", false);
    check("a", "a=", false);
    check("a=\"x\"", "a=x", true);
    check("\"a=x y\"", "a=\"x y\"", true);
    check("rd-a_b=1", "rd_a-b=1", true);
    check("a=x-y", "a=x_y", false);
}

#[test]
fn edits() {
    #[track_caller]
    fn check(line: &str, edit: fn(&mut KernelArguments), expect: &str) {
        let mut arguments = parse(line);
        edit(&mut arguments);
        assert_eq!(arguments.to_string(), expect, "{line}");
    }
    check("a", |k| k.append(argument("a")), "a a");
    check("a", |k| assert!(!k.append_if_missing(argument("a"))), "a");
    check(
        "a=1",
        |k| assert!(k.append_if_missing(argument("a=2"))),
        "a=1 a=2",
    );
    check(
        "r-w=\"1\"",
        |k| assert!(!k.append_if_missing(argument("r_w=1"))),
        "r-w=\"1\"",
    );
    check(
        "a=1 b a=2 a=1",
        |k| assert_eq!(k.delete(&argument("a=1")), 2),
        "b a=2",
    );
    check("a", |k| assert_eq!(k.delete(&argument("b")), 0), "a");
    check("a=1 b a=2", |k| assert_eq!(k.delete_key("a"), 2), "b");
    check("x a=1 b a=2 y", |k| k.replace(argument("a=3")), "x a=3 b y");
    check("x", |k| k.replace(argument("a=3")), "x a=3");
    check("a b", |k| k.extend(&"b c".parse().unwrap()), "a b b c");
}

proptest! {
    /// Any key and value that can be made is read back as it was, wherever it stands.
    #[test]
    fn what_is_made_is_read_back(
        parts in prop::collection::vec(("[a-zA-Z0-9_.-]{1,8}", prop::option::of("[ -~\u{e0}]{0,12}")), 0..6),
    ) {
        let usable = |(k, v): &(String, Option<String>)| k != "--" && !v.as_ref().is_some_and(|v| v.contains('"'));
        let parts: Vec<_> = parts.into_iter().filter(usable).collect();
        let line: KernelArguments =
            parts.iter().map(|(k, v)| KernelArgument::new(k, v.as_deref()).unwrap()).collect();
        let again = parse(&line.to_string());
        let read: Vec<_> = again.iter().map(|a| (a.key().to_owned(), a.value().map(String::from))).collect();
        prop_assert_eq!(read, parts);
    }

    /// What is accepted is written as it stood, apart from white space between arguments.
    #[test]
    fn formatting_is_stable(text in "[ a\"=\t-]{0,16}") {
        if let Ok(line) = text.parse::<KernelArguments>() {
            let written = line.to_string();
            prop_assert_eq!(parse(&written).to_string(), written.clone());
            prop_assert_eq!(parse(&written), line);
        }
    }
}

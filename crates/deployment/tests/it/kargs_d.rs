use std::fs;
use std::os::unix::fs::symlink;

use pleach_deployment::kargs_d::{Options, kernel_arguments, read};

use crate::support::Scratch;

const DIR: &str = "tree/usr/lib/bootc/kargs.d";

fn options() -> Options {
    Options {
        architecture: "x86_64".into(),
        ..Options::default()
    }
}

/// The command line of a tree with these files, or the error.
fn of(files: &[(&str, &str)], options: &Options) -> Result<String, String> {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path(DIR)).unwrap();
    for (name, text) in files {
        fs::write(scratch.path(DIR).join(name), text).unwrap();
    }
    let fragments = read(&scratch.dir("tree"), options).map_err(|e| e.to_string())?;
    Ok(kernel_arguments(&fragments).to_string())
}

#[test]
fn files_are_read_by_name_and_architecture() {
    #[track_caller]
    fn check(files: &[(&str, &str)], expect: &str) {
        assert_eq!(of(files, &options()).as_deref(), Ok(expect), "{files:?}");
    }
    check(&[], "");
    check(&[("a.toml", "kargs = []")], "");
    check(
        &[
            ("20.toml", "kargs=['b','c=1']"),
            ("10.toml", "kargs=['a']"),
            ("3.toml", "kargs=['d']"),
        ],
        "a b c=1 d",
    );
    check(
        &[("B.toml", "kargs=['b']"), ("a.toml", "kargs=['a']")],
        "b a",
    );
    check(
        &[(
            "a.toml",
            "kargs=['a']\nmatch-architectures=['x86_64','aarch64']",
        )],
        "a",
    );
    check(
        &[("a.toml", "kargs=['a']\nmatch-architectures=['aarch64']")],
        "",
    );
    check(&[("a.toml", "kargs=['a']\nmatch-architectures=[]")], "");
    check(
        &[("a.toml", "kargs=['a b=1', 'c=\"d e\"']")],
        "a b=1 c=\"d e\"",
    );
    check(&[("README", "not TOML"), ("a.toml.bak", "neither")], "");
    check(
        &[("a.toml", "kargs=['a']"), ("b.toml", "kargs=['a']")],
        "a a",
    );
}

#[test]
fn bad_files_are_named_with_the_line() {
    #[track_caller]
    fn check(text: &str, line: usize, expect: &str) {
        let error = of(&[("a.toml", text)], &options()).unwrap_err();
        let place = format!("\"usr/lib/bootc/kargs.d/a.toml\" line {line}: ");
        let message = error
            .strip_prefix(&place)
            .unwrap_or_else(|| panic!("{text:?}: {error}"));
        assert!(message.contains(expect), "{text:?}: {error}");
    }
    check(
        "kargs = [\n'a',\n'b\"c'\n]",
        3,
        "double quote is not closed",
    );
    check(
        "kargs = ['a']\nmatch_architectures = []",
        2,
        "unknown field `match_architectures`",
    );
    check("\n\nkargs = 'a'", 3, "expected a sequence");
    check("kargs = ['a',\n1]", 2, "expected a string");
    check("kargs = [", 1, "");
    check("match-architectures = []", 1, "missing field `kargs`");
    check("", 1, "missing field `kargs`");
    check("kargs = ['']", 1, "empty kernel argument");
    check("kargs = ['a']\nkargs = ['b']", 2, "duplicate key");
}

#[test]
fn limits() {
    let files = [("a.toml", "kargs=['aaaaaaaa']"), ("b.toml", "kargs=[]")];
    let small = Options {
        max_file_bytes: 9,
        ..options()
    };
    let error = of(&files, &small).unwrap_err();
    assert_eq!(
        error,
        "\"usr/lib/bootc/kargs.d/a.toml\": more than max_file_bytes = 9"
    );
    let few = Options {
        max_files: 1,
        ..options()
    };
    assert_eq!(
        of(&files, &few).unwrap_err(),
        "\"usr/lib/bootc/kargs.d\": more than max_files = 1"
    );
}

#[test]
fn links_are_not_followed() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    assert_eq!(read(&tree, &options()).unwrap(), [], "no directory");
    fs::create_dir_all(scratch.path(DIR)).unwrap();
    fs::write(scratch.path("outside.toml"), "kargs=['outside']").unwrap();
    symlink(
        scratch.path("outside.toml"),
        scratch.path(DIR).join("a.toml"),
    )
    .unwrap();
    let error = read(&tree, &options()).unwrap_err().to_string();
    assert!(
        error.starts_with("open \"usr/lib/bootc/kargs.d/a.toml\""),
        "{error}"
    );

    fs::remove_dir_all(scratch.path(DIR)).unwrap();
    symlink(scratch.path("."), scratch.path(DIR)).unwrap();
    let error = read(&tree, &options()).unwrap_err().to_string();
    assert!(
        error.starts_with("open directory \"usr/lib/bootc/kargs.d\""),
        "{error}"
    );

    fs::remove_file(scratch.path(DIR)).unwrap();
    fs::create_dir_all(scratch.path(DIR).join("dir.toml")).unwrap();
    let error = read(&tree, &options()).unwrap_err().to_string();
    assert_eq!(
        error,
        "\"usr/lib/bootc/kargs.d/dir.toml\": is not a regular file"
    );
}

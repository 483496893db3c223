//! Files: their size, what must be beside them, what must not be in them.

use std::path::Path;

use anyhow::Result;

use crate::workspace::Workspace;

/// More lines of non-test code than this ask for a split (said, not refused).
const ASKS: usize = 400;
/// More than this are refused.
const REFUSED: usize = 800;

/// Text that no file may hold: paths of somebody's machine, hosts of package registries.
const FORBIDDEN: [(&str, &str); 8] = [
    ("/wo", "rk/"),
    ("/ro", "ot/."),
    ("deb.deb", "ian.org"),
    ("crates", ".io/"),
    ("pypi", ".org"),
    ("npmjs", ".org"),
    ("static.rust", "-lang"),
    ("TO", "DO"),
];

pub(crate) fn check<'a>(
    workspace: &Workspace,
    files: impl Iterator<Item = &'a str>,
) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let crates = workspace
        .sh
        .read_file(workspace.root().join("crates/README.md"))?;
    for file in files {
        let path = workspace.root().join(file);
        // Deleted but not yet committed, or not text.
        let Ok(text) = workspace.sh.read_file(&path) else {
            continue;
        };
        if file.ends_with(".rs") {
            problems.extend(length(file, &text));
        }
        problems.extend(forbidden(file, &text));
        if let Some(name) = file
            .strip_prefix("crates/")
            .and_then(|f| f.strip_suffix("/Cargo.toml"))
            // What is deeper is of no workspace of ours.
            .filter(|name| !name.contains('/'))
        {
            problems.extend(beside(name, &text, &crates, &path));
        }
    }
    Ok(problems)
}

/// Lines before the first test module.
fn code_lines(text: &str) -> usize {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count()
}

fn length(file: &str, text: &str) -> Option<String> {
    let lines = code_lines(text);
    // A table of test rows may be as long as it needs.
    if file.contains("/tests/") {
        return None;
    }
    if lines > ASKS && lines <= REFUSED {
        println!("tidy: {file} has {lines} lines; over {ASKS} ask for a split");
    }
    (lines > REFUSED).then(|| format!("{file} has {lines} lines of code, at most {REFUSED} may be"))
}

fn forbidden(file: &str, text: &str) -> Vec<String> {
    if file == "Cargo.lock" || file.starts_with("fixtures/vectors/") {
        return Vec::new();
    }
    let words = FORBIDDEN.map(|(a, b)| format!("{a}{b}"));
    text.lines()
        .enumerate()
        .flat_map(|(index, line)| {
            let found = words.iter().filter(|word| line.contains(word.as_str()));
            found
                .map(move |word| format!("{file}:{}: must not name {word}", index + 1))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// A crate has a README, inherits the lints, has a line in crates/README.md and at most one
/// integration test binary.
fn beside(name: &str, manifest: &str, crates: &str, path: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let folder = path.parent().expect("a manifest is in a folder");
    if !folder.join("README.md").exists() {
        problems.push(format!("crates/{name} has no README.md"));
    }
    if !manifest.contains("[lints]\nworkspace = true") {
        problems.push(format!(
            "crates/{name}/Cargo.toml does not inherit the workspace's lints"
        ));
    }
    if !crates.contains(&format!("| [{name}]({name}/)")) {
        problems.push(format!("crates/README.md has no row for {name}"));
    }
    let binaries = std::fs::read_dir(folder.join("tests"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| {
            let path = e.path();
            path.extension().is_some_and(|x| x == "rs") || path.join("main.rs").exists()
        })
        .count();
    if binaries > 1 {
        problems.push(format!(
            "crates/{name}/tests has {binaries} test binaries, one is enough"
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_refused_and_tests_do_not_count() {
        let check = |lines: usize, tests: usize, refused: bool| {
            let text = format!(
                "{}#[cfg(test)]\n{}",
                "x\n".repeat(lines),
                "y\n".repeat(tests)
            );
            assert_eq!(
                length("src/a.rs", &text).is_some(),
                refused,
                "{lines} and {tests}"
            );
        };
        check(REFUSED, 5000, false);
        check(REFUSED + 1, 0, true);
    }

    #[test]
    fn forbidden_words_are_found_with_their_line() {
        let text = format!("fine\nsee {}{}x\n", "/wo", "rk/");
        assert_eq!(forbidden("docs/a.md", &text).len(), 1);
        assert!(forbidden("docs/a.md", &text)[0].starts_with("docs/a.md:2:"));
        assert!(forbidden("docs/a.md", "nothing").is_empty());
    }
}

//! What test binaries print, read back: counts, skips and JUnit.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How one test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// Ignored by the test binary, or passed after it printed a line that begins with `SKIP`.
    Skipped,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) suite: String,
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    /// Why it was skipped, or what it printed when it failed.
    pub(crate) detail: String,
}

/// Reads the output of `cargo test … -- --show-output` line by line.
#[derive(Default)]
pub(crate) struct Reader {
    suite: String,
    pub(crate) cases: Vec<Case>,
    /// What a suite said of the machine it ran on: lines `property NAME = VALUE`.
    pub(crate) properties: Vec<(String, String)>,
    /// The folder of its package, by the name of a test binary: many packages call theirs the same.
    pub(crate) folders: BTreeMap<String, String>,
    /// Lines that begin with `SKIP` and were not captured; which test they are of is known at the end
    /// of the suite.
    skips: Vec<String>,
    /// The test whose captured output is being read, by index.
    captured: Option<usize>,
    in_successes: bool,
}

impl Reader {
    /// Takes one line; says whether a person wants to see it. What tests printed that passed is
    /// hidden, except the reason of a skip.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        if let Some(name) = suite(line, &self.folders) {
            self.suite = name;
        } else if let Some((name, value)) = property(line) {
            self.properties.push((name.to_owned(), value.to_owned()));
        } else if let Some((name, outcome)) = result(line) {
            let (suite, detail) = (self.suite.clone(), String::new());
            self.cases.push(Case {
                suite,
                name: name.to_owned(),
                outcome,
                detail,
            });
        } else if line == "successes:" {
            self.in_successes = true;
            return false;
        } else if line == "failures:" || line.starts_with("test result:") {
            self.in_successes = false;
            self.captured = None;
            self.settle_skips();
        } else if let Some(name) = captured(line) {
            let of = |case: &Case| case.suite == self.suite && case.name == name;
            self.captured = self.cases.iter().rposition(of);
        } else if line.starts_with("SKIP") && self.captured.is_none() {
            self.skips.push(line.to_owned());
            return true;
        } else if let Some(index) = self.captured {
            let case = &mut self.cases[index];
            if case.outcome == Outcome::Failed {
                case.detail.push_str(line);
                case.detail.push('\n');
            } else if line.starts_with("SKIP") {
                case.outcome = Outcome::Skipped;
                case.detail = line.to_owned();
                return true;
            }
        }
        !self.in_successes
    }
}

impl Reader {
    /// A tier was ended before its tests were done.
    pub(crate) fn ended(&mut self, tier: &str, why: &str) {
        self.settle_skips();
        self.captured = None;
        self.in_successes = false;
        self.cases.push(Case {
            suite: std::mem::take(&mut self.suite),
            name: format!("all of the tier {tier}"),
            outcome: Outcome::Failed,
            detail: why.to_owned(),
        });
    }

    fn settle_skips(&mut self) {
        for line in std::mem::take(&mut self.skips) {
            let said = line.trim_start_matches("SKIP").trim_start();
            let name = said.split([':', ' ']).next().unwrap_or_default();
            let of = |case: &&mut Case| {
                case.suite == self.suite && case.name.rsplit("::").next() == Some(name)
            };
            match self.cases.iter_mut().rfind(of) {
                Some(case) => {
                    case.outcome = Outcome::Skipped;
                    case.detail = line;
                }
                None => self.cases.push(Case {
                    suite: self.suite.clone(),
                    name: name.to_owned(),
                    outcome: Outcome::Skipped,
                    detail: line,
                }),
            }
        }
    }
}

/// `     Running tests/it/main.rs (target/debug/deps/it-…)`, `   Doc-tests pleach_vm`.
fn suite(line: &str, folders: &BTreeMap<String, String>) -> Option<String> {
    let line = line.trim_start();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name} doc"));
    }
    let rest = line.strip_prefix("Running ")?;
    let (source, binary) = rest.rsplit_once(" (")?;
    let file = binary.trim_end_matches(')').rsplit('/').next()?;
    let stem = file.rsplit_once('-').map_or(file, |(stem, _)| stem);
    let of = folders.get(file).map_or(stem, String::as_str);
    Some(format!("{of} {}", source.trim_start_matches("unittests ")))
}

fn property(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("property ")?.split_once(" = ")
}

fn result(line: &str) -> Option<(&str, Outcome)> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match outcome.split([' ', ',', '(']).next()? {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        // Not a test but what one starts: `#[ignore = "run by …"]`.
        "ignored" if outcome.starts_with("ignored, run ") => return None,
        "ignored" => Outcome::Skipped,
        _ => return None,
    };
    Some((name.trim_end(), outcome))
}

fn captured(line: &str) -> Option<&str> {
    let inner = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(inner.strip_suffix(" stdout").unwrap_or(inner))
}

/// All cases as one JUnit document; `properties` say on what it ran.
pub(crate) fn junit(cases: &[Case], properties: &[(String, String)]) -> String {
    let count = |outcome| cases.iter().filter(|c| c.outcome == outcome).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuites><testsuite name=\"pleach\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n<properties>",
        cases.len(),
        count(Outcome::Failed),
        count(Outcome::Skipped)
    );
    for (name, value) in properties {
        let _ = writeln!(
            out,
            "<property name=\"{}\" value=\"{}\"/>",
            xml(name),
            xml(value)
        );
    }
    out.push_str("</properties>\n");
    for Case {
        suite,
        name,
        outcome,
        detail,
    } in cases
    {
        let _ = write!(
            out,
            "<testcase classname=\"{}\" name=\"{}\"",
            xml(suite),
            xml(name)
        );
        let _ = match outcome {
            Outcome::Passed => writeln!(out, "/>"),
            Outcome::Failed => writeln!(out, "><failure>{}</failure></testcase>", xml(detail)),
            Outcome::Skipped => {
                writeln!(out, "><skipped message=\"{}\"/></testcase>", xml(detail))
            }
        };
    }
    out.push_str("</testsuite></testsuites>\n");
    out
}

fn xml(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .flat_map(|c| {
            let escaped: &[char] = match c {
                '&' => &['&', 'a', 'm', 'p', ';'],
                '<' => &['&', 'l', 't', ';'],
                '>' => &['&', 'g', 't', ';'],
                '"' => &['&', 'q', 'u', 'o', 't', ';'],
                _ => return vec![c],
            };
            escaped.to_vec()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "     Running tests/it/main.rs (target/debug/deps/it-0123)

running 4 tests
test a::fine ... ok
test a::no_tool ... ok
test a::broken ... FAILED
test a::later ... ignored, needs a machine
test a::child ... ignored, run by the tests below
SKIP past_capture: no ostree
test a::past_capture ... ok

successes:

---- a::no_tool stdout ----
SKIP no_tool: skopeo is missing

successes:
    a::fine
    a::no_tool

failures:

---- a::broken stdout ----
left <1> & right

failures:
    a::broken

test result: FAILED. 2 passed; 1 failed; 1 ignored
   Doc-tests pleach_vm
test crates/vm/README.md - (line 3) ... ok
";

    #[test]
    fn cases_are_read_with_suite_outcome_and_detail() {
        let mut reader = Reader::default();
        let shown: Vec<_> = OUTPUT.lines().filter(|line| reader.line(line)).collect();
        let cases: Vec<_> = reader
            .cases
            .iter()
            .map(|c| format!("{} {} {:?} {:?}", c.suite, c.name, c.outcome, c.detail))
            .collect();
        assert_eq!(
            cases,
            [
                r#"it tests/it/main.rs a::fine Passed """#,
                r#"it tests/it/main.rs a::no_tool Skipped "SKIP no_tool: skopeo is missing""#,
                r#"it tests/it/main.rs a::broken Failed "left <1> & right\n\n""#,
                r#"it tests/it/main.rs a::later Skipped """#,
                r#"it tests/it/main.rs a::past_capture Skipped "SKIP past_capture: no ostree""#,
                r#"pleach_vm doc crates/vm/README.md - (line 3) Passed """#,
            ]
        );
        assert!(shown.contains(&"SKIP no_tool: skopeo is missing"));
        assert!(shown.contains(&"left <1> & right"));
        assert!(!shown.contains(&"    a::fine"));
    }

    #[test]
    fn junit_is_escaped() {
        let mut reader = Reader::default();
        OUTPUT.lines().for_each(|line| {
            reader.line(line);
        });
        let text = junit(
            &reader.cases,
            &[("accelerator".into(), "tcg \"7.2\"".into())],
        );
        assert!(
            text.contains("tests=\"6\" failures=\"1\" skipped=\"3\""),
            "{text}"
        );
        assert!(text.contains("left &lt;1&gt; &amp; right"), "{text}");
        assert!(text.contains("value=\"tcg &quot;7.2&quot;\""), "{text}");
    }
}

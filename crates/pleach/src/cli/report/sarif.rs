//! Findings as SARIF 2.1.0 (OASIS), which code-scanning services read.

use std::collections::BTreeMap;

use pleach_fs_tree::{Digest, unescape};
use pleach_image_lint::{Finding, Report, Severity, rules};
use serde_json::{Value, json};

/// The log: one run, with all rules, the findings, and those that were suppressed. `subject` is the
/// image.
pub(crate) fn lint(report: &Report, subject: &str) -> Value {
    let mut known = BTreeMap::new();
    for rule in rules() {
        known.insert(
            rule.id.to_owned(),
            descriptor(rule.id, Some(rule.title), rule.why, rule.fix, rule.severity),
        );
    }
    let suppressed = report
        .suppressed
        .iter()
        .map(|suppressed| &suppressed.finding);
    for finding in report.findings.iter().chain(suppressed) {
        // Of a rule of one's own no more is known.
        let Finding {
            rule,
            why,
            fix,
            severity,
            ..
        } = finding;
        let own = || descriptor(rule, None, why, fix, *severity);
        known.entry(rule.clone()).or_insert_with(own);
    }
    let ids: Vec<&String> = known.keys().collect();
    let one = |finding: &Finding| result(finding, &ids, &report.layers);
    let mut results: Vec<Value> = report.findings.iter().map(one).collect();
    results.extend(report.suppressed.iter().map(|suppressed| {
        let mut value = one(&suppressed.finding);
        value["suppressions"] = json!([{
            "kind": "external",
            "justification": format!("{} ({})", suppressed.reason, suppressed.origin),
        }]);
        value
    }));
    let notes = report.unread.iter().map(|path| format!("not read: {path}"));
    let notes = notes.chain(report.notes.iter().cloned());
    let notes: Vec<Value> = notes
        .map(|text| json!({ "level": "note", "message": { "text": text } }))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "pleach lint",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": known.values().collect::<Vec<_>>(),
            }},
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": notes,
            }],
            "originalUriBaseIds": {
                "IMAGE": { "description": { "text": format!("the root of {subject}") } },
            },
            "columnKind": "utf16CodeUnits",
            "properties": {
                "image": subject,
                "role": report.role,
                "scope": report.scope,
            },
            "results": results,
        }],
    })
}

fn descriptor(id: &str, title: Option<&str>, why: &str, fix: &str, severity: Severity) -> Value {
    let mut value = json!({
        "id": id,
        "fullDescription": { "text": why },
        "help": { "text": fix },
        "defaultConfiguration": { "level": level(severity) },
    });
    if let Some(title) = title {
        value["shortDescription"] = json!({ "text": title });
    }
    value
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn result(finding: &Finding, ids: &[&String], layers: &[String]) -> Value {
    let Finding {
        rule,
        severity,
        path,
        layer,
        line,
        what,
        ..
    } = finding;
    let uri = uri(path);
    let mut place = json!({ "artifactLocation": { "uri": uri, "uriBaseId": "IMAGE" } });
    if let Some(line) = line {
        place["region"] = json!({ "startLine": line });
    }
    let mut value = json!({
        "ruleId": rule,
        "ruleIndex": ids.iter().position(|id| *id == rule),
        "level": level(*severity),
        "message": { "text": format!("{path}: {what}") },
        "locations": [{ "physicalLocation": place }],
        // The line is not in it: a finding is the same one when lines move.
        "partialFingerprints": {
            "pleach/v1": Digest::of(format!("{rule}\0{path}\0{what}").as_bytes()).to_string(),
        },
    });
    if let Some(digest) = layer.and_then(|layer| layers.get(layer)) {
        value["properties"] = json!({ "layer": digest });
    }
    value
}

/// The path as a relative reference (RFC 3986): all but its unreserved characters as `%XX`.
fn uri(path: &str) -> String {
    let bytes = unescape(path).unwrap_or_else(|_| path.as_bytes().to_vec());
    let relative = bytes.strip_prefix(b"/").unwrap_or(&bytes);
    let mut out = String::new();
    for &byte in relative {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_references() {
        let check = |path: &str, expect: &str| assert_eq!(uri(path), expect, "{path}");
        check("/etc/passwd", "etc/passwd");
        check("/etc/a b%c", "etc/a%20b%25c");
        check("/usr/bin/\\xff", "usr/bin/%FF");
        check("/etc/x:y#z?", "etc/x%3Ay%23z%3F");
        check("/", "");
    }
}

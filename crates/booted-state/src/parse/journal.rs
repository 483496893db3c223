//! `journalctl --output=json`.

use std::collections::BTreeMap;

use pleach_fs_tree::escape;
use serde_json::Value;

use crate::model::JournalProblem;

/// The fields that [`problems`] reads, for `--output-fields`.
pub(crate) const FIELDS: &str =
    "MESSAGE,PRIORITY,UNIT,_SYSTEMD_UNIT,SYSLOG_IDENTIFIER,_COMM,_TRANSPORT";

/// The messages, each once, with the number of times that it came. The keys are `source: message`.
pub(crate) fn problems(text: &[u8]) -> Result<Vec<(String, JournalProblem)>, String> {
    let mut counts: BTreeMap<(String, String, u8), u32> = BTreeMap::new();
    for line in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        let entry: Value =
            serde_json::from_slice(line).map_err(|error| format!("journalctl: {error}"))?;
        let source = [
            "UNIT",
            "_SYSTEMD_UNIT",
            "SYSLOG_IDENTIFIER",
            "_COMM",
            "_TRANSPORT",
        ]
        .iter()
        .map(|field| field_text(&entry[*field]))
        .find(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned());
        let priority = field_text(&entry["PRIORITY"]).parse().unwrap_or(3);
        *counts
            .entry((source, field_text(&entry["MESSAGE"]), priority))
            .or_default() += 1;
    }
    let problem = |((source, message, priority), count)| {
        let key = format!("{source}: {message}");
        let problem = JournalProblem {
            source,
            message,
            priority,
            count,
        };
        (key, problem)
    };
    Ok(counts.into_iter().map(problem).collect())
}

/// A field is a string; a list of bytes where it is no text; a list of either where it came more
/// than once, of which the first counts.
fn field_text(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text.as_bytes()),
        Value::Array(items) => {
            let byte = |item: &Value| item.as_u64().and_then(|number| u8::try_from(number).ok());
            match items.iter().map(byte).collect::<Option<Vec<u8>>>() {
                Some(bytes) => escape(&bytes),
                None => items.first().map(field_text).unwrap_or_default(),
            }
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted() {
        let text = r#"{"MESSAGE":"boom","PRIORITY":"3","UNIT":"a.service","_SYSTEMD_UNIT":"init.scope"}
{"MESSAGE":"boom","PRIORITY":"3","UNIT":"a.service"}
{"MESSAGE":[98,255],"PRIORITY":"2","_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"kernel"}
{"MESSAGE":["one","two"],"PRIORITY":"3","_COMM":"x"}
{"MESSAGE":null,"PRIORITY":"3"}
"#;
        let shown: Vec<String> = problems(text.as_bytes())
            .expect("JSON")
            .into_iter()
            .map(|(key, problem)| format!("{key} | {} {}", problem.priority, problem.count))
            .collect();
        let expect = [
            "a.service: boom | 3 2",
            "kernel: b\\xff | 2 1",
            "unknown:  | 3 1",
            "x: one | 3 1",
        ];
        assert_eq!(shown, expect);
        assert!(problems(b"-- No entries --\n").is_err());
        assert_eq!(problems(b""), Ok(vec![]));
    }
}

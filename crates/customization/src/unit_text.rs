//! The syntax of unit files, systemd.syntax(7), as far as this crate reads it.

/// One `Key=value` of a section, continuation lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<'a> {
    pub(crate) section: &'a str,
    pub(crate) key: &'a str,
    pub(crate) value: String,
}

/// All settings, in order.
///
/// # Errors
/// Words for a diagnostic, with the line in the unit file.
pub(crate) fn settings(text: &str) -> Result<Vec<Setting<'_>>, String> {
    let mut out: Vec<Setting<'_>> = Vec::new();
    let mut section = None;
    let mut lines = text.lines().enumerate();
    while let Some((index, raw)) = lines.next() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.strip_suffix(']');
            section =
                Some(name.ok_or_else(|| {
                    format!("line {}: a section header ends with ']'", index + 1)
                })?);
            continue;
        }
        let Some((key, first)) = line.split_once('=') else {
            return Err(format!(
                "line {}: neither a section nor a setting",
                index + 1
            ));
        };
        let Some(section) = section else {
            return Err(format!(
                "line {}: a setting before the first section",
                index + 1
            ));
        };
        let mut value = first.trim().to_owned();
        while value.ends_with('\\') {
            value.pop();
            // Comments inside a continued value are skipped.
            let next = lines
                .by_ref()
                .map(|(_, line)| line.trim())
                .find(|line| !line.starts_with(['#', ';']));
            match next {
                Some(next) => {
                    value.push(' ');
                    value.push_str(next);
                }
                None => break,
            }
        }
        out.push(Setting {
            section,
            key: key.trim(),
            value: value.trim().to_owned(),
        });
    }
    Ok(out)
}

/// Whether `text` has the syntax of a unit file.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err("it holds a NUL".into());
    }
    settings(text).map(|_| ())
}

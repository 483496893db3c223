//! Preset files (systemd.preset(5)).

use pleach_fs_tree::escape;

/// The directives of a file, in order: lines that are neither empty nor comment, each with single
/// spaces.
pub(crate) fn directives(content: &[u8]) -> Vec<String> {
    content
        .split(|&b| b == b'\n')
        .map(escape)
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_space_go() {
        let content = b"# c\n\n  enable   a.service\n;x\ndisable *\nenable b@.service  1 2\n";
        assert_eq!(
            directives(content),
            ["enable a.service", "disable *", "enable b@.service 1 2"]
        );
    }
}

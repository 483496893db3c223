//! Whether an image is older than the one that is deployed.

use std::cmp::Ordering;

use pleach_deployment::ImageRecord;

/// Why `next` is older than `now`, if it is: by version where both say one that compares, else by the time
/// at which they were created. Images that say neither cannot be told apart.
pub(super) fn downgrade(now: &ImageRecord, next: &ImageRecord) -> Option<String> {
    if now.digest == next.digest {
        return None;
    }
    if let (Some(old), Some(new)) = (&now.version, &next.version) {
        match compare(old, new) {
            Some(Ordering::Greater) => {
                return Some(format!("its version is {new}, and {old} is deployed"));
            }
            Some(Ordering::Less) => return None,
            _ => {}
        }
    }
    let both = now.created > 0 && next.created > 0;
    (both && next.created < now.created).then(|| {
        format!(
            "it was created {} s before the one that is deployed",
            now.created - next.created
        )
    })
}

/// Versions of numbers and words parted by anything else, as all schemes in use have them: numbers by
/// value, and a version that goes on is the later one (`1.2` before `1.2.1`), unless it goes on with a word
/// (`1.2-rc1` before `1.2`). Words of different spelling do not compare.
fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (parts(a), parts(b));
    let mut sides = (a.iter(), b.iter());
    loop {
        let order = match (sides.0.next(), sides.1.next()) {
            (None, None) => return Some(Ordering::Equal),
            (None, Some(Part::Number(_))) | (Some(Part::Word(_)), None) => {
                return Some(Ordering::Less);
            }
            (Some(Part::Number(_)), None) | (None, Some(Part::Word(_))) => {
                return Some(Ordering::Greater);
            }
            (Some(Part::Number(a)), Some(Part::Number(b))) => a.cmp(b),
            (Some(Part::Word(a)), Some(Part::Word(b))) if a == b => Ordering::Equal,
            _ => return None,
        };
        if order != Ordering::Equal {
            return Some(order);
        }
    }
}

enum Part {
    Number(u128),
    Word(String),
}

fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digit = first.is_ascii_digit();
        let same = |c: char| match digit {
            true => c.is_ascii_digit(),
            false => c.is_alphabetic(),
        };
        let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
        match (end, digit) {
            (0, _) => rest = &rest[first.len_utf8()..],
            (_, true) => {
                // Longer than any version: the largest there is.
                parts.push(Part::Number(rest[..end].parse().unwrap_or(u128::MAX)));
                rest = &rest[end..];
            }
            (_, false) => {
                parts.push(Part::Word(rest[..end].to_lowercase()));
                rest = &rest[end..];
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(version: Option<&str>, created: u64) -> ImageRecord {
        ImageRecord {
            reference: "oci:x".into(),
            digest: format!("{version:?}{created}"),
            version: version.map(str::to_owned),
            created,
            verified: String::new(),
        }
    }

    #[test]
    fn what_is_older() {
        let check = |now: (Option<&str>, u64), next: (Option<&str>, u64), older: bool| {
            let found = downgrade(&image(now.0, now.1), &image(next.0, next.1));
            assert_eq!(found.is_some(), older, "{now:?} to {next:?}: {found:?}");
        };
        check((Some("1.2"), 5), (Some("1.10"), 1), false);
        check((Some("1.10"), 1), (Some("1.2"), 5), true);
        check((Some("1.2"), 1), (Some("1.2.1"), 1), false);
        check((Some("1.2"), 1), (Some("1.2-rc1"), 1), true);
        check((Some("1.2-rc1"), 1), (Some("1.2"), 1), false);
        check(
            (Some("41.20260101.3.0"), 9),
            (Some("42.20250101.3.0"), 1),
            false,
        );
        check((Some("v2"), 1), (Some("v1"), 1), true);
        // The same version built again: the time decides.
        check((Some("1"), 5), (Some("1"), 4), true);
        check((Some("1"), 5), (Some("1"), 6), false);
        // What does not compare, neither.
        check((Some("noble"), 5), (Some("jammy"), 4), true);
        check((Some("noble"), 5), (Some("jammy"), 6), false);
        check((None, 5), (Some("1"), 4), true);
        check((None, 5), (None, 5), false);
        check((None, 0), (None, 5), false);
        check((None, 5), (None, 0), false);
    }
}

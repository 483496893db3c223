//! How much of long lists is on the page.

/// Bytes that are left.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// A part of what is left, for one of several that share it.
    pub(super) fn share(&mut self, among: usize) -> Self {
        let part = self.0 / among.max(1);
        self.0 -= part;
        Self(part)
    }

    /// What a part did not need.
    pub(super) fn give_back(&mut self, part: Self) {
        self.0 += part.0;
    }

    /// The items that fit, and how many do not; `size` is what one takes, at least.
    pub(super) fn fit<'a, T>(
        &mut self,
        items: &'a [T],
        size: impl Fn(&T) -> usize,
    ) -> (&'a [T], usize) {
        let mut count = 0;
        for item in items {
            match self.0.checked_sub(size(item)) {
                Some(left) => self.0 = left,
                None => break,
            }
            count += 1;
        }
        (&items[..count], items.len() - count)
    }
}

/// Bytes of a text on the page: what is escaped there is longer.
pub(super) fn escaped(text: &str) -> usize {
    let more = |byte: u8| match byte {
        b'"' => 5,
        b'&' => 4,
        b'<' | b'>' => 3,
        _ => 0,
    };
    text.len() + text.bytes().map(more).sum::<usize>()
}

/// The text, cut where it is longer than a page needs.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let check = |bytes: usize, expect: (usize, usize)| {
            let items = ["aaaa", "bb", "cccccc", "d"];
            let (shown, left) = Budget::new(bytes).fit(&items, |text| text.len());
            assert_eq!((shown.len(), left), expect, "{bytes}");
        };
        check(100, (4, 0));
        check(13, (4, 0));
        check(12, (3, 1));
        check(11, (2, 2));
        check(3, (0, 4));
        check(0, (0, 4));
        let mut budget = Budget::new(10);
        let part = budget.share(4);
        assert_eq!((budget.0, part.0), (8, 2));
        budget.give_back(part);
        assert_eq!(budget.0, 10);
        assert_eq!(escaped("a<\"b&"), "a&lt;&quot;b&amp;".len());
    }
}

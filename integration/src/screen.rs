//! The picture of a screen, as QEMU writes it.

use anyhow::{Context as _, Result, ensure};

/// A portable pixmap (ppm(5), the binary form with a byte a colour).
#[derive(Debug)]
pub struct Picture {
    /// Pixels in a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// Reads a pixmap.
    ///
    /// # Errors
    /// When it is none, or not whole.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        // Four words, each with one white space behind it; QEMU writes no comments.
        let mut words = bytes.splitn(5, u8::is_ascii_whitespace);
        let mut word = || Some(std::str::from_utf8(words.next()?).ok()?.to_owned());
        let (magic, width, height, depth) = (word(), word(), word(), word());
        ensure!(
            magic.as_deref() == Some("P6"),
            "no picture: {} bytes",
            bytes.len()
        );
        ensure!(depth.as_deref() == Some("255"), "depth {depth:?}");
        let number = |word: Option<String>| {
            let number = word.as_ref().and_then(|word| word.parse::<usize>().ok());
            number.with_context(|| format!("{word:?} is no size"))
        };
        let (width, height) = (number(width)?, number(height)?);
        let (pixels, rest) = words.next().context("no pixels")?.as_chunks::<3>();
        ensure!(
            pixels.len() == width * height && rest.is_empty(),
            "{width}x{height} is not {} pixels",
            pixels.len()
        );
        Ok(Self {
            width,
            height,
            pixels: pixels.to_vec(),
        })
    }

    /// The share of a colour among the pixels of some lines, from 0 to 1; none if there are no such
    /// lines.
    pub fn share(&self, lines: std::ops::Range<usize>, colour: [u8; 3]) -> Option<f64> {
        let pixels = self
            .pixels
            .get(lines.start * self.width..lines.end * self.width)?;
        let found = pixels.iter().filter(|pixel| **pixel == colour).count();
        (!pixels.is_empty()).then(|| found as f64 / pixels.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_read_and_measured() {
        let picture = Picture::parse(b"P6\n2 2\n255\n\n\n\nabcabcxyz").expect("a picture");
        for (lines, colour, expect) in [
            (0..1, *b"\n\n\n", Some(0.5)),
            (0..2, *b"abc", Some(0.5)),
            (1..2, *b"xyz", Some(0.5)),
            (1..2, *b"\n\n\n", Some(0.0)),
            (1..1, *b"abc", None),
            (1..3, *b"abc", None),
        ] {
            assert_eq!(
                picture.share(lines.clone(), colour),
                expect,
                "{lines:?} {colour:?}"
            );
        }
    }

    #[test]
    fn what_is_no_whole_picture_is_refused() {
        for bytes in [
            &b""[..],
            b"P5\n1 1\n255\nabc",
            b"P6\n1 1\n65535\nabc",
            b"P6\n1 x\n255\nabc",
            b"P6\n1 1\n255\nab",
            b"P6\n1 1\n255\nabcd",
            b"P6\n1 1\n255",
        ] {
            assert!(Picture::parse(bytes).is_err(), "{bytes:?}");
        }
    }
}

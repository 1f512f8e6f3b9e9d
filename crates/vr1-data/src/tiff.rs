//! What a TIFF file says of its values that decoders do not heed.

/// What there is to do about a file's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// They are as they are decoded.
    Plain,
    /// Colours are multiplied by alpha.
    Premultiplied,
    /// They are decoded otherwise than Pillow does it.
    Unread(&'static str),
}

/// Reads the tags of the first picture. Of a file that is damaged nothing is said here: its decoder will.
pub(crate) fn values(bytes: &[u8]) -> Values {
    let tag = |number| Tags { bytes }.first(number);
    let (photometric, bits) = (tag(262), tag(258).unwrap_or(1));
    match () {
        () if tag(266) == Some(2) => Values::Unread("a TIFF whose bits are in the other order (FillOrder 2)"),
        () if photometric == Some(0) && bits == 16 => Values::Unread("a TIFF of 16-bit grey in which 0 is white"),
        () if photometric == Some(5) && bits == 16 => Values::Unread("a TIFF of 16-bit CMYK"),
        () if tag(338) == Some(1) => Values::Premultiplied,
        () => Values::Plain,
    }
}

/// A value below the alpha that it was multiplied by, as it was before.
pub(crate) fn unmultiplied(value: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        alpha => (u32::from(value) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

struct Tags<'a> {
    bytes: &'a [u8],
}

impl Tags<'_> {
    /// The first value of a tag of shorts.
    fn first(&self, tag: u64) -> Option<u64> {
        let big = self.number(2, 2)? == 43;
        let (header, count, entry, value) = if big { ((8, 8), 8, 20, 12) } else { ((4, 4), 2, 12, 8) };
        let table = self.number(header.0, header.1)? as usize;
        let entries = self.number(table, count)?.min(1 << 12) as usize;
        let at = (0..entries)
            .map(|i| table.saturating_add(count + i * entry))
            .find(|&at| self.number(at, 2) == Some(tag))?;
        let length = self.number(at + 4, if big { 8 } else { 4 })?;
        let fits = 2 * length <= if big { 8 } else { 4 };
        let place = if fits { at + value } else { self.number(at + value, if big { 8 } else { 4 })? as usize };
        self.number(place, 2)
    }

    fn number(&self, at: usize, length: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(length)?)?;
        let add = |number, byte: &u8| number << 8 | u64::from(*byte);
        Some(match self.bytes.first() {
            Some(b'I') => bytes.iter().rev().fold(0, add),
            _ => bytes.iter().fold(0, add),
        })
    }
}

//! Whether a JPEG file is all there. Decoders fill in what is missing and say nothing.

/// Whether the bytes end before the end-of-image marker (ITU T.81, B.1): cut short in copying or downloading.
pub(crate) fn is_cut_short(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    const SCAN: u8 = 0xda;
    let mut rest = &bytes[2.min(bytes.len())..]; // behind the start-of-image marker
    loop {
        let Some(marker) = next_marker(&mut rest) else { return true };
        if marker == END {
            return false;
        }
        let [high, low, ..] = *rest else { return true };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(behind) = rest.get(length..) else { return true };
        rest = behind;
        if marker == SCAN {
            // What follows is coded data, in which 0xff 0x00 is a byte and 0xff 0xd0 … 0xd7 restart the coder.
            let is_segment = |w: &[u8]| w[0] == 0xff && !matches!(w[1], 0x00 | 0xd0..=0xd7 | 0xff);
            let Some(at) = rest.windows(2).position(is_segment) else { return true };
            rest = &rest[at..];
        }
    }
}

/// Skips to behind the next marker and gives its second byte.
fn next_marker(rest: &mut &[u8]) -> Option<u8> {
    let at = rest.windows(2).position(|w| w[0] == 0xff && !matches!(w[1], 0x00 | 0xff))?;
    let marker = rest[at + 1];
    *rest = &rest[at + 2..];
    Some(marker)
}

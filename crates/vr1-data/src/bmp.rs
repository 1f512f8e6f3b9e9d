//! BMP files of 16 bits a pixel, whose levels Pillow rounds down.

/// How many levels red, green and blue have above 0 in a file of 16 bits a pixel; none of others.
pub(crate) fn levels_of_16_bits(bytes: &[u8]) -> Option<[u16; 3]> {
    let long = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let short = |at: usize| bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
    if long(14)? < 40 || short(28)? != 16 {
        return None;
    }
    let bits = |at: usize| Some(long(at)?.count_ones().min(8));
    let bits = if long(30)? == 3 { [bits(54)?, bits(58)?, bits(62)?] } else { [5; 3] };
    Some(bits.map(|bits| (1 << bits) - 1))
}

/// A level that was rounded to the nearest of 256, rounded down.
pub(crate) fn rounded_down(level: u8, levels: u16) -> u8 {
    let step = (u32::from(level) * u32::from(levels) + 127) / 255;
    (step * 255 / u32::from(levels).max(1)) as u8
}

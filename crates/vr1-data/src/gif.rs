//! What of a GIF's canvas its first frame leaves free. Pillow shows the colour of the transparent entry there, or of entry 0.

/// The first frame of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    around: [u8; 3],
}

impl Frame {
    /// Reads up to the first frame's description; none where there is no such.
    pub(crate) fn first(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
        let palette = |at: usize, flags: u8| {
            let length = 3 << ((flags & 7) + 1);
            if flags & 0x80 == 0 { Some((None, at)) } else { Some((Some(bytes.get(at..at + length)?), at + length)) }
        };
        let (global, mut at) = palette(13, *bytes.get(10)?)?;
        let mut entry = 0;
        loop {
            match *bytes.get(at)? {
                0x21 => {
                    if let [0xf9, 4, flags, _, _, index, ..] = *bytes.get(at + 1..)? {
                        entry = if flags & 1 == 1 { usize::from(index) } else { 0 };
                    }
                    at += 2;
                    while let length @ 1.. = usize::from(*bytes.get(at)?) {
                        at += 1 + length;
                    }
                    at += 1;
                }
                0x2c => {
                    let (own, _) = palette(at + 10, *bytes.get(at + 9)?)?;
                    let colours = own.or(global).unwrap_or_default();
                    let around = colours.get(3 * entry..3 * entry + 3).map_or([0; 3], |c| [c[0], c[1], c[2]]);
                    let [left, top] = [number(at + 1)?, number(at + 3)?];
                    return Some(Self { left, top, width: number(at + 5)?, height: number(at + 7)?, around });
                }
                _ => return None,
            }
        }
    }

    /// Whether it ends within a canvas of this size.
    pub(crate) fn is_within(&self, width: u32, height: u32) -> bool {
        self.left + self.width <= width && self.top + self.height <= height
    }

    /// The colour that Pillow shows at a place, where it is none of the frame's.
    pub(crate) fn outside(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        let covers = |at: u32, from: u32, length: u32| (from..from + length).contains(&at);
        let inside = covers(x, self.left, self.width) && covers(y, self.top, self.height);
        (!inside).then_some(self.around)
    }
}

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::run_error::RunError;

/// Up to so many bytes all of a file counts.
const WHOLE: u64 = 64 << 20;
/// Of a larger one so many pieces, spread evenly from its first byte to its last.
const PIECES: u64 = 64;
const PIECE: u64 = 1 << 20;

/// What a file is known again by: the BLAKE3 hash of its length and its bytes; of a file above 64 MiB that of 64 pieces of 1 MiB from
/// all over it, so that it takes no longer where there is a lot of it.
///
/// # Errors
/// If the file cannot be read.
pub fn fingerprint(path: &Path) -> Result<String, RunError> {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&length.to_le_bytes());
        if length <= WHOLE {
            hasher.update_reader(&mut file)?;
            return Ok(hasher.finalize());
        }
        for piece in 0..PIECES {
            file.seek(SeekFrom::Start((length - PIECE) * piece / (PIECES - 1)))?;
            hasher.update_reader(Read::by_ref(&mut file).take(PIECE))?;
        }
        Ok(hasher.finalize())
    };
    Ok(read().map_err(RunError::io("read", path))?.to_hex().to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::Write;

    use super::{File, Seek, SeekFrom, fingerprint};

    #[test]
    fn a_byte_at_either_end_and_the_length_of_a_large_file_count() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |place: u64, byte: u8| {
            let mut open = File::options().write(true).open(file.path()).unwrap();
            open.seek(SeekFrom::Start(place)).unwrap();
            open.write_all(&[byte]).unwrap();
        };
        let last = 200 << 20;
        let mut seen = vec![];
        for (place, byte) in [(last, 0), (0, 1), (last, 1), (last + 1, 0)] {
            write(place, byte);
            seen.push(fingerprint(file.path()).unwrap());
        }
        assert_eq!(fingerprint(file.path()).unwrap(), seen[3]);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn every_byte_of_a_small_file_counts() {
        let mut seen: Vec<String> = (0..300)
            .map(|place| {
                let file = tempfile::NamedTempFile::new().unwrap();
                let mut bytes = [0; 300];
                bytes[place] = 1;
                file.as_file().write_all(&bytes).unwrap();
                fingerprint(file.path()).unwrap()
            })
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 300);
    }
}

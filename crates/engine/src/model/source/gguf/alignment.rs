//! Finds GGUF files that align their tensors to zero bytes, by which candle's reader would divide.
//!
//! Walks through the keys and skips their values. Other faults of the file are left to the reader.

use std::io::{self, Read};

const KEY: &[u8] = b"general.alignment";
/// The format allows no longer key.
const LONGEST_KEY: u64 = 65_535;
/// As deep as candle's reader follows arrays, and deeper than any writer nests them.
const DEEPEST: u32 = 64;

const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Returns whether the header sets `general.alignment` to zero. Reads from the beginning of the file.
pub(super) fn is_zero(file: &mut impl Read) -> bool {
    Header::begin(file).and_then(Header::alignment_is_zero).unwrap_or(false)
}

struct Header<'a, R> {
    file: &'a mut R,
    /// The first version wrote lengths in 4 bytes.
    has_long_lengths: bool,
    keys: u64,
}

impl<'a, R: Read> Header<'a, R> {
    fn begin(file: &'a mut R) -> io::Result<Self> {
        let mut header = Header { file, has_long_lengths: true, keys: 0 };
        header.skip(4)?;
        header.has_long_lengths = header.number()? > 1;
        let _tensors = header.length()?;
        header.keys = header.length()?;
        Ok(header)
    }

    fn alignment_is_zero(mut self) -> io::Result<bool> {
        let mut is_zero = false;
        for _ in 0..self.keys {
            let length = self.length()?;
            if length > LONGEST_KEY {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut key = vec![0; length as usize];
            self.file.read_exact(&mut key)?;
            while key.last() == Some(&0) {
                key.pop();
            }
            let kind = self.number()?;
            match width(kind).filter(|_| key == KEY) {
                // The kinds that candle takes an alignment from. If there are several, the last one counts.
                Some(width) => {
                    let mut value = [0; 8];
                    self.file.read_exact(&mut value[..width as usize])?;
                    is_zero = kind < 6 && value == [0; 8];
                }
                None => self.skip_value(kind, DEEPEST)?,
            }
        }
        Ok(is_zero)
    }

    fn skip_value(&mut self, kind: u32, depth: u32) -> io::Result<()> {
        match kind {
            STRING => {
                let length = self.length()?;
                self.skip(length)
            }
            ARRAY if depth > 0 => {
                let (kind, length) = (self.number()?, self.length()?);
                match width(kind) {
                    Some(width) => self.skip(width.saturating_mul(length)),
                    None => (0..length).try_for_each(|_| self.skip_value(kind, depth - 1)),
                }
            }
            kind => match width(kind) {
                Some(width) => self.skip(width),
                None => Err(io::ErrorKind::InvalidData.into()),
            },
        }
    }

    /// Reads on rather than seeking, which keeps a reader's buffer.
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let read = io::copy(&mut self.file.by_ref().take(bytes), &mut io::sink())?;
        if read == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn number(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn length(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        let width = if self.has_long_lengths { 8 } else { 4 };
        self.file.read_exact(&mut bytes[..width])?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// Returns the bytes of a value of this kind; `None` for strings, arrays and unknown kinds.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

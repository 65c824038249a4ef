//! The bytes of a model's file.

use std::{
    fs::{self, File},
    io,
    ops::Deref,
    path::Path,
};

use memmap2::Mmap;

/// All bytes of a file, without a copy of their own where that is possible.
pub(crate) enum FileBytes {
    /// Mapped into memory: pages are read when they are looked at, and belong to the system's cache.
    Mapped(Mmap),
    /// Read, from a file system that maps nothing.
    Read(Vec<u8>),
    /// A part of the program.
    Embedded(&'static [u8]),
}

impl FileBytes {
    /// Maps a file.
    ///
    /// # Errors
    /// If it cannot be opened or mapped.
    #[expect(unsafe_code, reason = "a file that others change while it is mapped")]
    pub(crate) fn map(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the bytes are only read, and only while the model is loaded. A program that writes to the file
        // meanwhile would change what is loaded, as it would with any way of reading, and one that cuts it short ends
        // this program. Every program that maps model files relies on that.
        match unsafe { Mmap::map(&file) } {
            Ok(map) => Ok(FileBytes::Mapped(map)),
            Err(_) => fs::read(path).map(FileBytes::Read),
        }
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            FileBytes::Mapped(map) => map,
            FileBytes::Read(bytes) => bytes,
            FileBytes::Embedded(bytes) => bytes,
        }
    }
}

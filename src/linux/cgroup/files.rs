//! Reading and writing the kernel's control files. None is ever created.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// Writes a value with one call, as the kernel takes it.
///
/// # Errors
/// The file is not there (the controller is not), or the kernel refuses the value.
pub fn write(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    let mut control = OpenOptions::new().write(true).open(dir.join(file))?;
    // The newline, because an empty write is none.
    control.write_all(format!("{value}\n").as_bytes())
}

/// Reads a file without the newline at its end.
///
/// # Errors
/// It is not there, or not readable.
pub fn read(dir: &Path, file: &str) -> io::Result<String> {
    // These files are small, and say nothing of their size: most are read with one call.
    let mut buffer = [0; 4096];
    let mut text = Vec::new();
    let mut file = File::open(dir.join(file))?;
    loop {
        let length = file.read(&mut buffer)?;
        text.extend_from_slice(buffer.get(..length).unwrap_or_default());
        // The kernel gives whole lines, as many as there is room for: with so much room left, there are no more.
        if length < buffer.len() / 2 {
            break;
        }
    }
    let mut text =
        String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    text.truncate(text.trim_end().len());
    Ok(text)
}

/// The number behind a key in a file of lines `key number`, such as `memory.events`.
#[must_use]
pub fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

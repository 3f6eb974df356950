//! Reading and writing the kernel's control files. None is ever created.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
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
    Ok(fs::read_to_string(dir.join(file))?.trim_end().to_owned())
}

/// The number behind a key in a file of lines `key number`, such as `memory.events`.
#[must_use]
pub fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

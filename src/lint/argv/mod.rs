//! PURE: what a command line means, by whose it is: ffmpeg's, gst-launch's, a shell's.

pub mod ffmpeg;
pub mod gst;
pub mod shell;

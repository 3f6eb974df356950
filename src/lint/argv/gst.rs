//! PURE: command lines of gst-launch.

/// Whether it ends its streams when it is interrupted, so that what it writes is whole.
pub fn ends_streams(argv: &[String]) -> bool {
    argv.iter().any(|text| text == "-e" || text == "--eos-on-shutdown")
}

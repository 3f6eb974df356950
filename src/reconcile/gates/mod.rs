//! PURE: what has to be so before a job that is wanted may start. A file each.

pub mod space;

//! Configuration: parse into the raw types of [`schema`], then resolve.

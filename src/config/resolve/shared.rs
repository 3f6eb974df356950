//! PURE: what several tables do alike.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A table of free keys with another one laid over it.
pub(super) fn merge<K: Ord, V>(mut base: BTreeMap<K, V>, over: BTreeMap<K, V>) -> BTreeMap<K, V> {
    base.extend(over);
    base
}

/// Applies a change to a path, as a text.
pub(super) fn change_path(path: &mut PathBuf, change: &mut dyn FnMut(&mut String)) {
    // Made from a text, so this gives it back.
    if let Ok(mut text) = std::mem::take(path).into_os_string().into_string() {
        change(&mut text);
        *path = text.into();
    }
}

//! PURE: `[[needs]]`: what a job needs before it starts.

use std::path::PathBuf;

use super::reader::Reader;
use crate::config::problem::{At, KeyPath};
use crate::config::schema::NeedTable;
use crate::model::space::FreeSpace;

/// Most needs of a job: each of them is asked for before each start.
const MAX_NEEDS: usize = 16;

/// Reads the tables.
pub(super) fn read(read: &mut Reader, tables: &[NeedTable]) -> Vec<FreeSpace> {
    let path = KeyPath::of("needs");
    if tables.len() > MAX_NEEDS {
        read.error(
            "too-many-needs",
            At::Key(path),
            format!("`needs` has {} entries; at most {MAX_NEEDS} are allowed", tables.len()),
            "paths on one file system can share an entry",
        );
        return Vec::new();
    }
    let mut needs = Vec::new();
    for (n, table) in tables.iter().enumerate() {
        let mut own = Reader::default();
        needs.extend(free(&mut own, table));
        let table = path.clone().index(n);
        read.problems.extend(own.problems.into_iter().map(|problem| problem.below(&table)));
    }
    needs
}

/// A need; places are told from its own table on.
fn free(read: &mut Reader, table: &NeedTable) -> Option<FreeSpace> {
    let Some(free) = &table.free else {
        read.error(
            "incomplete-need",
            At::File,
            "this entry of `needs` says nothing".to_owned(),
            "add `free = { path = \"/srv/out\", at_least = \"5GiB\" }`, or remove it",
        );
        return None;
    };
    let path = read.path("free.path", free.path.as_ref());
    let at_least = read.size("free.at_least", free.at_least.as_ref(), 1);
    for (missing, key) in [(free.path.is_none(), "path"), (free.at_least.is_none(), "at_least")] {
        if missing {
            read.error(
                "incomplete-need",
                At::Key(KeyPath::of("free")),
                format!("`free` has no `{key}`"),
                "a need for space is `free = { path = \"/srv/out\", at_least = \"5GiB\" }`",
            );
        }
    }
    let (path, at_least): (PathBuf, _) = (path?, at_least?);
    Some(FreeSpace { path, at_least: at_least.0 })
}

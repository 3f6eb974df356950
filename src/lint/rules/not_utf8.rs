//! A file in another encoding.

use crate::lint::rule::rule;

rule! {
    "not-utf8" Error "The file is not UTF-8"
    because "\
TOML is UTF-8 by definition. A file in Latin-1 or UTF-16 would give paths and names that do not exist. \
Save it as UTF-8, in which a byte order mark and Windows line ends do no harm."
    bad Words "a job file saved as UTF-16 by an editor of Windows"
    good Words "the same file saved as UTF-8"
}

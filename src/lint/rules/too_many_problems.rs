//! More than can be read.

use crate::lint::rule::rule;

rule! {
    "too-many-problems" Error "The file has more problems than are shown"
    because "\
Of each file the first hundred problems are shown, errors before warnings. Mend those first: one mistake \
is often the cause of many."
    bad Words "a file with 10,000 unknown values"
    good Words "a file with ten"
}

//! A key that means nothing.

use crate::lint::rule::rule;

rule! {
    "unknown-key" Error "A key that this kind of file does not have"
    because "\
A key that is not known would do nothing. If `memory_limt` were passed over in silence, the job would run \
without its limit, and nobody would notice before the machine is out of memory. So it is an error.

Most often it is a typing error, or a key in the wrong table: the message names the nearest one. \
Labels of your own belong into `[tags]`."
    bad "[exec]\ncommand = [\"/usr/bin/true\"]\n\n[constraints]\nmemory_limt = \"1GiB\"\n"
    good "[exec]\ncommand = [\"/usr/bin/true\"]\n\n[constraints]\nmemory_limit = \"1GiB\"\n"
}

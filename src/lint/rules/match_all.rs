//! A description that fits every process.

use crate::lint::rule::rule;

rule! {
    "match-all" Error "`match` fits every process"
    because "\
`min_runtime`, `max_runtime` and `not` alone say nothing about which program is meant, and an empty `match` fits the \
first process there is. At least one of `name`, `exe`, `args`, `user`, `parent`, `working_dir`, `cgroup` and `unit` \
has to be given. An empty `args` is contained in every text, and every process is in the cgroup `/` and works below \
`/`: none of these counts."
    bad r#"
[attach]
match = { min_runtime = "5s" }
"#
    good r#"
[attach]
match = { name = "obs", min_runtime = "5s" }
"#
}

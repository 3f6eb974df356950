//! A time zone that is nowhere.

use crate::config::suggest::nearest;
use crate::lint::rule::{At, Context, KeyPath, Problem, rule};
use crate::model::zones::Zones;

rule! {
    "unknown-timezone" Error "There is no time zone of this name"
    because "\
Time zones have the names of the IANA database, mostly a continent and a city: \"Europe/Berlin\", \
\"America/New_York\", \"UTC\". They are looked up in `/usr/share/zoneinfo`, and where they are missing \
there, among those built into the program. `timedatectl list-timezones` lists them.

Abbreviations such as CEST are no zones: they mean different things in different places, and say nothing \
of the other half of the year."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
from = "22:00"
timezone = "Europe/Berln"
constraints = { nice = 10 }
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
from = "22:00"
timezone = "Europe/Berlin"
constraints = { nice = 10 }
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    for (n, window) in context.job.schedule.iter().enumerate() {
        let Some(name) = window.timezone.as_ref().filter(|_| window.zone(&context.facts.zones).is_none())
        else {
            continue;
        };
        let known = Zones::names();
        let city = |known: &str| known.rsplit('/').next().map(str::to_lowercase) == Some(name.to_lowercase());
        let near = known.iter().map(String::as_str).find(|known| city(known));
        let help = match near.or_else(|| nearest(name, known.iter().map(String::as_str))) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "write a name of the IANA database, as \"Europe/Berlin\" or \"UTC\"".into(),
        };
        let at = At::Value(KeyPath::of("schedule").index(n).key("timezone"));
        problems.push(RULE.problem(at, format!("there is no time zone {name:?}")).help(help));
    }
}

//! From a systemd service unit (systemd.service(5), systemd.exec(5), systemd.resource-control(5)), in steps: one for
//! each part of a job file, and one for what is [`left_out`].

mod constraints;
mod conversion;
mod exec;
mod left_out;
mod lifecycle;
mod stop;
mod unit;
mod values;

use conversion::Conversion;
use unit::{Name, Unit};

use super::toml::{Draft, Item};
use crate::model::ids::check_name;

/// Converts a unit. `file_name` gives the unit its name.
pub fn convert(file_name: Option<&str>, text: &str) -> Result<Draft, Vec<String>> {
    let name = Name::of(file_name);
    let mut work = Conversion {
        draft: Draft::new("a systemd unit", name.prefix.as_deref()),
        unit: Unit::read(text),
        name,
        env: Vec::new(),
        has_files: false,
        instance_used: false,
    };
    run(&mut work)?;
    Ok(work.draft)
}

fn run(work: &mut Conversion) -> Result<(), Vec<String>> {
    if !work.unit.directives.iter().any(|directive| directive.section == "Service") {
        return Err(vec![
            "there is no [Service] section with a setting in it; only services can be jobs (what a timer \
             starts can have a [[schedule]] of constraints, but no times to start at)"
                .into(),
        ]);
    }
    for line in std::mem::take(&mut work.unit.odd).into_iter().take(10) {
        work.draft.note(format!("{line:?}"), "no setting, and without effect in systemd, too");
    }
    if !work.unit.whole {
        work.draft.note(
            "drop-ins",
            "not read; `systemctl cat UNIT | ffrtmp-sup convert --from systemd -` converts the unit with them",
        );
    }
    if let Some(text) = work.unit.one("Description") {
        let text = work.expanded("Description=", &text);
        work.draft.set("description", text, "Description=");
    }
    lifecycle::take_over(work);
    exec::take_over(work)?;
    constraints::take_over(work);
    stop::take_over(work);
    instances(work);
    left_out::note(work);
    Ok(())
}

/// Names the instances of a template.
fn instances(work: &mut Conversion) {
    let default = work.unit.one("DefaultInstance");
    if !work.name.template && !work.instance_used {
        return;
    }
    let instance = work.name.instance.clone().or(default).filter(|name| check_name(name).is_ok());
    if instance.is_none() {
        work.draft.note(
            "%i",
            "this is a template: name its instances in `instances`, where \"example\" stands now; each is a job <job>@<instance>",
        );
    }
    let instance = instance.unwrap_or_else(|| "example".into());
    work.draft.set("instances", Item::List(vec![instance]), "the name of the unit");
}

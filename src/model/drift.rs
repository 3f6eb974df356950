//! What became of constraints since they were told last: changed by somebody else, put right, or refused
//! and then granted.

use super::constraints::ConstraintStatus;

/// What is to be told of a second look, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// In force, then changed by somebody else, and in force again.
    pub put_right: Vec<String>,
    /// In force, and now not any more.
    pub lost: Vec<String>,
    /// Not in force, and now it is.
    pub gained: Vec<String>,
}

/// Whether this status is of a constraint that was in force when it was told last.
#[must_use]
pub fn was_in_force(known: &[ConstraintStatus], status: &ConstraintStatus) -> bool {
    of(known, status).is_some_and(|was| was.applied)
}

/// What is told from now on. `known` was told before, `found` was read back, and `tried` is what came of
/// putting some of it in force after that.
#[must_use]
pub fn settle(
    known: &[ConstraintStatus],
    found: Vec<ConstraintStatus>,
    tried: &[ConstraintStatus],
) -> (Vec<ConstraintStatus>, Drift) {
    let mut drift = Drift::default();
    let mut now = Vec::new();
    for seen in found {
        let was = of(known, &seen);
        let is = match (of(tried, &seen), was) {
            (Some(tried), _) if tried.applied || !seen.applied => tried.clone(),
            // The answer to the attempt says more than reading back does.
            (None, Some(was)) if !seen.applied && is_refused_as(was, &seen) => was.clone(),
            _ => seen.clone(),
        };
        let text = |actual: &Option<String>| actual.clone().unwrap_or_else(|| "gone".into());
        match was {
            Some(was) if was.applied && !is.applied => {
                drift.lost.push(format!("{} ({})", is.name, is.reason.as_deref().unwrap_or("not read back")));
            }
            Some(was) if was.applied && !seen.applied => {
                let (actual, before) = (text(&seen.actual), text(&was.actual));
                drift.put_right.push(format!("{} was {actual}, not {before}", is.name));
            }
            Some(was) if !was.applied && is.applied => drift.gained.push(is.name.to_string()),
            _ => {}
        }
        now.push(is);
    }
    // Defaults that could not be restored are not looked at again.
    let defaults = known.iter().filter(|was| of(&now, was).is_none()).cloned().collect::<Vec<_>>();
    now.extend(defaults);
    (now, drift)
}

fn of<'a>(list: &'a [ConstraintStatus], like: &ConstraintStatus) -> Option<&'a ConstraintStatus> {
    list.iter().find(|status| status.name == like.name)
}

fn is_refused_as(was: &ConstraintStatus, seen: &ConstraintStatus) -> bool {
    !was.applied && (&was.requested, &was.actual) == (&seen.requested, &seen.actual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::constraints::{Backend, ConstraintName};

    const REFUSED: Option<&str> = Some("refused");

    fn status(name: ConstraintName, actual: &str, reason: Option<&str>) -> ConstraintStatus {
        ConstraintStatus {
            name,
            requested: "1".into(),
            applied: reason.is_none(),
            actual: Some(actual.into()),
            backend: Backend::CgroupV2,
            reason: reason.map(Into::into),
        }
    }

    #[test]
    fn each_change_is_told_for_what_it_is() {
        use ConstraintName::{CpuWeight, MemoryHigh, MemoryLimit, Nice, TasksMax};
        let known = [
            status(CpuWeight, "1", None),
            status(MemoryLimit, "1", None),
            status(MemoryHigh, "9", REFUSED),
            status(TasksMax, "9", REFUSED),
            status(Nice, "5", REFUSED),
        ];
        let other = Some("it is 7");
        let found = vec![
            status(CpuWeight, "7", other),
            status(MemoryLimit, "7", other),
            status(MemoryHigh, "9", Some("it is 9")),
            status(TasksMax, "9", Some("it is 9")),
        ];
        let tried = [
            status(CpuWeight, "1", None),
            status(MemoryLimit, "7", Some("no room")),
            status(MemoryHigh, "1", None),
        ];
        let (now, drift) = settle(&known, found, &tried);
        assert_eq!(drift.put_right, ["cpu_weight was 7, not 1"]);
        assert_eq!(drift.lost, ["memory_limit (no room)"]);
        assert_eq!(drift.gained, ["memory_high"]);
        let [weight, limit, high] = tried;
        let [.., tasks, nice] = known;
        assert_eq!(now, [weight, limit, high, tasks, nice], "the default that nice lacks is still told");
    }

    #[test]
    fn what_is_in_force_by_another_mechanism_stays_so() {
        let known = [status(ConstraintName::Cpus, "0", None)];
        let tried = [status(ConstraintName::Cpus, "", Some("no controller"))];
        let (now, drift) = settle(&known, known.to_vec(), &tried);
        assert_eq!((now.as_slice(), drift), (known.as_slice(), Drift::default()));
    }
}

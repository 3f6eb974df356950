//! What `/proc/PID/stat` says of a zombie, and whether that is shown to us at all.

use crate::linux::process::split_stat;

/// What `/proc/PID/stat` says of a zombie (proc_pid_stat(5); fs/proc/array.c, `do_task_stat`).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Zombie {
    /// Fields 14 to 17: user and system, its own and that of the children it waited for.
    pub(super) cpu_ticks: u64,
    /// Field 52; 0 if we may not see it.
    pub(super) status: i32,
    /// That the status is shown, by itself: it is not 0, or field 35 is not, which the kernel shows on
    /// the same condition. Of a zombie it shows 1 there (from Linux 5.16 on), once that left its CPU.
    pub(super) is_shown: bool,
}

impl Zombie {
    /// `None` for a process that lives, and for a line that was made while it was being reaped.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let fields: Vec<&str> = split_stat(text)?.2.collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let number = |field: &str| field.parse::<u64>().ok();
        // Field 20 counts its threads. A zombie has one; without it the line lacks what it shares with them.
        if !matches!(field(3)?, "Z" | "X") || number(field(20)?)? == 0 {
            return None;
        }
        let mut cpu_ticks: u64 = 0;
        for used in 14..=17 {
            cpu_ticks = cpu_ticks.checked_add(number(field(used)?)?)?;
        }
        let status = field(52)?.parse().ok()?;
        Some(Self { cpu_ticks, status, is_shown: status != 0 || number(field(35)?)? != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.18 shows them: ended with code 7, with code 0, and with code 0 to somebody who may not
    /// know it.
    const CODE_7: &str = "3313 (t) Z 3312 3303 24172 0 -1 4227148 8 0 0 0 1 2 30 400 20 0 1 0 2343941 0 0 \
        18446744073709551615 0 0 0 0 0 0 0 0 0 1 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 1792\n";
    const CODE_0: &str = "3313 (a) Z (b) Z 3312 3303 24172 0 -1 4227148 8 0 0 0 1 2 30 400 20 0 1 0 2343941 0 0 \
        18446744073709551615 0 0 0 0 0 0 0 0 0 1 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
    const HIDDEN: &str = "3525 (python3) Z 3484 3474 24172 0 -1 4227148 236 0 0 0 1 2 30 400 20 0 1 0 2346172 0 0 \
        18446744073709551615 0 0 0 0 0 0 0 16781312 2 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    #[test]
    fn a_status_counts_where_the_line_proves_that_it_is_shown() {
        let zombie = |text: &str| Zombie::parse(text.as_bytes());
        let of = |status, is_shown| Some(Zombie { cpu_ticks: 433, status, is_shown });
        assert_eq!(zombie(CODE_7), of(0x700, true));
        assert_eq!(zombie(CODE_0), of(0, true));
        assert_eq!(zombie(HIDDEN), of(0, false));
        assert_eq!(zombie(&CODE_7.replace(") Z", ") S")), None, "it lives");
        assert_eq!(zombie(&CODE_7.replace(" 20 0 1 0 ", " 20 0 0 0 ")), None, "it is being reaped");
        for length in 0..CODE_7.len() - 5 {
            assert_eq!(zombie(&CODE_7[..length]), None, "{length}");
        }
    }
}

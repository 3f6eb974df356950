//! I/O classes as the kernel counts them (ioprio_set(2)).

use crate::model::constraints::IoClass;

/// Where the class stands in the kernel's I/O priorities (ioprio_set(2)); the level is in the lowest three bits.
const IO_CLASS_SHIFT: u32 = 13;

/// An I/O class and level as ioprio_set(2) takes them.
pub(in crate::linux) fn io_priority_of(class: Option<IoClass>) -> i32 {
    let (class, level) = match class {
        None => (0, 0),
        Some(IoClass::Realtime(level)) => (1, level),
        Some(IoClass::BestEffort(level)) => (2, level),
        Some(IoClass::Idle) => (3, 0),
    };
    class << IO_CLASS_SHIFT | i32::from(level)
}

/// What ioprio_get(2) gave. Without a class the level means nothing; older kernels tell one all the same.
pub(in crate::linux) fn io_class_of(value: i32) -> Option<IoClass> {
    let level = (value & 7) as u8;
    match value >> IO_CLASS_SHIFT & 7 {
        1 => Some(IoClass::Realtime(level)),
        2 => Some(IoClass::BestEffort(level)),
        3 => Some(IoClass::Idle),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_priorities_are_as_the_kernel_writes_them() {
        for class in [None, Some(IoClass::Idle), Some(IoClass::BestEffort(7)), Some(IoClass::Realtime(0))] {
            assert_eq!(io_class_of(io_priority_of(class)), class);
        }
        assert_eq!(io_priority_of(Some(IoClass::BestEffort(4))), 0x4004);
        // What kernels before 5.18 say of a process without a class; idle with a level; and hints.
        assert_eq!(
            [0x0004, 0x6005, 0x400c].map(io_class_of),
            [None, Some(IoClass::Idle), Some(IoClass::BestEffort(4))]
        );
    }
}

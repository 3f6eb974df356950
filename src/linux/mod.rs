//! The kernel's side: processes, priorities, spawning.

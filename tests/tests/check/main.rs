//! `system check` finds each thing that was left behind, by its name, and mends it; disks that are full or read-only.

mod disks;
mod left;
mod prune;

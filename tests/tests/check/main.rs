//! `system check` finds each thing that was left behind, by its name, and mends it.

mod left;
mod prune;

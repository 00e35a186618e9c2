//! `--explain=shell`.

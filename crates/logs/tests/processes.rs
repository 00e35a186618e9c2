//! What needs processes of its own.

fn main() {}

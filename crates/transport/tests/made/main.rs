//! Images made here, written and read in all forms; archives as others made them; hostile ones.

#[path = "../trial/mod.rs"]
mod trial;

mod forms;
mod hostile;
mod indexes;
mod layers;
mod old;

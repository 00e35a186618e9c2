//! What surrounds a command line: completion in real shells, on a terminal with real presses of TAB, and the manual.

mod completion;
mod manual;

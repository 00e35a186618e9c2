//! Whole builds, as root: a host of the tests' own runs commands by chroot(8) on an overlay, in a mount namespace that
//! goes with each, on an image of nothing but busybox.

mod cache;
mod copy;
mod hostile;
mod image;
mod platforms;
mod run;
mod world;

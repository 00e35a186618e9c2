//! `minidocker build` by the real binary: images of real projects' shapes, compared with what Docker's classic builder
//! and buildah make of the same files; the cache; failures, kills and hostile input.
//!
//! ```text
//! ground     a world with a base image; a build yet to be started
//! shapes     the Dockerfiles, and the files that they are built from
//! tree       a directory as lines that can be compared
//! engines    the same by dockerd and by buildah
//! cache      what is built once only
//! options    flags, standard input, outputs, secrets, networks, stages beside each other
//! failures   what is said, and that nothing is left
//! interrupted  kill -9 and ctrl-c
//! hostile    images, contexts and Dockerfiles that mean no good
//! change     --change of commit and import
//! remote     contexts by git, http and standard input; ADD of repositories
//! prune      builder prune, and its row of system df
//! commit     what a commit keeps of a container, beside Docker's
//! mended     what once was wrong
//! platforms  several in one build: the index, its ways out, programs of other machines
//! ```

mod cache;
mod change;
mod commit;
mod engines;
mod failures;
mod ground;
mod hostile;
mod interrupted;
mod mended;
mod options;
mod platforms;
mod prune;
mod remote;
mod shapes;
mod tree;

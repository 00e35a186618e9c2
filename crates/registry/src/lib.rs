//! The client side of registries: the OCI distribution protocol 1.1 and Docker's version 2, blocking.
//!
//! A [`Client`] speaks for one registry, `docker.io` or `localhost:5000`, and for its mirrors. It is cheap to clone and
//! made for many threads: layers are pulled side by side over kept connections, and one login serves them all.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::io::Read;
//! use std::sync::Arc;
//!
//! let settings = Arc::new(registry::Settings::load(None)?);
//! let image: oci::Reference = "alpine".parse()?;
//! let client = registry::Client::new(image.registry(), settings)?;
//!
//! let (manifest, image_manifest) = client.image(&image, &oci::Platform::host())?;
//! for layer in registry::layers(&image_manifest)? {
//!     let blob = client.blob(image.repository(), layer.descriptor, 0)?;
//!     let mut content = oci::Verified::new(blob, layer.digest, layer.descriptor.size());
//!     std::io::copy(&mut content, &mut std::io::sink())?;
//! }
//! # let _ = manifest;
//! # Ok(())
//! # }
//! ```
//!
//! # What it holds to
//!
//! - Content is checked against its digest: manifests here, blobs by [`oci::Verified`], wherever they came from.
//! - Credentials go to the registry and to the token server that it names, over the same kind of connection; never to
//!   where a redirect leads, never into an error's text or a `Debug` form.
//! - What may pass is tried again: broken connections, 429 and most of 5xx, with growing pauses; a blob goes on where it
//!   stopped. Nothing has a time limit but a connection's start and its silence.
//! - One file says which registries have mirrors, which are blocked, which need no certificate: [`Settings`].

#![forbid(unsafe_code)]

mod auth;
mod blob;
mod certificates;
mod challenge;
mod client;
mod credentials;
mod download;
mod endpoint;
mod error;
mod helper;
mod http;
mod listing;
mod login;
mod manifest;
mod progress;
mod proxy;
mod push;
mod settings;
mod tls;
mod url;

pub use blob::Blob;
pub use challenge::{Challenge, challenges};
pub use client::Client;
pub use credentials::{Credential, Keyring, Stored};
pub use download::{Download, download};
pub use error::Error;
pub use login::{login, logout};
pub use manifest::{MAX_MANIFEST, Manifest};
pub use oci::{ACCEPTED, Compression, Content, Layer, content, layers};
pub use progress::{Progress, Watched};
pub use push::{Pushed, Source};
pub use settings::{HostSettings, Settings};

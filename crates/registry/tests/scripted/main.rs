//! The client against a server that does as a test wants it: logins, failures that pass and that do not, content that
//! lies.

#![forbid(unsafe_code)]

mod access;
mod content;
mod failures;
mod lists;
mod server;
mod upload;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oci::image::{Descriptor, MediaType};
use oci::{Digest, Reference};
use registry::{Client, Settings};

use server::Server;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// No pauses worth mentioning, three attempts, nothing of the environment.
fn settings() -> Settings {
    Settings { attempts: 3, first_pause: Duration::from_millis(1), ..Settings::default() }
}

/// The same with an entry of the file.
fn settings_of(text: &str) -> Settings {
    let parsed = Settings::parse(text, Path::new("registries.toml")).unwrap();
    Settings { hosts: parsed.hosts, chunk_size: parsed.chunk_size, ..settings() }
}

fn client(server: &Server) -> Client {
    Client::new(&server.name, Arc::new(settings())).unwrap()
}

fn image(server: &Server, rest: &str) -> Reference {
    format!("{}/{rest}", server.name).parse().unwrap()
}

fn descriptor(content: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::ImageLayer, content.len() as u64, Digest::of(content))
}

/// Bytes that are nowhere alike.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(count)
        .collect()
}

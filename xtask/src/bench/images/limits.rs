//! What no engine can beat on this machine: one processor's speed at inflating and digesting the image, the disk's; and
//! what that makes of each work.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::super::works::Named as _;
use super::content::Content;
use super::engines::FILLING;
use super::work::Work;
use crate::process::{self, Temporary};

/// zlib's and OpenSSL's code on one thread, in processor time: what else the machine does counts for nothing.
const SPEED: &str = "
import hashlib, sys, time, zlib
inflate = digest = packed = plain = 0
for path in sys.argv[1:]:
    data = open(path, 'rb').read()
    start = time.process_time()
    tar = zlib.decompress(data, 31)
    inflate += time.process_time() - start
    start = time.process_time()
    hashlib.sha256(tar).digest()
    digest += time.process_time() - start
    packed, plain = packed + len(data), plain + len(tar)
print(plain / inflate / 1e6, plain / digest / 1e6)
";

/// Megabytes in a second, of the unpacked image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    inflate: f64,
    digest: f64,
    disk: f64,
    bytes: u64,
    packed: u64,
    layers: usize,
}

pub(super) fn measure(content: &Content) -> Result<Limits> {
    // Three layers tell as much as all.
    let said =
        process::output(Command::new("python3").args(["-c", SPEED]).args(content.blobs.iter().take(3)))?;
    let text = String::from_utf8_lossy(&said.stdout);
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
    let (inflate, digest) = (numbers.next(), numbers.next());
    let (inflate, digest) = (inflate.context("no speed of zlib")?, digest.context("no speed of sha256")?);
    let packed: u64 =
        content.blobs.iter().filter_map(|blob| fs::metadata(blob).ok()).map(|meta| meta.len()).sum();
    Ok(Limits { inflate, digest, disk: disk()?, bytes: content.bytes, packed, layers: content.layers })
}

/// 512 MB into one file, until they are on the disk.
fn disk() -> Result<f64> {
    let temporary = Temporary::new("bench-disk")?;
    let piece = vec![0x5a; 1 << 20];
    let mut file = File::create(temporary.path().join("file"))?;
    let start = Instant::now();
    for _ in 0..512 {
        file.write_all(&piece)?;
    }
    file.sync_data()?;
    Ok(512.0 * 1.048_576 / start.elapsed().as_secs_f64())
}

impl Limits {
    pub(super) fn print(&self) {
        println!(
            "limits: one processor inflates {:.0} MB/s (zlib) and digests {:.0} MB/s (OpenSSL), the disk takes {:.0} MB/s",
            self.inflate, self.digest, self.disk,
        );
    }

    /// What of a work these speeds make, if it is done once and in the least way: each byte inflated and digested once,
    /// and written once as part of a blob and of a layer where both are kept.
    pub(super) fn print_for(&self, work: Work) {
        let part = FILLING as f64 / self.layers as f64;
        let (bytes, packed) = (self.bytes as f64 / 1e6, self.packed as f64 / 1e6);
        let (inflated, digested, written) = match work {
            Work::Pull => (bytes, bytes + packed, bytes + packed),
            Work::Load => (0.0, bytes, bytes),
            Work::Commit => (0.0, bytes * part, bytes * part),
            Work::Remove | Work::Build | Work::Rebuild => return,
        };
        let (inflate, digest) = (inflated / self.inflate, digested / self.digest);
        println!(
            "{}: at the limits one processor needs {:.2} s (inflates {inflate:.2}, digests {digest:.2}), the disk {:.2} s \
             for {written:.0} MB",
            work.name(),
            inflate + digest,
            written / self.disk,
        );
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "zlib_inflate_mb_per_s": self.inflate, "openssl_sha256_mb_per_s": self.digest,
            "disk_write_mb_per_s": self.disk,
        })
    }
}

//! What no engine can beat on this machine: one processor's speed at inflating and digesting the image, the disk's.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::content::Content;
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
    Ok(Limits { inflate, digest, disk: disk()?, bytes: content.bytes, packed })
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
        let seconds = |bytes: u64, speed: f64| bytes as f64 / 1e6 / speed;
        let digests = seconds(self.bytes + self.packed, self.digest);
        println!(
            "limits: zlib inflates {:.0} MB/s ({:.1} s), OpenSSL digests {:.0} MB/s ({digests:.1} s for blobs and \
             layers), the disk takes {:.0} MB/s ({:.1} s for the layers, {:.1} s with the blobs)",
            self.inflate,
            seconds(self.bytes, self.inflate),
            self.digest,
            self.disk,
            seconds(self.bytes, self.disk),
            seconds(self.bytes + self.packed, self.disk),
        );
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "zlib_inflate_mb_per_s": self.inflate, "openssl_sha256_mb_per_s": self.digest,
            "disk_write_mb_per_s": self.disk,
        })
    }
}

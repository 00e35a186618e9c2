//! The image: ten layers of many small files and some large ones, some of it text and some of it noise, so that gzip
//! makes 2.5 bytes one. The same bytes each time, kept in a registry's own layout.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::process;

const LAYERS: usize = 10;
/// Of the bytes that are no text.
const NOISE: f64 = 0.05;
/// Of a layer's bytes that are in large files.
const LARGE: f64 = 0.4;
const WORDS: usize = 2048;

/// The image in the registry's folder.
#[derive(Debug)]
pub(super) struct Content {
    /// What docker-registry is given as its root directory.
    pub(super) folder: PathBuf,
    pub(super) layers: usize,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) packed: u64,
    /// The layers' blobs.
    pub(super) blobs: Vec<PathBuf>,
}

struct Layer {
    diff_id: String,
    digest: String,
    bytes: u64,
    packed: u64,
    files: u64,
}

impl Content {
    /// The name in the registry, without its address.
    pub(super) const NAME: &str = "bench:1";

    /// The image of so many mebibytes, made if it was not made before.
    pub(super) fn cached(size: usize) -> Result<Self> {
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => PathBuf::from(target),
            None => crate::repository()?.join("target"),
        };
        let folder = target.join(format!("bench-images-{size}"));
        let note = folder.join("note.json");
        if !note.exists() {
            eprintln!("making an image of {size} MiB in {}", folder.display());
            let text = make(&folder, size)?.to_string();
            // Last: what has a note is whole.
            fs::write(&note, text)?;
        }
        let value: Value = serde_json::from_slice(&fs::read(&note)?).context("read the image's note")?;
        let number = |name: &str| value[name].as_u64().unwrap_or_default();
        let digests = value["digests"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Self {
            blobs: digests.map(|digest| blob(&folder, digest)).collect(),
            folder,
            layers: LAYERS,
            files: number("files"),
            bytes: number("bytes"),
            packed: number("packed"),
        })
    }
}

fn blob(folder: &Path, digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    folder.join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
}

fn make(folder: &Path, size: usize) -> Result<Value> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let each = (size << 20) / LAYERS;
    let mut layers = Vec::new();
    for pair in (0..LAYERS).collect::<Vec<_>>().chunks(2) {
        let made: Vec<Result<Layer>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                pair.iter().map(|number| scope.spawn(move || layer(folder, *number, each))).collect();
            let lost = |_| Err(anyhow::anyhow!("a thread that makes a layer failed"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(lost)).collect()
        });
        for layer in made {
            layers.push(layer?);
        }
    }
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let diff_ids: Vec<&str> = layers.iter().map(|layer| &*layer.diff_id).collect();
    let config = json!({
        "architecture": architecture, "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/sh"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let kind = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let config = bytes(folder, config.to_string().as_bytes())?;
    let list: Vec<Value> = layers
        .iter()
        .map(|layer| json!({"mediaType": kind, "size": layer.packed, "digest": layer.digest}))
        .collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": list,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json", "digest": config.0, "size": config.1,
        },
    });
    let manifest = bytes(folder, manifest.to_string().as_bytes())?.0;
    let repository = folder.join("docker/registry/v2/repositories/bench");
    let link = |path: String, digest: &str| -> Result<()> {
        let path = repository.join(path);
        fs::create_dir_all(path.parent().context("a link lies in a folder")?)?;
        Ok(fs::write(path, digest)?)
    };
    let hex = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
    for digest in layers.iter().map(|layer| &layer.digest).chain([&config.0]) {
        link(format!("_layers/sha256/{}/link", hex(digest)), digest)?;
    }
    link(format!("_manifests/revisions/sha256/{}/link", hex(&manifest)), &manifest)?;
    link("_manifests/tags/1/current/link".into(), &manifest)?;
    link(format!("_manifests/tags/1/index/sha256/{}/link", hex(&manifest)), &manifest)?;
    let sum = |of: fn(&Layer) -> u64| layers.iter().map(of).sum::<u64>();
    Ok(json!({
        "files": sum(|layer| layer.files), "bytes": sum(|layer| layer.bytes), "packed": sum(|layer| layer.packed),
        "digests": layers.iter().map(|layer| layer.digest.clone()).collect::<Vec<_>>(),
    }))
}

/// Puts a small blob there.
fn bytes(folder: &Path, content: &[u8]) -> Result<(String, usize)> {
    let file = folder.join("new");
    fs::write(&file, content)?;
    Ok((place(folder, &file)?, content.len()))
}

/// Gives a file the place that its digest says.
fn place(folder: &Path, file: &Path) -> Result<String> {
    let said = process::output(Command::new("sha256sum").arg(file))?;
    let digest = format!("sha256:{}", String::from_utf8_lossy(&said.stdout[..64]));
    let path = blob(folder, &digest);
    fs::create_dir_all(path.parent().context("a blob lies in a folder")?)?;
    fs::rename(file, path)?;
    Ok(digest)
}

/// A stream into two programs at once: gzip(1) and sha256sum(1).
struct Sink {
    gzip: Child,
    sum: Child,
    bytes: u64,
}

impl Sink {
    fn new(packed: &Path) -> Result<Self> {
        let output = File::create(packed)?;
        let gzip = Command::new("gzip").arg("-nc6").stdin(Stdio::piped()).stdout(output).spawn()?;
        let sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        Ok(Self { gzip, sum, bytes: 0 })
    }

    /// The digest of what went in.
    fn end(mut self) -> Result<String> {
        drop((self.gzip.stdin.take(), self.sum.stdin.take()));
        if !self.gzip.wait()?.success() {
            bail!("gzip failed");
        }
        let mut said = String::new();
        self.sum.stdout.take().context("a pipe")?.read_to_string(&mut said)?;
        self.sum.wait()?;
        Ok(format!("sha256:{}", said.get(..64).context("sha256sum failed")?))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for input in [self.gzip.stdin.as_mut(), self.sum.stdin.as_mut()].into_iter().flatten() {
            input.write_all(bytes)?;
        }
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn layer(folder: &Path, number: usize, size: usize) -> Result<Layer> {
    let packed = folder.join(format!("layer{number}"));
    let mut tar = BufWriter::with_capacity(1 << 20, Sink::new(&packed)?);
    let mut random = Random(number as u64 * 7919 + 1);
    let words = words();
    let (mut written, mut files) = (0, 0_u64);
    let mut buffer = Vec::new();
    while written < size {
        let is_large = (written as f64) < LARGE * size as f64;
        // Sizes by their logarithm: 1 to 16 MiB, and 100 bytes to 64 KiB.
        let length = match is_large {
            true => (1 << 20) << random.below(4),
            false => 100 << random.below(10),
        };
        let length = length + random.below(length as u64) as usize;
        let folder = format!("opt/layer{number}/{:03}", files / 50);
        if files.is_multiple_of(50) {
            header(&mut tar, &format!("{folder}/"), b'5', 0o755, 0)?;
        }
        let name = format!("{folder}/file{files:05}");
        buffer.clear();
        fill(&mut buffer, length, &mut random, &words);
        header(&mut tar, &name, b'0', 0o644, length)?;
        tar.write_all(&buffer)?;
        tar.write_all(&[0; 512][..length.next_multiple_of(512) - length])?;
        files += 1;
        written += length.next_multiple_of(512) + 512;
    }
    tar.write_all(&[0; 1024])?;
    let sink = tar.into_inner().map_err(|error| error.into_error())?;
    let bytes = sink.bytes;
    let diff_id = sink.end()?;
    let length = fs::metadata(&packed)?.len();
    Ok(Layer { diff_id, digest: place(folder, &packed)?, bytes, packed: length, files })
}

/// A file is text or noise in stretches of 4 KiB.
fn fill(buffer: &mut Vec<u8>, length: usize, random: &mut Random, words: &[String]) {
    while buffer.len() < length {
        let end = buffer.len() + 4096;
        if (random.below(1000) as f64) < NOISE * 1000.0 {
            while buffer.len() < end {
                buffer.extend_from_slice(&random.next().to_le_bytes());
            }
        } else {
            while buffer.len() < end {
                // Few words are frequent, as in any text.
                let most = 1 + random.below(words.len() as u64);
                let most = 1 + random.below(most);
                let rank = random.below(most);
                buffer.extend_from_slice(words[rank as usize].as_bytes());
                buffer.push(if random.below(12) == 0 { b'\n' } else { b' ' });
            }
        }
    }
    buffer.truncate(length);
}

fn words() -> Vec<String> {
    let mut random = Random(42);
    let word = |_| {
        let length = 2 + random.below(9);
        (0..length).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
    };
    (0..WORDS).map(word).collect()
}

fn header(tar: &mut impl Write, name: &str, kind: u8, mode: u32, size: usize) -> Result<()> {
    let mut header = [0; 512];
    let mut set = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    set(0, name);
    set(100, &format!("{mode:07o}"));
    set(108, "0000000");
    set(116, "0000000");
    set(124, &format!("{size:011o}"));
    set(136, &format!("{:011o}", 1_704_067_200));
    set(148, "        ");
    set(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(tar.write_all(&header)?)
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }
}

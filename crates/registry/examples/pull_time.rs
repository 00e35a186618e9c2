//! Prints how long the first manifest and the layers of an image take, checked and thrown away:
//! `cargo run --release -p minidocker-registry --example pull_time -- localhost:5000/app:1`.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use oci::{Platform, Reference, Verified};
use registry::{Client, Settings, layers};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name: Reference = std::env::args().nth(1).ok_or("the image's name is missing")?.parse()?;
    let begin = Instant::now();
    let client = Client::new(name.registry(), Arc::new(Settings::load(None)?))?;
    let (_, image) = client.image(&name, &Platform::host())?;
    println!("first manifest {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    let begin = Instant::now();
    client.image(&name, &Platform::host())?;
    println!("the same again {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    for layer in layers(&image)? {
        for checked in [false, true] {
            let begin = Instant::now();
            let size = layer.descriptor.size();
            let mut blob = client.blob(name.repository(), layer.descriptor, 0)?;
            if checked {
                copy(&mut Verified::new(blob, layer.digest, size))?;
            } else {
                copy(&mut blob)?;
            }
            let (seconds, mb) = (begin.elapsed().as_secs_f64(), size as f64 / 1e6);
            let how = if checked { "checked" } else { "unchecked" };
            println!("{mb:.0} MB {how}: {:.0} ms, {:.0} MB/s", seconds * 1e3, mb / seconds);
        }
    }
    Ok(())
}

fn copy(reader: &mut impl io::Read) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    while reader.read(&mut buffer)? > 0 {}
    Ok(())
}

//! Deeds on files and streams.

use std::fs;
use std::io;

use crate::Outcome;

pub(crate) fn write(file: &str, text: &str) -> Outcome {
    fs::write(file, text).map_err(|error| format!("write {file}: {error}"))?;
    Ok(0)
}

pub(crate) fn read(file: &str) -> Outcome {
    let mut source = fs::File::open(file).map_err(|error| format!("read {file}: {error}"))?;
    io::copy(&mut source, &mut io::stdout()).map_err(|error| format!("read {file}: {error}"))?;
    Ok(0)
}

pub(crate) fn cat() -> Outcome {
    io::copy(&mut io::stdin().lock(), &mut io::stdout().lock()).map_err(|error| format!("cat: {error}"))?;
    Ok(0)
}

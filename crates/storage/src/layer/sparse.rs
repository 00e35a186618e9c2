//! Maps of sparse files: where in a file the data of an archive belong. GNU tar's manual, "Storing Sparse Files":
//! the old GNU format, and the formats 0.0, 0.1 and 1.0 of pax.

use super::pax::{Records, decimal};

/// A stretch of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// How many stretches a file may have: a map of them fits into the megabyte that a header may have.
pub(super) const MOST_SEGMENTS: usize = 1 << 17;

const WRONG: &str = "its sparse map is damaged";

/// Refuses a map that is no ascending list of stretches within the file, or does not add up to the data.
pub(super) fn check(segments: &[Segment], full: u64, data: u64) -> Result<(), &'static str> {
    let (mut end, mut sum) = (0_u64, 0_u64);
    for segment in segments {
        let next = segment.offset.checked_add(segment.length).ok_or(WRONG)?;
        if segment.offset < end || next > full {
            return Err(WRONG);
        }
        end = next;
        sum += segment.length;
    }
    if sum == data { Ok(()) } else { Err("its sparse map does not fit its data") }
}

/// The map of the formats 0.0 and 0.1, which stands in the records; none if they have none.
pub(super) fn from_records(records: &Records) -> Result<Option<Vec<Segment>>, &'static str> {
    let mut numbers = Vec::new();
    if let Some(map) = records.get(b"GNU.sparse.map") {
        for number in map.split(|byte| *byte == b',') {
            numbers.push(decimal(number).ok_or(WRONG)?);
        }
    } else if records.get(b"GNU.sparse.numblocks").is_some() {
        for (key, value) in &records.0 {
            let offset = match key.as_slice() {
                b"GNU.sparse.offset" => true,
                b"GNU.sparse.numbytes" => false,
                _ => continue,
            };
            if offset != numbers.len().is_multiple_of(2) {
                return Err(WRONG);
            }
            numbers.push(decimal(value).ok_or(WRONG)?);
        }
    } else {
        return Ok(None);
    }
    let count = records.number(b"GNU.sparse.numblocks")?.unwrap_or(numbers.len() as u64 / 2);
    if !numbers.len().is_multiple_of(2)
        || numbers.len() as u64 / 2 != count
        || numbers.len() / 2 > MOST_SEGMENTS
    {
        return Err(WRONG);
    }
    let pairs = numbers.chunks_exact(2);
    Ok(Some(pairs.map(|pair| Segment { offset: pair[0], length: pair[1] }).collect()))
}

/// The map of the format 1.0, which stands before the data in decimal numbers, one a line: their count, then pairs.
#[derive(Debug, Default)]
pub(super) struct Leading {
    digits: Vec<u8>,
    count: Option<u64>,
    numbers: Vec<u64>,
}

impl Leading {
    /// Takes a block; whether the map is complete.
    pub(super) fn take(&mut self, block: &[u8]) -> Result<bool, &'static str> {
        for byte in block {
            match byte {
                b'0'..=b'9' if self.digits.len() < 20 => self.digits.push(*byte),
                b'\n' => {
                    let number = decimal(&self.digits).ok_or(WRONG)?;
                    self.digits.clear();
                    match self.count {
                        None if number > MOST_SEGMENTS as u64 => return Err(WRONG),
                        None => self.count = Some(number),
                        Some(_) => self.numbers.push(number),
                    }
                    if self.count.is_some_and(|count| self.numbers.len() as u64 == 2 * count) {
                        return Ok(true);
                    }
                }
                _ => return Err(WRONG),
            }
        }
        Ok(false)
    }

    pub(super) fn segments(&self) -> Vec<Segment> {
        let pairs = self.numbers.chunks_exact(2);
        pairs.map(|pair| Segment { offset: pair[0], length: pair[1] }).collect()
    }
}

/// The map as format 1.0 writes it, filled up to whole blocks.
pub(super) fn written(segments: &[Segment]) -> Vec<u8> {
    let mut text = format!("{}\n", segments.len());
    for segment in segments {
        text.push_str(&format!("{}\n{}\n", segment.offset, segment.length));
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(super::header::BLOCK), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: [Segment; 2] = [Segment { offset: 4096, length: 512 }, Segment { offset: 8192, length: 0 }];

    #[test]
    fn the_formats_of_pax_say_the_same() {
        let mut leading = Leading::default();
        assert!(leading.take(&written(&MAP)).unwrap());
        assert_eq!(leading.segments(), MAP);
        let mut records = Records::default();
        assert_eq!(from_records(&records).unwrap(), None);
        records.add(b"GNU.sparse.map", "4096,512,8192,0");
        assert_eq!(from_records(&records).unwrap().unwrap(), MAP);
        let mut records = Records::default();
        records.add(b"GNU.sparse.numblocks", "2");
        for (key, value) in [("offset", "4096"), ("numbytes", "512"), ("offset", "8192"), ("numbytes", "0")] {
            records.add(format!("GNU.sparse.{key}").as_bytes(), value);
        }
        assert_eq!(from_records(&records).unwrap().unwrap(), MAP);
        records.add(b"GNU.sparse.numbytes", "0");
        assert!(from_records(&records).is_err());
    }

    #[test]
    fn refuses_maps_that_cannot_be() {
        let segment = |offset, length| Segment { offset, length };
        assert!(check(&MAP, 8192, 512).is_ok());
        assert!(check(&[], 8192, 0).is_ok());
        assert!(check(&MAP, 8191, 512).is_err());
        assert!(check(&MAP, 8192, 511).is_err());
        assert!(check(&[segment(0, 10), segment(5, 10)], 100, 20).is_err());
        assert!(check(&[segment(u64::MAX, 2)], u64::MAX, 2).is_err());
        assert!(Leading::default().take(b"999999999\n").is_err());
        assert!(Leading::default().take(b"1\nx\n").is_err());
        assert!(Leading::default().take(b"111111111111111111111").is_err());
    }
}

//! Blobs: a reader that goes on where a connection broke.

use std::fmt;
use std::io::{self, Read};
use std::thread;

use oci::Digest;
use oci::image::Descriptor;
use ureq::BodyReader;
use ureq::http::{Method, Response, header};

use crate::client::{Client, Job, To};
use crate::error::Error;
use crate::http::{self, Fault, Kind};

/// A blob's content from some offset on, as the registry sends it. What it is worth, [`oci::Verified`] tells.
///
/// Where the connection breaks, it is made anew and the content goes on at the same byte, as often as
/// [`Settings::attempts`](crate::Settings::attempts) says without a byte in between. Then reading fails with an
/// [`Error`] inside ([`Error::below`]).
pub struct Blob {
    client: Client,
    endpoint: usize,
    repository: String,
    digest: Digest,
    asked: String,
    size: u64,
    at: u64,
    body: Option<BodyReader<'static>>,
    /// Since the last byte.
    failures: u32,
    resumed: u32,
    discarded: u64,
}

impl Client {
    /// A blob's content from byte `offset` on. The first answer is awaited, so what is not there is told now.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Answer`] where the registry has another size for it, and all that a connection and a
    /// login can fail with.
    pub fn blob(&self, repository: &str, descriptor: &Descriptor, offset: u64) -> Result<Blob, Error> {
        let digest = oci::digest_of(descriptor)?;
        let asked = format!("get blob {digest} of {repository}");
        self.anywhere(|endpoint| {
            let mut blob = Blob {
                client: self.clone(),
                endpoint,
                repository: repository.to_owned(),
                digest,
                asked: asked.clone(),
                size: descriptor.size(),
                at: offset,
                body: None,
                failures: 0,
                resumed: 0,
                discarded: 0,
            };
            if offset < blob.size || blob.size == 0 {
                let path = blob.path();
                let response = self.call(endpoint, To::Path(&path), &blob.job())?;
                blob.begin(response)?;
            }
            Ok(blob)
        })
    }

    /// Whether the registry itself has a blob.
    ///
    /// # Errors
    ///
    /// All that a connection and a login can fail with.
    pub fn has_blob(&self, repository: &str, digest: Digest) -> Result<bool, Error> {
        let asked = format!("look up blob {digest} of {repository}");
        let job = Job { method: Method::HEAD, pass: &[404], ..Job::get(asked, repository) };
        let response = self.call(self.upstream(), To::Path(&path(repository, digest)), &job)?;
        Ok(response.status().is_success())
    }

    /// Deletes a blob from a repository.
    ///
    /// # Errors
    ///
    /// As [`Client::delete_manifest`].
    pub fn delete_blob(&self, repository: &str, digest: Digest) -> Result<(), Error> {
        self.delete(format!("delete blob {digest} of {repository}"), repository, &path(repository, digest))
    }
}

fn path(repository: &str, digest: Digest) -> String {
    format!("{repository}/blobs/{digest}")
}

impl Blob {
    /// The offset of the next byte.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// How long the whole blob is said to be.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How often the connection was made anew.
    pub fn resumed(&self) -> u32 {
        self.resumed
    }

    /// How many bytes came although they were there already, because the server does not know ranges.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    fn path(&self) -> String {
        path(&self.repository, self.digest)
    }

    fn job(&self) -> Job<'_> {
        let mut job = Job::get(self.asked.clone(), &self.repository);
        if self.at > 0 {
            job.headers.push((header::RANGE, format!("bytes={}-", self.at)));
        }
        job
    }

    /// Takes an answer's content, from the byte that comes next.
    fn begin(&mut self, response: Response<ureq::Body>) -> Result<(), Error> {
        let whole = response.status().as_u16() != 206;
        let (start, total) = if whole {
            (0, length(&response))
        } else {
            let range = http::text(response.headers(), &header::CONTENT_RANGE).and_then(content_range);
            range.ok_or_else(|| self.client.answer(&self.asked, "it does not say which part it sends"))?
        };
        if let Some(total) = total.filter(|total| *total != self.size) {
            let reason = format!("it is {total} bytes there, and {} by its manifest", self.size);
            return Err(self.client.answer(&self.asked, reason));
        }
        if start > self.at {
            let reason = format!("it sends from byte {start}, not {}", self.at);
            return Err(self.client.answer(&self.asked, reason));
        }
        let mut body = response.into_body().into_reader();
        let surplus = self.at - start;
        if surplus > 0 {
            let passed = io::copy(&mut (&mut body).take(surplus), &mut io::sink());
            match passed {
                Ok(passed) if passed == surplus => self.discarded += surplus,
                Ok(_) => return Err(self.broken("the connection was closed early".into())),
                Err(error) => return Err(self.broken(Fault::of(&error).words)),
            }
        }
        self.body = Some(body);
        Ok(())
    }

    /// One more attempt, after a pause. An error if it was the last, or if another would not help.
    fn resume(&mut self, mut reason: String) -> Result<(), Error> {
        let attempts = self.client.settings().attempts;
        loop {
            self.body = None;
            self.failures += 1;
            if self.failures >= attempts {
                return Err(self.broken(reason));
            }
            thread::sleep(http::pause(self.client.settings().first_pause, self.failures, http::random()));
            self.resumed += 1;
            let path = self.path();
            let answer = self.client.call_times(self.endpoint, To::Path(&path), &self.job(), 1);
            match answer.and_then(|response| self.begin(response)) {
                Ok(()) => return Ok(()),
                Err(Error::Unreachable { reason: why, .. }) => reason = why,
                Err(error @ (Error::Status { status: 500.., .. } | Error::Busy { .. })) => {
                    reason = error.to_string();
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn broken(&self, reason: String) -> Error {
        Error::Unreachable {
            registry: self.client.registry().to_owned(),
            asked: self.asked.clone(),
            reason: format!("{reason}, after {} of {} bytes", self.at, self.size),
            attempts: self.failures,
        }
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(body) = &mut self.body else { return Ok(0) };
            let reason = match body.read(buffer) {
                // A server that says no length may send too much; who verifies will see it.
                Ok(0) if self.at >= self.size => {
                    self.body = None;
                    return Ok(0);
                }
                Ok(0) => "the connection was closed early".to_owned(),
                Ok(count) => {
                    self.at += count as u64;
                    self.failures = 0;
                    return Ok(count);
                }
                Err(error) => {
                    let fault = Fault::of(&error);
                    if fault.kind != Kind::Passing {
                        return Err(self.client.fault(&self.asked, &fault, 1).into());
                    }
                    fault.words
                }
            };
            self.resume(reason)?;
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("digest", &self.digest).field("at", &self.at).finish_non_exhaustive()
    }
}

fn length(response: &Response<ureq::Body>) -> Option<u64> {
    http::text(response.headers(), &header::CONTENT_LENGTH)?.parse().ok()
}

/// The first byte and the whole length of `bytes 5-9/10` (RFC 9110, 14.4).
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.trim().parse().ok()?, end.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    (start <= end && total.is_none_or(|total| end < total)).then_some((start, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        for (text, range) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes 0-0/1", Some((0, Some(1)))),
            ("bytes 5-10/10", None),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), range, "{text}");
        }
    }
}

//! Blobs on their way up: not at all where they are there, by a mount where another repository has them, else in one
//! request or in pieces; and on from where a connection broke, if the registry kept what came.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;

use oci::Digest;
use oci::image::Descriptor;
use ureq::Body;
use ureq::http::{Method, Response, header};

use crate::client::{Client, Failed, Job, To};
use crate::error::Error;
use crate::http::{self, Fault, Kind, Sending};
use crate::progress::Progress;
use crate::url::{Url, encoded};

/// Content that can be read more than once, for it may have to be sent more than once.
pub trait Source {
    /// A reader from byte `offset` on.
    ///
    /// # Errors
    ///
    /// Those of opening and seeking.
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>>;
}

impl Source for Path {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let mut file = File::open(self)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}

impl Source for PathBuf {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        self.as_path().open(offset)
    }
}

impl Source for [u8] {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(Box::new(self.get(offset..).unwrap_or_default()))
    }
}

impl Source for Vec<u8> {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        self.as_slice().open(offset)
    }
}

/// How a blob came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there before.
    Present,
    /// The registry took it from another repository of its own.
    Mounted,
    /// It was sent.
    Uploaded,
}

/// One upload.
struct Upload<'a> {
    client: &'a Client,
    repository: &'a str,
    digest: Digest,
    size: u64,
    asked: String,
    source: &'a dyn Source,
    progress: RefCell<&'a mut dyn Progress>,
    /// Why the source could not be read: the connection's own error hides it.
    broken: RefCell<Option<io::Error>>,
}

/// What a request of an upload came to.
enum Step {
    /// The registry has it all.
    Done,
    /// It has so many bytes, and wants the next ones there.
    On(Url, u64),
    /// It failed, but may yet succeed.
    Failed(Error),
    /// It was sent in vain: the registry lost or mixed up what was there before.
    Anew(Error),
    /// It failed for good.
    Final(Error),
}

impl Client {
    /// Pushes a blob to a repository. `from` names a repository of the same registry that may have it.
    ///
    /// # Errors
    ///
    /// [`Error::Source`] where `source` cannot be read, [`Error::Denied`], [`Error::Status`] (the registry checks the digest)
    /// and all that a connection can fail with.
    pub fn push_blob(
        &self,
        repository: &str,
        descriptor: &Descriptor,
        source: &dyn Source,
        from: Option<&str>,
        progress: &mut dyn Progress,
    ) -> Result<Pushed, Error> {
        let digest = oci::digest_of(descriptor)?;
        if self.has_blob_to_push(repository, digest)? {
            return Ok(Pushed::Present);
        }
        let upload = Upload {
            client: self,
            repository,
            digest,
            size: descriptor.size(),
            asked: format!("push blob {digest} to {repository}"),
            source,
            progress: RefCell::new(progress),
            broken: RefCell::new(None),
        };
        match upload.start(from)? {
            None => Ok(Pushed::Mounted),
            Some(location) => upload.run(location).map(|()| Pushed::Uploaded),
        }
    }

    /// [`Client::has_blob`] with the login that the push needs anyway.
    fn has_blob_to_push(&self, repository: &str, digest: Digest) -> Result<bool, Error> {
        let asked = format!("look up blob {digest} of {repository}");
        let job = Job { pass: &[404], ..Job::push(Method::HEAD, asked, repository) };
        let path = format!("{repository}/blobs/{digest}");
        Ok(self.call(self.upstream(), To::Path(&path), &job)?.status().is_success())
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        (**self).open(offset)
    }
}

impl Upload<'_> {
    /// Where to send it; None if it was mounted.
    fn start(&self, from: Option<&str>) -> Result<Option<Url>, Error> {
        let client = self.client;
        let path = format!("{}/blobs/uploads/", self.repository);
        let mut job = Job { body: Some(&[]), ..Job::push(Method::POST, self.asked.clone(), self.repository) };
        if let Some(from) = from.filter(|from| *from != self.repository) {
            let mount = format!("{path}?mount={}&from={}", encoded(&self.digest.to_string()), encoded(from));
            let scopes = vec![format!("repository:{from}:pull")];
            let job = Job {
                body: Some(&[]),
                more_scopes: scopes,
                ..Job::push(Method::POST, self.asked.clone(), self.repository)
            };
            match client.call(client.upstream(), To::Path(&mount), &job) {
                Ok(response) if response.status().as_u16() == 201 => return Ok(None),
                Ok(response) => {
                    return self.location(&response, &client.url(client.upstream(), &path)).map(Some);
                }
                // Not allowed, or not there: then it is sent.
                Err(
                    Error::Denied { .. } | Error::NotFound { .. } | Error::Status { status: 400..500, .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        job.pass = &[];
        let response = client.call(client.upstream(), To::Path(&path), &job)?;
        self.location(&response, &client.url(client.upstream(), &path)).map(Some)
    }

    fn location(&self, response: &Response<Body>, from: &Url) -> Result<Url, Error> {
        http::text(response.headers(), &header::LOCATION)
            .and_then(|location| self.client.located(self.client.upstream(), from, location))
            .ok_or_else(|| self.client.answer(&self.asked, "it does not say where to send it"))
    }

    fn run(&self, mut location: Url) -> Result<(), Error> {
        let settings = self.client.settings();
        let (mut at, mut failures, mut restarts) = (0, 0, 0);
        loop {
            let error = match self.advance(&location, at)? {
                Step::Done => return Ok(()),
                Step::On(next, reached) => {
                    if reached > at {
                        failures = 0;
                    }
                    (location, at) = (next, reached);
                    continue;
                }
                Step::Final(error) => return Err(error),
                Step::Failed(error) => error,
                Step::Anew(error) => {
                    restarts += 1;
                    if restarts > 1 {
                        return Err(error);
                    }
                    (location, at) = self.again()?;
                    continue;
                }
            };
            failures += 1;
            if failures >= settings.attempts {
                return Err(error);
            }
            thread::sleep(http::pause(settings.first_pause, failures, http::random()));
            match self.status(&location) {
                Some((next, reached)) if reached <= self.size => (location, at) = (next, reached),
                _ => (location, at) = self.again()?,
            }
            self.progress.borrow_mut().so_far(at);
        }
    }

    /// A new upload from the first byte.
    fn again(&self) -> Result<(Url, u64), Error> {
        let location = self.start(None)?;
        location
            .map(|location| (location, 0))
            .ok_or_else(|| self.client.answer(&self.asked, "it answers in riddles"))
    }

    /// The next request: all in one, a piece, or the end.
    fn advance(&self, location: &Url, at: u64) -> Result<Step, Error> {
        let chunk = self.client.settings().chunk_size.filter(|chunk| *chunk < self.size);
        let whole = at == 0 && chunk.is_none();
        if whole || at >= self.size {
            let url = location.clone().with("digest", &self.digest.to_string());
            let answer = self.send(Method::PUT, &url, at, self.size - at)?;
            return Ok(match answer {
                Ok(response) if response.status().is_success() => Step::Done,
                Ok(response) => self.refused(response, whole),
                Err(fault) => self.fault(&fault),
            });
        }
        let length = chunk.map_or(self.size - at, |chunk| chunk.min(self.size - at));
        Ok(match self.send(Method::PATCH, location, at, length)? {
            Ok(response) if response.status().is_success() => {
                let next = self.location(&response, location).unwrap_or_else(|_| location.clone());
                let reached = http::text(response.headers(), &header::RANGE).and_then(reached);
                Step::On(next, reached.filter(|reached| *reached > at).unwrap_or(at + length))
            }
            Ok(response) => self.refused(response, false),
            Err(fault) => self.fault(&fault),
        })
    }

    /// `fresh` where nothing was there before: then it fails for good.
    fn refused(&self, response: Response<Body>, fresh: bool) -> Step {
        let status = response.status();
        let job = Job::push(Method::PUT, self.asked.clone(), self.repository);
        let error = self.client.refused(self.client.upstream(), &job, response);
        match status.as_u16() {
            _ if http::may_pass(status) => Step::Failed(error),
            // A range that does not fit, an upload that is gone, a digest of what was put together.
            400 | 416 if !fresh => Step::Anew(error),
            404 => Step::Anew(error),
            _ => Step::Final(error),
        }
    }

    fn fault(&self, fault: &Fault) -> Step {
        let error = self.client.fault(&self.asked, fault, 1);
        if fault.kind == Kind::Passing { Step::Failed(error) } else { Step::Final(error) }
    }

    /// Sends `length` bytes from `at` on, once.
    fn send(
        &self,
        method: Method,
        url: &Url,
        at: u64,
        length: u64,
    ) -> Result<Result<Response<Body>, Fault>, Error> {
        let mut job = Job::push(method, self.asked.clone(), self.repository);
        job.headers.push((header::CONTENT_TYPE, "application/octet-stream".into()));
        if job.method == Method::PATCH {
            job.headers.push((header::CONTENT_RANGE, format!("{at}-{}", at + length - 1)));
        }
        let answer = self.client.once(self.client.upstream(), To::Url(url), &job, &mut || {
            if length == 0 {
                return Ok(Sending::Bytes(&[]));
            }
            let inner = self.source.open(at).map_err(|source| self.unreadable(source))?;
            let reader = Piece { upload: self, inner: Box::new(inner.take(length)), at, end: at + length };
            Ok(Sending::Stream(Box::new(reader), length))
        });
        if let Some(source) = self.broken.take() {
            return Err(self.unreadable(source));
        }
        match answer {
            Ok(response) => Ok(Ok(response)),
            Err(Failed::Fault(fault)) => Ok(Err(fault)),
            Err(Failed::Error(error)) => Err(error),
        }
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::Source { asked: self.asked.clone(), source }
    }

    /// How far the registry is. None if it does not know the upload any more.
    fn status(&self, location: &Url) -> Option<(Url, u64)> {
        let job = Job::push(Method::GET, self.asked.clone(), self.repository);
        let response = self.client.call(self.client.upstream(), To::Url(location), &job).ok()?;
        let next = self.location(&response, location).unwrap_or_else(|_| location.clone());
        let reached = http::text(response.headers(), &header::RANGE).and_then(reached)?;
        Some((next, reached))
    }
}

/// How many bytes `0-9` says are there. Registries say `0-0` for none.
fn reached(text: &str) -> Option<u64> {
    let end: u64 = text.trim().trim_start_matches("bytes=").split_once('-')?.1.parse().ok()?;
    Some(if end == 0 { 0 } else { end.saturating_add(1) })
}

/// A part of the source on its way.
struct Piece<'a, 'u> {
    upload: &'a Upload<'u>,
    inner: Box<dyn Read + 'a>,
    at: u64,
    end: u64,
}

impl Read for Piece<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match self.inner.read(buffer) {
            Ok(0) if self.at < self.end && !buffer.is_empty() => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the content is shorter than its descriptor says",
            )),
            result => result,
        };
        match result {
            Ok(count) => {
                self.at += count as u64;
                self.upload.progress.borrow_mut().so_far(self.at);
                Ok(count)
            }
            Err(error) => {
                let again = io::Error::new(error.kind(), error.to_string());
                *self.upload.broken.borrow_mut() = Some(error);
                Err(again)
            }
        }
    }
}

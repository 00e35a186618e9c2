//! Docker's json-file.

pub(crate) mod line;

use std::os::fd::BorrowedFd;
use std::path::Path;

use step::Failure;

use crate::reader::{Filter, Options, Piece};
use crate::settings::Settings;
use crate::writer::Losses;
use crate::{Origin, Stream};

#[derive(Debug)]
pub(crate) struct Writer;
impl Writer {
    pub(crate) fn open(_: &Path, _: &Settings, _: &Origin) -> Result<Self, Failure> {
        Err(Failure::because("log.open", "json-file", "not yet"))
    }
    pub(crate) fn write(&mut self, _: Stream, _: i64, _: &[u8]) {}
    pub(crate) fn end(&mut self, _: Stream, _: i64) {}
    pub(crate) fn tend(&mut self) {}
    pub(crate) fn losses(&self) -> &Losses {
        unimplemented!()
    }
}
#[derive(Debug)]
pub(crate) struct Reader;
impl Reader {
    pub(crate) fn open(_: &Path, _: &str, _: &Options) -> Result<Self, Failure> {
        Err(Failure::because("log.open", "json-file", "not yet"))
    }
    pub(crate) fn read<E: From<Failure>>(
        &mut self,
        _: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        Ok(())
    }
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    pub(crate) fn filter(&self) -> &Filter {
        unimplemented!()
    }
}

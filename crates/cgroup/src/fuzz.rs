//! The parsers behind [`crate::Group`]'s reads, for the fuzz targets alone (`fuzz/properties`): pure, and no part of
//! what this crate offers.

#![allow(missing_docs)]

use std::collections::BTreeMap;

use crate::oom::Victim;
use crate::stats::{BlkioEntry, Pressure, RdmaEntry};
use crate::usage::BlockUse;
use crate::{kernfs, oom, stats, usage};

pub fn keyed(text: &str, key: &str) -> Option<u64> {
    kernfs::keyed(text, key)
}

pub fn table(text: &str) -> Result<BTreeMap<String, u64>, String> {
    stats::read::table(text)
}

pub fn by_mode(text: &str) -> Result<(Vec<u64>, Vec<u64>), String> {
    stats::read::by_mode(text)
}

pub fn members(text: &str) -> Result<Vec<u16>, String> {
    stats::read::members(text)
}

pub fn rdma_entries(text: &str) -> Result<Vec<RdmaEntry>, String> {
    stats::read::rdma_entries(text)
}

pub fn pressure(text: &str) -> Result<Pressure, String> {
    stats::read::pressure(text)
}

pub fn blkio_v1(text: &str) -> Result<Vec<BlkioEntry>, String> {
    stats::blkio::entries(text)
}

pub fn blkio_v2(text: &str) -> Result<stats::Blkio, String> {
    stats::blkio::v2(text)
}

pub fn use_v1(bytes: &str, operations: &str) -> Vec<BlockUse> {
    usage::io_v1(bytes, operations)
}

pub fn use_v2(text: &str) -> Vec<BlockUse> {
    usage::io_v2(text)
}

pub fn victim(record: &str, path: &str) -> Option<Victim> {
    oom::victim(record, path)
}

//! A new ext4 in a sparse file: what mkfs.ext4(8) would make, without its process. Only what is not zero is written,
//! some ten blocks whatever the size: groups whose bitmaps and inodes nobody has used yet say so in their descriptors.
//!
//! Format: Documentation/filesystems/ext4. Numbers are little-endian, those of the journal big-endian. The tests have
//! e2fsck(8) look at what is made.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of a block.
pub(crate) const BLOCK: u64 = 4096;
/// Blocks of a group: as many as a bitmap of one block has bits.
const PER_GROUP: u64 = 8 * BLOCK;
/// Bytes of an inode.
const INODE: u64 = 256;
/// Bytes of a group's descriptor, with `64bit`.
const DESCRIPTOR: u64 = 64;
/// Inodes below the first that files get.
const RESERVED: u64 = 10;
/// The inode of the root directory, and that of the journal.
const ROOT: u64 = 2;
const JOURNAL: u64 = 8;

/// Features. `resize_inode` is not among them: the kernel grows it by `meta_bg`.
const COMPATIBLE_JOURNAL: u32 = 0x4;
/// ext_attr, dir_index.
const COMPATIBLE: u32 = 0x8 | 0x20;
/// filetype, extents, 64bit.
const INCOMPATIBLE: u32 = 0x2 | 0x40 | 0x80;
/// sparse_super, large_file, huge_file, dir_nlink, extra_isize, metadata_csum.
const READ_ONLY_COMPATIBLE: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;

/// Flags of a group: its inodes, its bitmap of blocks are as new; its inodes are zero on disk.
const INODES_NEW: u16 = 1;
const BLOCKS_NEW: u16 = 2;
const INODES_ZERO: u16 = 4;

/// The smallest that has room for a journal and something beside it.
pub(crate) const SMALLEST: u64 = 16 << 20;
/// The largest file of an ext4 with blocks of 4 KiB, where the image may lie.
pub(crate) const LARGEST: u64 = (16 << 40) - BLOCK;

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    /// Bytes, [`SMALLEST`] to [`LARGEST`]; what does not make a block is left over.
    pub(crate) size: u64,
    /// Whether it has a journal: without one it is not whole after a loss of power.
    pub(crate) journal: bool,
    /// Random: its name, and the seed of its checksums.
    pub(crate) uuid: [u8; 16],
    /// Seconds since 1970.
    pub(crate) now: u32,
}

/// Where things are.
struct Geometry {
    blocks: u64,
    groups: u64,
    inodes_per_group: u64,
    /// Of the table of descriptors.
    descriptor_blocks: u64,
    journal_blocks: u64,
}

impl Geometry {
    fn new(format: &Format) -> Self {
        let mut blocks = format.size / BLOCK;
        // One inode for 16 KiB, a whole block of them at least, as mkfs.ext4 has it.
        let inodes_per_group = (blocks.min(PER_GROUP) / 4).next_multiple_of(BLOCK / INODE);
        let journal_blocks = match blocks {
            _ if !format.journal => 0,
            ..=32_767 => 1024,
            32_768..=262_143 => 4096,
            262_144..=524_287 => 8192,
            _ => 16_384,
        };
        loop {
            let groups = blocks.div_ceil(PER_GROUP);
            let descriptor_blocks = (groups * DESCRIPTOR).div_ceil(BLOCK);
            let this = Self { blocks, groups, inodes_per_group, descriptor_blocks, journal_blocks };
            let rest = blocks % PER_GROUP;
            // A last group with no room beside its own tables is left out.
            if groups == 1 || rest == 0 || rest > this.used(groups - 1) + 50 {
                return this;
            }
            blocks -= rest;
        }
    }

    /// sparse_super: the first two groups and the powers of 3, 5 and 7.
    fn has_super(group: u64) -> bool {
        let power = |base: u64| {
            let mut at = base;
            while at < group {
                at *= base;
            }
            at == group
        };
        group <= 1 || power(3) || power(5) || power(7)
    }

    fn length(&self, group: u64) -> u64 {
        PER_GROUP.min(self.blocks - group * PER_GROUP)
    }

    fn table_blocks(&self) -> u64 {
        self.inodes_per_group * INODE / BLOCK
    }

    /// The group's bitmap of blocks; that of inodes and their table follow it.
    fn bitmap(&self, group: u64) -> u64 {
        group * PER_GROUP + if Self::has_super(group) { 1 + self.descriptor_blocks } else { 0 }
    }

    /// The root directory's one block, and after it the journal.
    fn root(&self) -> u64 {
        self.bitmap(0) + 2 + self.table_blocks()
    }

    /// Blocks of the group that are taken, all at its beginning.
    fn used(&self, group: u64) -> u64 {
        let tables = self.bitmap(group) - group * PER_GROUP + 2 + self.table_blocks();
        if group == 0 { tables + 1 + self.journal_blocks } else { tables }
    }

    fn free(&self) -> u64 {
        (0..self.groups).map(|group| self.length(group) - self.used(group)).sum()
    }
}

/// Makes the file as large as `format` says, and an empty ext4 in it. The file is new: what is not written is zero.
pub(crate) fn format(file: &File, format: &Format) -> io::Result<()> {
    let geometry = Geometry::new(format);
    let seed = crc32c(!0, &format.uuid);
    file.set_len(geometry.blocks * BLOCK)?;
    let mut descriptors = vec![0; (geometry.descriptor_blocks * BLOCK) as usize];
    for (group, descriptor) in (0..geometry.groups).zip(descriptors.chunks_exact_mut(DESCRIPTOR as usize)) {
        describe(file, &geometry, group, seed, descriptor)?;
    }
    for group in (0..geometry.groups).filter(|group| Geometry::has_super(*group)) {
        let at = group * PER_GROUP * BLOCK;
        // The first one leaves room for a boot sector.
        let offset = if group == 0 { 1024 } else { 0 };
        file.write_all_at(&superblock(format, &geometry, group), at + offset)?;
        file.write_all_at(&descriptors, at + BLOCK)?;
    }
    let table = (geometry.bitmap(0) + 2) * BLOCK;
    let root = inode(ROOT, seed, format.now, 0o040_755, 2, (geometry.root(), 1));
    file.write_all_at(&root, table + (ROOT - 1) * INODE)?;
    file.write_all_at(&root_block(seed), geometry.root() * BLOCK)?;
    if geometry.journal_blocks > 0 {
        let extent = (geometry.root() + 1, geometry.journal_blocks);
        let journal = inode(JOURNAL, seed, format.now, 0o100_600, 1, extent);
        file.write_all_at(&journal, table + (JOURNAL - 1) * INODE)?;
        file.write_all_at(&journal_superblock(format, geometry.journal_blocks), extent.0 * BLOCK)?;
    }
    Ok(())
}

/// Fills in a group's descriptor, and writes those of its bitmaps that are not as new.
fn describe(
    file: &File,
    geometry: &Geometry,
    group: u64,
    seed: u32,
    descriptor: &mut [u8],
) -> io::Result<()> {
    let (bitmap, first, last) = (geometry.bitmap(group), group == 0, group + 1 == geometry.groups);
    let used_inodes = if first { RESERVED } else { 0 };
    let free_inodes = geometry.inodes_per_group - used_inodes;
    let free_blocks = geometry.length(group) - geometry.used(group);
    let mut flags = INODES_ZERO;
    for (index, block) in [bitmap, bitmap + 1, bitmap + 2].into_iter().enumerate() {
        put_halves(descriptor, (4 * index, 0x20 + 4 * index), block);
    }
    put(descriptor, 0x0c, free_blocks as u16);
    put(descriptor, 0x0e, free_inodes as u16);
    put(descriptor, 0x10, u16::from(first));
    put(descriptor, 0x1c, free_inodes as u16);
    let mut checksum = |low: usize, high: usize, bits: &[u8]| {
        let checksum = crc32c(seed, bits);
        put(descriptor, low, checksum as u16);
        put(descriptor, high, (checksum >> 16) as u16);
    };
    if first || last {
        let bits = bits(geometry.used(group), geometry.length(group));
        checksum(0x18, 0x38, &bits);
        file.write_all_at(&bits, bitmap * BLOCK)?;
    } else {
        flags |= BLOCKS_NEW;
    }
    if first {
        let bits = bits(RESERVED, geometry.inodes_per_group);
        checksum(0x1a, 0x3a, &bits[..(geometry.inodes_per_group / 8) as usize]);
        file.write_all_at(&bits, (bitmap + 1) * BLOCK)?;
    } else {
        flags |= INODES_NEW;
    }
    put(descriptor, 0x12, flags);
    let checksum = crc32c(crc32c(seed, &(group as u32).to_le_bytes()), descriptor);
    put(descriptor, 0x1e, checksum as u16);
    Ok(())
}

/// A bitmap with the first `used` bits set, and those from `length` on, which stand for nothing.
fn bits(used: u64, length: u64) -> Vec<u8> {
    let mut bits = vec![0; BLOCK as usize];
    for bit in (0..used).chain(length..PER_GROUP) {
        bits[(bit / 8) as usize] |= 1 << (bit % 8);
    }
    bits
}

fn superblock(format: &Format, geometry: &Geometry, group: u64) -> [u8; 1024] {
    let mut block = [0; 1024];
    let journal = geometry.journal_blocks > 0;
    let inodes = geometry.groups * geometry.inodes_per_group;
    put(&mut block, 0x00, inodes as u32);
    put_halves(&mut block, (0x04, 0x150), geometry.blocks);
    put_halves(&mut block, (0x0c, 0x158), geometry.free());
    put(&mut block, 0x10, (inodes - RESERVED) as u32);
    // Sizes of blocks and clusters: 1,024 << 2.
    put(&mut block, 0x18, 2_u32);
    put(&mut block, 0x1c, 2_u32);
    put(&mut block, 0x20, PER_GROUP as u32);
    put(&mut block, 0x24, PER_GROUP as u32);
    put(&mut block, 0x28, geometry.inodes_per_group as u32);
    put(&mut block, 0x30, format.now);
    // Never checked by the number of mounts.
    put(&mut block, 0x36, u16::MAX);
    put(&mut block, 0x38, 0xef53_u16);
    // Clean; what errors do is the mount's choice, else to go on.
    put(&mut block, 0x3a, 1_u16);
    put(&mut block, 0x3c, 1_u16);
    put(&mut block, 0x40, format.now);
    put(&mut block, 0x4c, 1_u32);
    put(&mut block, 0x54, RESERVED as u32 + 1);
    put(&mut block, 0x58, INODE as u16);
    put(&mut block, 0x5a, group as u16);
    put(&mut block, 0x5c, COMPATIBLE | if journal { COMPATIBLE_JOURNAL } else { 0 });
    put(&mut block, 0x60, INCOMPATIBLE);
    put(&mut block, 0x64, READ_ONLY_COMPATIBLE);
    block[0x68..0x78].copy_from_slice(&format.uuid);
    block[0x78..0x82].copy_from_slice(b"minidocker");
    put(&mut block, 0xe0, if journal { JOURNAL as u32 } else { 0 });
    // The seed of the hash of names is no secret: the uuid does.
    block[0xec..0xfc].copy_from_slice(&format.uuid);
    block[0xfc] = 1;
    put(&mut block, 0xfe, DESCRIPTOR as u16);
    // Mounted with user_xattr and acl.
    put(&mut block, 0x100, 0xc_u32);
    put(&mut block, 0x108, format.now);
    // Inodes have room for times of nanoseconds.
    put(&mut block, 0x15c, 32_u16);
    put(&mut block, 0x15e, 32_u16);
    // The hash of names takes letters as signed.
    put(&mut block, 0x160, 1_u32);
    // Checksums are CRC-32C.
    block[0x175] = 1;
    let checksum = crc32c(!0, &block[..0x3fc]);
    put(&mut block, 0x3fc, checksum);
    block
}

/// An inode of one extent: its first block and how many.
fn inode(number: u64, seed: u32, now: u32, mode: u32, links: u16, (start, count): (u64, u64)) -> [u8; 256] {
    let mut inode = [0; 256];
    put(&mut inode, 0x00, mode as u16);
    put_halves(&mut inode, (0x04, 0x6c), count * BLOCK);
    for at in [0x08, 0x0c, 0x10, 0x90] {
        put(&mut inode, at, now);
    }
    put(&mut inode, 0x1a, links);
    put(&mut inode, 0x1c, (count * BLOCK / 512) as u32);
    // EXT4_EXTENTS_FL.
    put(&mut inode, 0x20, 0x8_0000_u32);
    // A header of one entry of four, and that entry; its upper 16 bits come before the lower 32.
    put(&mut inode, 0x28, 0xf30a_u16);
    put(&mut inode, 0x2a, 1_u16);
    put(&mut inode, 0x2c, 4_u16);
    put(&mut inode, 0x38, count as u16);
    put(&mut inode, 0x3a, (start >> 32) as u16);
    put(&mut inode, 0x3c, start as u32);
    put(&mut inode, 0x80, 32_u16);
    let checksum = crc32c(inode_seed(number, seed), &inode);
    put(&mut inode, 0x7c, checksum as u16);
    put(&mut inode, 0x82, (checksum >> 16) as u16);
    inode
}

/// Of an inode of generation 0.
fn inode_seed(number: u64, seed: u32) -> u32 {
    crc32c(crc32c(seed, &(number as u32).to_le_bytes()), &[0; 4])
}

/// `.`, `..`, and the checksum in the place of a last name.
fn root_block(seed: u32) -> Vec<u8> {
    const TAIL: usize = BLOCK as usize - 12;
    let mut block = vec![0; BLOCK as usize];
    for (at, length, name) in [(0, 12, &b"."[..]), (12, TAIL - 12, &b".."[..])] {
        put(&mut block, at, ROOT as u32);
        put(&mut block, at + 4, length as u16);
        block[at + 6] = name.len() as u8;
        // A directory.
        block[at + 7] = 2;
        block[at + 8..at + 8 + name.len()].copy_from_slice(name);
    }
    put(&mut block, TAIL + 4, 12_u16);
    block[TAIL + 7] = 0xde;
    let checksum = crc32c(inode_seed(ROOT, seed), &block[..TAIL]);
    put(&mut block, TAIL + 8, checksum);
    block
}

/// An empty journal: Documentation/filesystems/ext4/journal.rst.
fn journal_superblock(format: &Format, blocks: u64) -> [u8; 1024] {
    let mut block = [0; 1024];
    let words = [(0x00, 0xc03b_3998), (0x04, 4), (0x0c, BLOCK as u32), (0x10, blocks as u32), (0x14, 1)];
    for (at, word) in words.into_iter().chain([(0x18, 1), (0x40, 1)]) {
        block[at..at + 4].copy_from_slice(&u32::to_be_bytes(word));
    }
    block[0x30..0x40].copy_from_slice(&format.uuid);
    block
}

trait Number<const N: usize> {
    fn bytes(self) -> [u8; N];
}

impl Number<2> for u16 {
    fn bytes(self) -> [u8; 2] {
        self.to_le_bytes()
    }
}

impl Number<4> for u32 {
    fn bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

fn put<const N: usize>(block: &mut [u8], at: usize, number: impl Number<N>) {
    block[at..at + N].copy_from_slice(&number.bytes());
}

/// The lower and the upper half of a number, each in its place.
fn put_halves(block: &mut [u8], (low, high): (usize, usize), number: u64) {
    put(block, low, number as u32);
    put(block, high, (number >> 32) as u32);
}

/// CRC-32C as ext4 uses it: started with `crc`, not inverted at the end.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let (mut crc, mut bit) = (index as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    bytes.iter().fold(crc, |crc, byte| crc >> 8 ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Scratch;
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    #[test]
    fn the_checksum_is_the_one_of_rfc_3720() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
    }

    /// e2fsck looks at every structure and its checksum; the sizes meet every shape of the last group.
    #[test]
    fn e2fsck_finds_nothing_wrong() {
        let scratch = Scratch::new("ext4");
        let group = PER_GROUP * BLOCK;
        let sizes = [
            SMALLEST,
            SMALLEST + 5000,
            (100 << 20) + 1,
            group,
            group + BLOCK,
            group + 600 * BLOCK,
            3 * group,
            (1 << 30) - BLOCK,
            10 << 30,
            9 * group + 20 * BLOCK,
            300 << 30,
            5 << 40,
            LARGEST,
        ];
        for (index, size) in sizes.into_iter().enumerate() {
            for journal in [false, true] {
                let path = scratch.path.join(format!("{index}-{journal}"));
                let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
                let made = Format { size, journal, uuid: *b"0123456789abcdef", now: 1_700_000_000 };
                format(&file, &made).unwrap();
                // What it takes on disk is nothing beside the size: a copy of the descriptors for each of few groups.
                let taken = file.metadata().unwrap().blocks() * 512;
                assert!(taken < (1 << 20) + size / 50_000, "{size}: {taken}");
                if size > 1 << 40 {
                    continue;
                }
                let output = Command::new("e2fsck").args(["-f", "-n", "-v"]).arg(&path).output().unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                let only = said.replace("/lost+found not found.  Create? no", "");
                let wrong = only.contains("? no") || said.contains("corrupt") || said.contains("WARNING");
                assert!(!wrong, "{size} {journal}: {said}{}", String::from_utf8_lossy(&output.stderr));
                std::fs::remove_file(&path).unwrap();
            }
        }
    }
}

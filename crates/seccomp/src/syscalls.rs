//! The names and numbers of system calls, read from `syscalls.txt` by the compiler: what is left in the binary are
//! two arrays without a pointer, so that a start pays neither for building a map nor for relocations.

use crate::arch::{Arch, X32_BIT};

/// The table's text; the program itself does not contain it.
const TEXT: &[u8] = include_bytes!("syscalls.txt");

/// A system call: its line in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call(u16);

/// A number that fits a small dense array: the numbers themselves, and then Arm's private ones.
pub(crate) type Slot = u16;

/// Slots of ordinary numbers; the greatest is x32's 547.
pub(crate) const ORDINARY: Slot = 592;
/// All slots.
pub(crate) const SLOTS: usize = ORDINARY as usize + 16;
/// The first of Arm's private numbers (__ARM_NR_BASE).
pub(crate) const ARM_PRIVATE: u32 = 0x000f_0000;

const NONE: Slot = Slot::MAX;

#[derive(Clone, Copy)]
struct Row {
    start: u16,
    len: u16,
    slots: [Slot; 5],
}

/// How many calls there are.
pub(crate) const COUNT: usize = size(TEXT).0;
static ROWS: [Row; COUNT] = ROWS_CONST;
const ROWS_CONST: [Row; COUNT] = rows();
const NAMES_LEN: usize = size(TEXT).1;
static NAMES: [u8; NAMES_LEN] = NAMES_CONST;
const NAMES_CONST: [u8; NAMES_LEN] = names();
/// Where the names of each first byte begin: `INITIALS[b]..INITIALS[b + 1]`.
static INITIALS: [u16; 129] = initials();

impl Call {
    /// The call of that name; none where no architecture here has it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = name.as_bytes();
        let initial = usize::from(*name.first().filter(|byte| byte.is_ascii())?);
        let (first, end) = (INITIALS[initial], INITIALS[initial + 1]);
        let rows = &ROWS[usize::from(first)..usize::from(end)];
        let at = rows.binary_search_by(|row| row.name(&NAMES).cmp(name)).ok()?;
        Some(Self(first + at as u16))
    }

    /// Its place among all, from 0.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        // The table is ASCII (checked when it is read), so nothing is ever lost here.
        std::str::from_utf8(ROWS[usize::from(self.0)].name(&NAMES)).unwrap_or_default()
    }

    /// Its slot on `arch`, if it is there.
    pub(crate) fn slot(self, arch: Arch) -> Option<Slot> {
        let slot = ROWS[usize::from(self.0)].slots[arch as usize];
        (slot != NONE).then_some(slot)
    }

    /// All that are known.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..COUNT as u16).map(Self)
    }
}

/// The number that `slot` stands for on `arch`, as `seccomp_data.nr` has it.
pub(crate) fn number(slot: Slot, arch: Arch) -> u32 {
    match (slot.checked_sub(ORDINARY), arch) {
        (Some(private), _) => ARM_PRIVATE + u32::from(private),
        (None, Arch::X32) => u32::from(slot) | X32_BIT,
        (None, _) => u32::from(slot),
    }
}

/// How many words `text` has.
pub(crate) const fn count_words(text: &str) -> usize {
    let (bytes, mut at, mut count) = (text.as_bytes(), 0, 0);
    while let Some((_, end)) = word(bytes, at) {
        (at, count) = (end, count + 1);
    }
    count
}

/// The calls that `text` names, at compile time: a name that is no call stops the compiler.
pub(crate) const fn resolve<const N: usize>(text: &str) -> [Call; N] {
    let (bytes, mut at, mut index) = (text.as_bytes(), 0, 0);
    let mut calls = [Call(0); N];
    while let Some((start, end)) = word(bytes, at) {
        calls[index] = find(bytes, start, end);
        (at, index) = (end, index + 1);
    }
    calls
}

const fn find(bytes: &[u8], start: usize, end: usize) -> Call {
    let (mut low, mut high) = (0, COUNT);
    while low < high {
        let middle = (low + high) / 2;
        let row = ROWS_CONST[middle];
        match compare(&NAMES_CONST, row.start as usize, row.len as usize, bytes, start, end - start) {
            0 => return Call(middle as u16),
            ..0 => low = middle + 1,
            _ => high = middle,
        }
    }
    panic!("the policy names a system call that the table does not have")
}

const fn compare(a: &[u8], a_at: usize, a_len: usize, b: &[u8], b_at: usize, b_len: usize) -> i32 {
    let mut index = 0;
    while index < a_len && index < b_len {
        let difference = a[a_at + index] as i32 - b[b_at + index] as i32;
        if difference != 0 {
            return difference;
        }
        index += 1;
    }
    a_len as i32 - b_len as i32
}

impl Row {
    fn name<'n>(&self, names: &'n [u8]) -> &'n [u8] {
        &names[usize::from(self.start)..usize::from(self.start + self.len)]
    }
}

/// The next word at or after `at`, of whatever line: its start and its end.
const fn word(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    while at < bytes.len() && bytes[at].is_ascii_whitespace() {
        at += 1;
    }
    let start = at;
    while at < bytes.len() && !bytes[at].is_ascii_whitespace() {
        at += 1;
    }
    if start == at { None } else { Some((start, at)) }
}

/// Where the line after the one that `at` is in begins.
const fn next_line(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'\n' {
        at += 1;
    }
    at + 1
}

/// Lines of the table, and bytes of the names in them.
const fn size(text: &[u8]) -> (usize, usize) {
    let (mut at, mut lines, mut names) = (0, 0, 0);
    while at < text.len() {
        if text[at] != b'#'
            && let Some((start, end)) = word(text, at)
        {
            (lines, names) = (lines + 1, names + end - start);
        }
        at = next_line(text, at);
    }
    (lines, names)
}

const fn rows() -> [Row; COUNT] {
    let mut rows = [Row { start: 0, len: 0, slots: [NONE; 5] }; COUNT];
    let (mut at, mut index, mut names) = (0, 0, 0);
    while at < TEXT.len() {
        if TEXT[at] != b'#'
            && let Some((start, mut end)) = word(TEXT, at)
        {
            rows[index].start = names as u16;
            rows[index].len = (end - start) as u16;
            names += end - start;
            let mut column = 0;
            while column < 5 {
                let Some((start, next)) = word(TEXT, end) else { panic!("a line of the table is too short") };
                rows[index].slots[column] = slot(start, next);
                (end, column) = (next, column + 1);
            }
            index += 1;
        }
        at = next_line(TEXT, at);
    }
    rows
}

/// The number in the table's text, as a slot.
const fn slot(start: usize, end: usize) -> Slot {
    if TEXT[start] == b'-' {
        return NONE;
    }
    let (mut at, mut number) = (start, 0u32);
    while at < end {
        assert!(TEXT[at].is_ascii_digit(), "a number of the table is none");
        number = number * 10 + (TEXT[at] - b'0') as u32;
        at += 1;
    }
    if number < ORDINARY as u32 {
        return number as Slot;
    }
    assert!(number >= ARM_PRIVATE && number < ARM_PRIVATE + 16, "a number of the table has no slot");
    ORDINARY + (number - ARM_PRIVATE) as Slot
}

const fn names() -> [u8; NAMES_LEN] {
    let mut names = [0; NAMES_LEN];
    let (mut at, mut to) = (0, 0);
    while at < TEXT.len() {
        if TEXT[at] != b'#'
            && let Some((start, end)) = word(TEXT, at)
        {
            let mut from = start;
            while from < end {
                assert!(TEXT[from].is_ascii(), "a name of the table is not ASCII");
                names[to] = TEXT[from];
                (from, to) = (from + 1, to + 1);
            }
        }
        at = next_line(TEXT, at);
    }
    names
}

const fn initials() -> [u16; 129] {
    let mut initials = [COUNT as u16; 129];
    let (mut byte, mut row) = (0, 0);
    while byte < 128 {
        initials[byte] = row as u16;
        while row < COUNT && NAMES_CONST[ROWS_CONST[row].start as usize] as usize == byte {
            row += 1;
        }
        byte += 1;
    }
    assert!(row == COUNT, "the table is not sorted");
    initials
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(name: &str) -> [Option<u32>; 5] {
        let call = Call::named(name).unwrap();
        Arch::ALL.map(|arch| call.slot(arch).map(|slot| number(slot, arch)))
    }

    #[test]
    fn knows_the_numbers_of_each_architecture() {
        assert_eq!(numbers("read"), [Some(0), Some(3), Some(X32_BIT), Some(63), Some(3)]);
        assert_eq!(numbers("execve"), [Some(59), Some(11), Some(X32_BIT + 520), Some(221), Some(11)]);
        assert_eq!(numbers("waitpid"), [None, Some(7), None, None, None]);
        assert_eq!(numbers("set_tls"), [None, None, None, None, Some(0xf0005)]);
        for (name, nr) in [("open_tree_attr", 467), ("file_getattr", 468), ("file_setattr", 469)] {
            assert_eq!(numbers(name), [Some(nr), Some(nr), Some(X32_BIT + nr), Some(nr), Some(nr)]);
        }
    }

    #[test]
    fn finds_every_name_and_no_other() {
        let names: Vec<&str> = Call::all().map(Call::name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "the table must be sorted, each name once");
        assert!(names.len() > 480);
        for (index, name) in names.iter().enumerate() {
            assert_eq!(Call::named(name), Some(Call(index as u16)), "{name}");
        }
        for name in ["", "rea", "readx", "zzz", "~", "\u{e9}", "READ"] {
            assert_eq!(Call::named(name), None, "{name}");
        }
    }

    #[test]
    fn no_number_is_used_twice_on_an_architecture() {
        for arch in Arch::ALL {
            let mut slots: Vec<_> = Call::all().filter_map(|call| call.slot(arch)).collect();
            slots.sort_unstable();
            assert!(slots.is_sorted_by(|a, b| a < b), "{arch:?}");
        }
    }

    #[test]
    fn resolves_words_at_compile_time() {
        const TEXT: &str = " read\n write";
        const CALLS: [Call; count_words(TEXT)] = resolve(TEXT);
        assert_eq!(CALLS.map(Call::name), ["read", "write"]);
    }
}

//! Numbers that nobody chose, the same in every run with the same seed (xorshift).

#[derive(Debug, Clone)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// From a seed; zero, from which nothing would come, is taken for one.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// The next one, from 0 and below `below`.
    pub(crate) fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// One of them.
    pub(crate) fn one<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.next(all.len() as u64) as usize) }
    }
}

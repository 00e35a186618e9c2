//! How much may go over a container's link: rates in bits a second, as tc(8) counts them, and what may go at once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bits a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(pub u64);

impl Rate {
    /// The smallest and the largest that make sense: a full frame takes 1.5 s at the one, the other is 125 GB/s.
    pub const BOUNDS: std::ops::RangeInclusive<u64> = 8_000..=1_000_000_000_000;

    /// What the kernel counts in.
    pub(crate) fn bytes(self) -> u64 {
        self.0 / 8
    }

    /// What the kernel says: bytes a second.
    pub(crate) fn of_bytes(bytes: u64) -> Self {
        Self(bytes.saturating_mul(8))
    }
}

impl fmt::Display for Rate {
    /// The largest unit that shows it whole: `10mbit`, `1500kbit`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units =
            [(1_000_000_000_000, "tbit"), (1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit")];
        let whole = units.into_iter().find(|(size, _)| self.0 >= *size && self.0.is_multiple_of(*size));
        let (size, unit) = whole.unwrap_or((1, "bit"));
        write!(f, "{}{unit}", self.0 / size)
    }
}

/// The limits of a container's link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// Towards the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub into: Option<Rate>,
    /// From the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of: Option<Rate>,
    /// Bytes that may go at once after a pause, at full speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
}

impl Rates {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        self.into.is_none() && self.out_of.is_none()
    }
}

/// What is to become of a container's limits; what is not named stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateChange {
    /// Towards the container; within, none for no limit any more.
    pub into: Option<Option<Rate>>,
    /// From the container, likewise.
    pub out_of: Option<Option<Rate>>,
    /// Bytes that may go at once.
    pub burst: Option<u64>,
}

impl RateChange {
    /// The limits afterwards.
    pub fn of(self, old: Rates) -> Rates {
        let new = Rates {
            into: self.into.unwrap_or(old.into),
            out_of: self.out_of.unwrap_or(old.out_of),
            burst: self.burst.or(old.burst),
        };
        if new.is_none() { Rates::default() } else { new }
    }
}

/// A bucket of tokens, as tc-tbf(8) has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) rate: Rate,
    /// What the bucket holds, bytes.
    pub(crate) burst: u32,
    /// What may wait for tokens, bytes; more is dropped.
    pub(crate) limit: u32,
}

impl Bucket {
    /// What is sent to a container. Without a burst of the user's the bucket holds what goes in 10 ms, and 16 KiB at
    /// least: ten full frames. Room to wait for 100 ms, and 128 KiB at least: a sender hands over 64 KiB in one piece.
    pub(crate) fn into(rate: Rate, burst: Option<u64>) -> Self {
        Self::new(rate, burst, 128 << 10)
    }

    /// What a container sends. There is room for all that its sockets let wait (net.ipv4.tcp_limit_output_bytes is 4
    /// MiB): they make the sender wait before anything is lost.
    pub(crate) fn out_of(rate: Rate, burst: Option<u64>) -> Self {
        Self::new(rate, burst, 4 << 20)
    }

    fn new(rate: Rate, burst: Option<u64>, room: u64) -> Self {
        let bytes = |milliseconds| rate.bytes() / 1000 * milliseconds;
        let burst = burst.unwrap_or_else(|| bytes(10).max(16 << 10)).max(2 << 10);
        let limit = burst + bytes(100).max(room);
        let fit = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { rate, burst: fit(burst), limit: fit(limit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shown_in_the_largest_whole_unit() {
        for (bits, text) in [
            (8_000, "8kbit"),
            (10_000_000, "10mbit"),
            (1_500_000, "1500kbit"),
            (1_000_000_000, "1gbit"),
            (12_345, "12345bit"),
            (1_000_000_000_000, "1tbit"),
        ] {
            assert_eq!(Rate(bits).to_string(), text);
            assert_eq!(Rate::of_bytes(Rate(bits).bytes()).0, bits / 8 * 8);
        }
    }

    #[test]
    fn what_is_not_named_stays() {
        let old = Rates { into: Some(Rate(8_000)), out_of: Some(Rate(16_000)), burst: Some(4096) };
        let change = RateChange { into: Some(None), ..RateChange::default() };
        assert_eq!(change.of(old), Rates { into: None, ..old });
        let none = RateChange { out_of: Some(None), ..change };
        assert_eq!(none.of(old), Rates::default(), "a burst alone says nothing");
        assert_eq!(RateChange::default().of(old), old);
    }

    #[test]
    fn a_bucket_holds_frames_and_its_queue_a_whole_piece() {
        let slow = Bucket::into(Rate(8_000), None);
        assert_eq!((slow.burst, slow.limit), (16 << 10, 144 << 10));
        let fast = Bucket::into(Rate(10_000_000_000), None);
        assert_eq!((fast.burst, fast.limit), (12_500_000, 137_500_000));
        assert_eq!(Bucket::out_of(Rate(8_000), None).limit, (16 << 10) + (4 << 20));
        assert_eq!(Bucket::into(Rate(8_000), Some(1)).burst, 2048, "one frame has to fit");
        assert_eq!(Bucket::into(Rate(8_000), Some(u64::MAX / 2)).burst, u32::MAX);
    }
}

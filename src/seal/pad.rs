//! Padding, which hides the exact length of packs and pages.
//!
//! Owns the lengths that are aimed at and the bytes that fill up to them.
//! Invariant: what is appended is whole zstd skippable frames, over which every zstd decoder passes.

/// Which lengths an object may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// This length; a longer plaintext is padded as for [`Padding::Sizes`].
    Full(u64),
    /// One of the lengths of [`padme`], at most 12 % more.
    Sizes,
    /// The length itself.
    None,
}

/// The magic number of a skippable frame, then its length in 4 bytes.
const FRAME_HEAD: u64 = 8;
const MAGIC: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

impl Padding {
    /// The length that a plaintext of `len` bytes is to have. It is `len` itself or at least 8 more, so that a frame fits. A
    /// pack that is to have its full length must therefore end there or at least 8 bytes before.
    pub fn target(self, len: u64) -> u64 {
        let reachable = |target: u64| target == len || target >= len.saturating_add(FRAME_HEAD);
        match self {
            Self::None => len,
            Self::Full(full) if reachable(full) => full,
            Self::Full(_) | Self::Sizes if reachable(padme(len)) => padme(len),
            Self::Full(_) | Self::Sizes => padme(len.saturating_add(FRAME_HEAD)),
        }
    }

    /// The frame that pads a plaintext of `len` bytes. It is empty if `len` is right already.
    pub fn frame(self, len: u64) -> Vec<u8> {
        padding_frame(len, self.target(len))
    }
}

/// The next length of Padmé: its lowest bits are zero, and the more of them, the longer it is. So a length says O(log log n)
/// bits (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs").
pub fn padme(len: u64) -> u64 {
    if len < 2 {
        return len;
    }
    let exponent = len.ilog2();
    let kept = exponent.checked_ilog2().unwrap_or(0) + 1;
    let mask = (1u64 << exponent.saturating_sub(kept)) - 1;
    len.saturating_add(mask) & !mask
}

/// A skippable frame that fills from `current_len` to `target_len`. A frame has at least 8 bytes, so it ends up to 7 bytes
/// behind a target that is nearer; [`Padding::target`] gives no such target. It has at most 4 GiB.
pub fn padding_frame(current_len: u64, target_len: u64) -> Vec<u8> {
    let gap = target_len.saturating_sub(current_len);
    if gap == 0 {
        return Vec::new();
    }
    let zeros = u32::try_from(gap.saturating_sub(FRAME_HEAD)).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(FRAME_HEAD as usize + zeros as usize);
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&zeros.to_le_bytes());
    frame.resize(FRAME_HEAD as usize + zeros as usize, 0);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn lengths_are_those_of_the_paper() {
        for (len, padded) in
            [(0, 0), (1, 1), (2, 2), (8, 8), (9, 10), (100, 104), (1_000, 1_024), (16 * MIB, 16 * MIB), (MIB + 1, MIB + 32_768)]
        {
            assert_eq!(padme(len), padded, "{len}");
        }
    }

    #[test]
    fn a_full_pack_has_its_length_and_a_longer_one_another() {
        let full = Padding::Full(16 * MIB);
        for len in [0, 1, MIB, 16 * MIB - 8, 16 * MIB] {
            assert_eq!(len + full.frame(len).len() as u64, 16 * MIB, "{len}");
        }
        for len in [16 * MIB - 7, 16 * MIB - 1, 16 * MIB + 1] {
            let padded = len + full.frame(len).len() as u64;
            assert!(padded > 16 * MIB && padme(padded) == padded, "{len} became {padded}");
        }
        assert!(Padding::None.frame(5).is_empty());
    }

    #[test]
    fn a_frame_is_what_zstd_skips() {
        assert_eq!(padding_frame(3, 13), [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 0, 0]);
        assert_eq!(padding_frame(3, 4), [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
        assert!(padding_frame(4, 4).is_empty() && padding_frame(5, 4).is_empty());
    }

    proptest! {
        #[test]
        fn a_padded_length_is_a_length_of_padme(len in 0..64 * MIB) {
            let padded = len + Padding::Sizes.frame(len).len() as u64;
            prop_assert_eq!(padme(padded), padded);
            prop_assert!(padded <= len + len / 8 + 16 && padme(padme(len)) == padme(len));
        }

        #[test]
        fn a_longer_text_is_not_padded_to_less(len: u64, more in 0..1_000_000u64) {
            prop_assert!(padme(len) <= padme(len.saturating_add(more)) || len > u64::MAX / 2);
        }
    }
}

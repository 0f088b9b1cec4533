//! Reusable memory for blocks of large files.
//!
//! Owns the free buffers. When a block has no reader left, its buffer returns here, wherever the block is dropped. A
//! new allocation for each block would leave one freed block in each thread, and the kernel would have to clear fresh
//! pages each time.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// At most this many bytes are kept for reuse.
const KEPT: usize = 48 << 20;
/// Smaller buffers are left to the allocator.
const LEAST: usize = 256 << 10;

static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// An empty buffer with room for this many bytes.
pub(super) fn take(size: usize) -> Vec<u8> {
    if size >= LEAST {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fits) = free.iter().position(|b| b.capacity() >= size && b.capacity() <= 2 * size) {
            return free.swap_remove(fits);
        }
    }
    Vec::with_capacity(size)
}

/// Makes a block. It returns its buffer when its last reader drops it.
pub(super) fn give(buffer: Vec<u8>) -> Bytes {
    if buffer.capacity() < LEAST { buffer.into() } else { Bytes::from_owner(Lent(buffer)) }
}

struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        buffer.clear();
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = free.iter().map(Vec::capacity).sum();
        if kept + buffer.capacity() <= KEPT {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_in_use_keeps_its_bytes_and_a_free_one_lends_its_memory() {
        let fill = |byte: u8| {
            let mut buffer = take(LEAST);
            buffer.resize(LEAST, byte);
            give(buffer)
        };
        let (one, two) = (fill(1), fill(2));
        let clone = one.slice(10..);
        drop(one);
        let three = fill(3);
        assert!(clone.iter().all(|b| *b == 1) && two.iter().all(|b| *b == 2) && three.iter().all(|b| *b == 3));
        let place = three.as_ptr();
        drop((clone, two, three));
        let again: Vec<Vec<u8>> = (0..8).map(|_| take(LEAST)).collect();
        assert!(again.iter().any(|b| b.as_ptr() == place && b.is_empty()));
    }
}

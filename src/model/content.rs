//! What a content of a packed destination needs of packs.

use super::entry::Content;
use super::hash::Hash;
use super::place::PIECES;

impl Content {
    /// Whether it is in packs.
    pub fn is_packed(&self) -> bool {
        self.at.is_some() || !self.pieces.is_empty() || !self.lists.is_empty()
    }

    /// Every pack that it needs: of its pieces and of its lists. A pack can come several times.
    pub fn packs(&self) -> impl Iterator<Item = &Hash> {
        let at = self.at.iter().map(|place| &place.pack);
        let pieces = self.pieces.iter().map(|piece| &piece.pack);
        let lists = self.lists.iter().flat_map(|list| list.packs.iter().map(|(pack, _)| pack).chain([&list.pack]));
        at.chain(pieces).chain(lists)
    }

    /// For each of its frames: the pack, and how far the frame reaches in it, in bytes. Of the frames of a list in one
    /// pack only the last.
    pub fn reaches(&self) -> impl Iterator<Item = (&Hash, u64)> {
        let at = self.at.iter().map(|place| (&place.pack, place.frame.saturating_add(place.length)));
        let pieces = self.pieces.iter().map(|piece| (&piece.pack, piece.frame.saturating_add(piece.length)));
        let lists = self.lists.iter().map(|list| (&list.pack, list.frame.saturating_add(list.length)));
        let listed = self.lists.iter().flat_map(|list| list.packs.iter().map(|(pack, end)| (pack, *end)));
        at.chain(pieces).chain(lists).chain(listed)
    }

    /// Checks that its places can be, and that they hold `size` bytes together.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check_places(&self, size: u64) -> Result<(), &'static str> {
        let kinds = usize::from(self.at.is_some()) + usize::from(!self.pieces.is_empty()) + usize::from(!self.lists.is_empty());
        if kinds == 0 {
            return Ok(());
        }
        if kinds > 1 || self.key.is_some() || self.pieces.len() > PIECES {
            return Err("a content in more places than one");
        }
        let mut sum = Some(0u64);
        if let Some(place) = &self.at {
            place.check(size)?;
            sum = Some(size);
        }
        for piece in &self.pieces {
            piece.check()?;
            sum = sum.and_then(|sum| sum.checked_add(piece.size));
        }
        for list in &self.lists {
            list.check()?;
            sum = sum.and_then(|sum| sum.checked_add(list.size));
        }
        if sum == Some(size) { Ok(()) } else { Err("pieces that do not make up the file") }
    }
}

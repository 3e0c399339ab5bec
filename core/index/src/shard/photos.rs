//! Which photos a listing has. The file says which listing a photo has; this is the other way round.

use crate::ids::ListingRow;

/// The photos of each listing, in ascending order of their rows.
#[derive(Debug)]
pub(super) struct ListingPhotos {
    /// For each listing, where its photos end.
    ends: Vec<u32>,
    photos: Vec<u32>,
}

impl ListingPhotos {
    /// Sorts photos by their listings. Those of a listing that the shard lacks are left out.
    pub(super) fn new(listing_of: &[u32], listings: usize) -> ListingPhotos {
        let mut ends = vec![0u32; listings];
        listing_of.iter().for_each(|&row| {
            if let Some(count) = ends.get_mut(row as usize) {
                *count += 1;
            }
        });
        let mut end = 0;
        // First the start of each listing, which moves to its end as photos are put in their places.
        for count in &mut ends {
            (*count, end) = (end, end + *count);
        }
        let mut photos = vec![0; end as usize];
        for (photo, &row) in (0..).zip(listing_of) {
            if let Some(next) = ends.get_mut(row as usize) {
                photos[*next as usize] = photo;
                *next += 1;
            }
        }
        ListingPhotos { ends, photos }
    }

    /// The photos of a listing; none of a listing that the shard lacks.
    pub(super) fn of(&self, listing: ListingRow) -> &[u32] {
        let row = listing.0 as usize;
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(row).copied().unwrap_or(start);
        self.photos.get(start as usize..end as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_photo_of_a_listing_is_found_and_a_damaged_row_is_not() {
        let photos = ListingPhotos::new(&[2, 0, 9, 2, u32::MAX, 0, 2], 4);
        let of = |row| photos.of(ListingRow(row)).to_vec();
        assert_eq!([of(0), of(1), of(2), of(3)], [vec![1, 5], vec![], vec![0, 3, 6], vec![]]);
        assert_eq!([of(4), of(u32::MAX)], [Vec::<u32>::new(), vec![]]);
    }
}

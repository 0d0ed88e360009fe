//! Whether the pages of a listing are the whole of it. Pure: what to read next is a function of what was read.
//!
//! The API lists by offset, and says with each page how many there are. What is deleted meanwhile moves the rest
//! forward past the offset, so that it would be missed: the listing goes back by as much as the count fell. What
//! is made meanwhile moves it the other way, and is read twice. A listing whose count is not reached in the end
//! is an error, never a short list.

use std::collections::BTreeMap;

/// A listing under way: things by their id.
#[derive(Debug)]
pub(super) struct Pages<T> {
    found: BTreeMap<String, T>,
    offset: usize,
    total: Option<usize>,
    /// Pages that may still be read: going back must end.
    left: usize,
}

/// What follows after a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Read from [`Pages::offset`] on.
    Page,
    /// All of it was read.
    Done,
    /// It cannot be read whole.
    Broken(String),
}

/// Pages beyond twice those that the count needs.
const SPARE: usize = 8;

impl<T> Pages<T> {
    pub(super) fn new() -> Self {
        Self {
            found: BTreeMap::new(),
            offset: 0,
            total: None,
            left: usize::MAX,
        }
    }

    /// Where the next page begins.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Takes a page, which was read at [`Pages::offset`].
    pub(super) fn take(&mut self, page: Vec<(String, T)>, total: Option<usize>, size: usize) -> Next {
        let Some(total) = total else {
            return Next::Broken("a page does not say how many there are".to_owned());
        };
        let fell = self.total.map_or(0, |before| before.saturating_sub(total));
        if self.total.replace(total).is_none() {
            self.left = (total.div_ceil(size) * 2).saturating_add(SPARE);
        }
        let read = page.len();
        self.found.extend(page);
        self.left -= 1;
        if self.left == 0 {
            return Next::Broken(format!(
                "it changes faster than it can be read; {total} are there"
            ));
        }
        if fell > 0 && self.offset > 0 {
            // What moved forward past the beginning of this page.
            self.offset = self.offset.saturating_sub(fell);
            return Next::Page;
        }
        self.offset += read;
        match (self.offset >= total, read) {
            (false, 0) => Next::Broken(format!("the page from {} on is empty, of {total}", self.offset)),
            (false, _) => Next::Page,
            (true, _) if self.found.len() < total => {
                Next::Broken(format!("{} were listed, of {total}", self.found.len()))
            }
            (true, _) => Next::Done,
        }
    }

    pub(super) fn into_found(self) -> impl Iterator<Item = T> {
        self.found.into_values()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(numbers: impl IntoIterator<Item = u32>) -> Vec<(String, u32)> {
        numbers
            .into_iter()
            .map(|number| (format!("{number:05}"), number))
            .collect()
    }

    #[test]
    fn an_empty_listing_is_whole_if_the_cloud_says_so() {
        assert_eq!(Pages::<u32>::new().take(page([]), Some(0), 10), Next::Done);
    }

    #[test]
    fn a_page_without_a_count_or_without_content_breaks_the_listing() {
        assert!(matches!(Pages::new().take(page([1]), None, 10), Next::Broken(_)));
        let mut pages = Pages::new();
        assert_eq!(pages.take(page(0..10), Some(12), 10), Next::Page);
        assert!(matches!(pages.take(page([]), Some(12), 10), Next::Broken(_)));
    }

    #[test]
    fn a_thing_that_is_listed_twice_is_not_two() {
        let mut pages = Pages::new();
        assert_eq!(pages.take(page(0..10), Some(12), 10), Next::Page);
        assert!(matches!(pages.take(page([8, 9]), Some(12), 10), Next::Broken(_)));
    }

    #[test]
    fn a_listing_that_never_ends_breaks() {
        let mut pages = Pages::new();
        let totals = [1_000, 985].into_iter().cycle().take(10_000);
        let mut reads = totals.map(|total| pages.take(page(0..10), Some(total), 10));
        let last = reads.find(|next| *next != Next::Page);
        assert!(matches!(last, Some(Next::Broken(_))));
    }

    proptest! {
        /// Whatever goes away between pages, nothing that stays is missed.
        #[test]
        fn what_stays_is_found(
            count in 0_u32..200,
            size in 1_usize..20,
            gone in prop::collection::vec(prop::collection::vec(0_u32..200, 0..4), 0..8),
        ) {
            let mut there: Vec<u32> = (0..count).collect();
            let mut gone = gone.into_iter();
            let mut pages = Pages::new();
            let end = loop {
                let read: Vec<_> = there.iter().copied().skip(pages.offset()).take(size).collect();
                match pages.take(page(read), Some(there.len()), size) {
                    Next::Page => {}
                    end => break end,
                }
                let gone = gone.next().unwrap_or_default();
                there.retain(|number| !gone.contains(number));
            };
            if end == Next::Done {
                let found: Vec<u32> = pages.into_found().collect();
                prop_assert!(there.iter().all(|number| found.contains(number)));
            } else {
                prop_assert!(size < 4, "{end:?}");
            }
        }
    }
}

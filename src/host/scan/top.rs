//! The largest few of many, in bounded memory.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A path in two pieces that are never joined unless it is kept.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// Without a slash at its end; empty for `/`.
    pub(super) dir: &'a [u8],
    /// Empty: the directory itself.
    pub(super) name: &'a [u8],
}

impl Place<'_> {
    pub(super) fn to_path(self) -> Vec<u8> {
        if self.name.is_empty() {
            return if self.dir.is_empty() { b"/".to_vec() } else { self.dir.to_vec() };
        }
        [self.dir, b"/", self.name].concat()
    }

    /// As `self.to_path().cmp(other)`, without making the path.
    fn cmp_path(self, other: &[u8]) -> Ordering {
        if self.name.is_empty() {
            return if self.dir.is_empty() { b"/".as_slice().cmp(other) } else { self.dir.cmp(other) };
        }
        let (head, tail) = other.split_at(other.len().min(self.dir.len()));
        self.dir.cmp(head).then_with(|| match tail.split_first() {
            None => Ordering::Greater,
            Some((slash, tail)) => b'/'.cmp(slash).then_with(|| self.name.cmp(tail)),
        })
    }
}

struct Kept<T> {
    size: u64,
    path: Vec<u8>,
    what: T,
}

/// Larger first; of equals the path that sorts first, so that two walks over the same tree name the same files.
impl<T> Ord for Kept<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.size.cmp(&other.size).then_with(|| other.path.cmp(&self.path))
    }
}
impl<T> PartialOrd for Kept<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Eq for Kept<T> {}
impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

pub(super) struct Top<T> {
    limit: usize,
    /// The smallest kept is on top.
    heap: BinaryHeap<Reverse<Kept<T>>>,
}

impl<T> Top<T> {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::new() }
    }

    /// Keeps it if it is among the largest so far; only then is `what` made.
    pub(super) fn offer(&mut self, size: u64, place: Place<'_>, what: impl FnOnce() -> T) {
        if self.heap.len() >= self.limit {
            let Some(Reverse(least)) = self.heap.peek() else { return };
            if size < least.size || (size == least.size && place.cmp_path(&least.path) != Ordering::Less) {
                return;
            }
            self.heap.pop();
        }
        self.heap.push(Reverse(Kept { size, path: place.to_path(), what: what() }));
    }

    /// Largest first.
    pub(super) fn take(&mut self) -> Vec<(Vec<u8>, T)> {
        std::mem::take(&mut self.heap).into_sorted_vec().into_iter().map(|Reverse(kept)| (kept.path, kept.what)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_go_to_the_path_that_sorts_first_in_any_order_of_arrival() {
        for order in [[b"a", b"b", b"c"], [b"c", b"b", b"a"], [b"b", b"c", b"a"]] {
            let mut top = Top::new(2);
            for name in order {
                top.offer(7, Place { dir: b"/d", name }, || ());
            }
            assert_eq!(top.take().into_iter().map(|(p, ())| p).collect::<Vec<_>>(), [b"/d/a", b"/d/b"]);
        }
    }

    proptest! {
        #[test]
        fn comparing_in_pieces_is_comparing_paths(dir in "(/[ab./]{1,3}){0,3}", name in "[ab.]{0,3}", other in "[ab./]{0,9}") {
            let place = Place { dir: dir.as_bytes(), name: name.as_bytes() };
            prop_assert_eq!(place.cmp_path(other.as_bytes()), place.to_path().as_slice().cmp(other.as_bytes()));
        }
    }
}

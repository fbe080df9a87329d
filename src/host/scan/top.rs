//! The largest few of many, in bounded memory.

use std::cmp::Ordering;

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

impl<T> Kept<T> {
    /// Larger first; of equals the path that sorts first, so that two walks over the same tree name the same files.
    fn rank(&self, other: &Self) -> Ordering {
        other.size.cmp(&self.size).then_with(|| self.path.cmp(&other.path))
    }
}

/// Lets up to twice as many in as are wanted before it sorts out the lesser half: cheaper for each than a heap, when a million come along.
pub(super) struct Top<T> {
    limit: usize,
    kept: Vec<Kept<T>>,
    /// As many as are wanted are at least as good as this.
    bar: Option<(u64, Vec<u8>)>,
}

impl<T> Top<T> {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, kept: Vec::new(), bar: None }
    }

    /// Keeps it if it is among the largest so far; only then is `what` made.
    pub(super) fn offer(&mut self, size: u64, place: Place<'_>, what: impl FnOnce() -> T) {
        if self.limit == 0 {
            return;
        }
        if let Some((least, path)) = &self.bar
            && (size < *least || (size == *least && place.cmp_path(path) != Ordering::Less))
        {
            return;
        }
        self.kept.push(Kept { size, path: place.to_path(), what: what() });
        if self.kept.len() >= self.limit.saturating_mul(2).max(64) {
            self.sort_out();
        }
    }

    fn sort_out(&mut self) {
        if self.kept.len() <= self.limit {
            return;
        }
        let (_, last, _) = self.kept.select_nth_unstable_by(self.limit - 1, Kept::rank);
        self.bar = Some((last.size, last.path.clone()));
        self.kept.truncate(self.limit);
    }

    /// Largest first.
    pub(super) fn take(&mut self) -> Vec<(Vec<u8>, T)> {
        self.sort_out();
        self.kept.sort_unstable_by(Kept::rank);
        std::mem::take(&mut self.kept).into_iter().map(|kept| (kept.path, kept.what)).collect()
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
        fn the_same_are_kept_as_by_sorting_all(sizes in proptest::collection::vec(0u64..50, 0..400), limit in 0usize..40) {
            let mut top = Top::new(limit);
            let mut all: Vec<(u64, Vec<u8>)> = Vec::new();
            for (index, size) in sizes.into_iter().enumerate() {
                let name = format!("{:03}", (index * 7919) % 1000);
                top.offer(size, Place { dir: b"/d", name: name.as_bytes() }, || size);
                all.push((size, format!("/d/{name}").into_bytes()));
            }
            all.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
            all.truncate(limit);
            prop_assert_eq!(top.take().into_iter().map(|(path, size)| (size, path)).collect::<Vec<_>>(), all);
        }

        #[test]
        fn comparing_in_pieces_is_comparing_paths(dir in "(/[ab./]{1,3}){0,3}", name in "[ab.]{0,3}", other in "[ab./]{0,9}") {
            let place = Place { dir: dir.as_bytes(), name: name.as_bytes() };
            prop_assert_eq!(place.cmp_path(other.as_bytes()), place.to_path().as_slice().cmp(other.as_bytes()));
        }
    }
}

//! The largest few of many, in bounded memory.

/// Largest first; of equals whoever came first. What used nothing is not among them.
pub(super) struct Largest<T> {
    limit: usize,
    list: Vec<(u64, T)>,
}

impl<T> Largest<T> {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, list: Vec::new() }
    }

    /// `make` runs only for what is kept.
    pub(super) fn offer(&mut self, size: u64, make: impl FnOnce() -> T) {
        let full = self.list.len() >= self.limit;
        if size == 0 || self.limit == 0 || (full && self.list.last().is_some_and(|(least, _)| size <= *least)) {
            return;
        }
        if full {
            self.list.pop();
        }
        let at = self.list.partition_point(|(other, _)| *other >= size);
        self.list.insert(at, (size, make()));
    }

    pub(super) fn into_list(self) -> Vec<T> {
        self.list.into_iter().map(|(_, what)| what).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_same_are_kept_as_by_sorting_all(sizes in proptest::collection::vec(0u64..20, 0..100), limit in 0usize..12) {
            let mut largest = Largest::new(limit);
            for (index, size) in sizes.iter().enumerate() {
                largest.offer(*size, || index);
            }
            let mut all: Vec<usize> = (0..sizes.len()).filter(|i| sizes[*i] > 0).collect();
            all.sort_by_key(|i| std::cmp::Reverse(sizes[*i]));
            all.truncate(limit);
            prop_assert_eq!(largest.into_list(), all);
        }
    }
}

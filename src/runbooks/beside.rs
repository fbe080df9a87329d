//! Reads that one look makes beside each other, each on a thread of its own. A host out of tasks has no thread to give: there the read is made
//! where its answer is asked for, so that the look takes longer, and sees as much.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::model::Observed;

/// One read of a look; [`Part::answer`] waits for it.
pub enum Part<'scope, T> {
    Begun(ScopedJoinHandle<'scope, Option<T>>),
    /// No thread could be had for it.
    Here(Box<dyn FnOnce() -> Option<T> + Send + 'scope>),
}

impl<'scope, T: Send + 'scope> Part<'scope, T> {
    /// Begins with `read`, where a thread can be had for it.
    pub fn begin(scope: &'scope Scope<'scope, '_>, read: impl FnOnce() -> T + Send + 'scope) -> Self {
        // A thread that cannot be made takes with it what it was given, so it is given no more than a share.
        let read = Arc::new(Mutex::new(Some(read)));
        let once = move || {
            let read = read.lock().unwrap_or_else(PoisonError::into_inner).take();
            read.map(|read| read())
        };
        match thread::Builder::new().spawn_scoped(scope, once.clone()) {
            Ok(begun) => Self::Begun(begun),
            Err(_) => Self::Here(Box::new(once)),
        }
    }
}

impl<T> Part<'_, T> {
    /// `None`: the read panicked, which is a defect.
    pub fn answer(self) -> Option<T> {
        match self {
            Self::Begun(begun) => begun.join().ok().flatten(),
            Self::Here(read) => catch_unwind(AssertUnwindSafe(read)).ok().flatten(),
        }
    }
}

impl<T> Part<'_, Observed<T>> {
    pub fn observed(self) -> Observed<T> {
        self.answer().unwrap_or_else(|| Observed::unavailable("the reader failed: a defect, please report it"))
    }
}

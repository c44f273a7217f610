//! Directories that something is being done to: one at a time each. A lock spares work, it holds no truth:
//! whoever gets it looks at the store and the disk again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// Locks by directory; those that nobody holds or waits for are forgotten.
#[derive(Debug, Default)]
pub struct DirectoryLocks {
    known: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

impl DirectoryLocks {
    /// Waits until nobody else is at the directory. Dropping the guard, or the wait, gives it up.
    pub async fn lock(&self, directory: &Path) -> OwnedMutexGuard<()> {
        self.of(directory).lock_owned().await
    }

    fn of(&self, directory: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(known.entry(directory.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_left() {
        let locks = DirectoryLocks::default();
        let held = locks.lock(Path::new("/a")).await;
        let other = locks.lock(Path::new("/b")).await;
        let second = locks.lock(Path::new("/a"));
        tokio::pin!(second);
        assert!(futures_poll(second.as_mut()).await.is_none());
        drop(held);
        drop(second.await);
        drop(other);
        drop(locks.lock(Path::new("/c")).await);
        assert_eq!(locks.known.lock().unwrap().len(), 1);
    }

    async fn futures_poll<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}

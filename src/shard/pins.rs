//! Readers that have begun, so that nothing is dropped under them.
//!
//! A reader takes a pin, then looks which blocks there are, then reads heads, series by series. Who drops a window from a
//! head first makes sure that the block that has it is known on this node, then waits for all who took their pin before:
//! whoever comes later knows of the block.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How often it is looked whether the readers are done. Windows are dropped hours after they ended, so nobody waits for it.
const POLL: Duration = Duration::from_millis(20);

/// Held while heads are read.
#[derive(Clone, Debug)]
pub struct ReadPin(#[expect(dead_code, reason = "it is there to be dropped")] Arc<()>);

/// Gives out pins.
#[derive(Debug, Default)]
pub struct ReadPins {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    now: Arc<()>,
    /// What readers took before somebody waited for them, and may still hold: several may wait, and one may give up.
    earlier: Vec<Weak<()>>,
}

impl ReadPins {
    /// A reader begins.
    pub fn pin(&self) -> ReadPin {
        ReadPin(self.lock().now.clone())
    }

    /// Waits for all readers that have begun by now.
    pub async fn wait_for_earlier(&self) {
        let earlier = {
            let mut inner = self.lock();
            let now = Arc::downgrade(&std::mem::take(&mut inner.now));
            inner.earlier.retain(|pin| pin.strong_count() > 0);
            if now.strong_count() > 0 {
                inner.earlier.push(now);
            }
            inner.earlier.clone()
        };
        while earlier.iter().any(|pin| pin.strong_count() > 0) {
            tokio::time::sleep(POLL).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn earlier_readers_are_waited_for_and_later_ones_are_not() {
        let pins = ReadPins::default();
        let earlier = (pins.pin(), pins.pin());
        let waiting = pins.wait_for_earlier();
        tokio::pin!(waiting);
        let at_once = Duration::from_millis(1);
        assert!(tokio::time::timeout(at_once, &mut waiting).await.is_err());
        let _later = pins.pin();
        drop(earlier.0);
        assert!(tokio::time::timeout(at_once, &mut waiting).await.is_err());
        drop(earlier.1);
        assert!(tokio::time::timeout(Duration::from_secs(5), &mut waiting).await.is_ok());
    }

    #[tokio::test]
    async fn a_reader_is_waited_for_by_all_who_come_after_it_also_if_one_has_given_up() {
        let pins = ReadPins::default();
        let reader = pins.pin();
        let at_once = Duration::from_millis(1);
        assert!(tokio::time::timeout(at_once, pins.wait_for_earlier()).await.is_err());
        let (first, second) = (pins.wait_for_earlier(), pins.wait_for_earlier());
        tokio::pin!(first, second);
        assert!(tokio::time::timeout(at_once, &mut first).await.is_err());
        assert!(tokio::time::timeout(at_once, &mut second).await.is_err());
        drop(reader);
        let both = async { tokio::join!(first, second) };
        assert!(tokio::time::timeout(Duration::from_secs(5), both).await.is_ok());
    }
}

//! Membership as a test or a simulation says: each node has the view that it is given, however late or wrong.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{Announcement, Membership, View};

/// A node's membership with views set from outside.
#[derive(Debug)]
pub struct ScriptedMembership {
    views: watch::Sender<Arc<View>>,
    announced: Mutex<Announcement>,
}

impl Default for ScriptedMembership {
    fn default() -> Self {
        ScriptedMembership { views: watch::Sender::new(Arc::default()), announced: Mutex::default() }
    }
}

impl ScriptedMembership {
    /// From now on the node sees this.
    pub fn set(&self, view: View) {
        self.views.send_replace(Arc::new(view));
    }

    /// What the node said last.
    pub fn announced(&self) -> Announcement {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Membership for ScriptedMembership {
    fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    fn announce(&self, announcement: Announcement) {
        *self.announced.lock().unwrap_or_else(PoisonError::into_inner) = announcement;
    }
}

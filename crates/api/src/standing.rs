//! What the process around the engine knows of itself: since when it runs, and what came of its configuration.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use utoipa::ToSchema;
use wakeful_domain::time::Timestamp;

/// What the process knows of itself.
#[derive(Debug)]
pub struct Standing {
    pub started_at: Timestamp,
    /// Why nothing is started, if that was decided at the start.
    pub safe_mode: Option<String>,
    configuration: Mutex<Option<ConfigurationView>>,
}

/// The configuration that the server was started with.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConfigurationView {
    pub path: String,
    /// When it was last read.
    pub read_at: String,
    /// Why what was read last was refused, or could not be applied; the one before it stays.
    pub error: Option<String>,
    /// Settings of the server that it wants otherwise than they are, which takes a restart.
    pub needs_restart: Vec<String>,
}

impl Standing {
    /// A process that begins now.
    pub fn new(started_at: Timestamp, safe_mode: Option<String>) -> Standing {
        Standing { started_at, safe_mode, configuration: Mutex::new(None) }
    }

    /// Notes what came of reading the configuration.
    pub fn note_configuration(&self, view: ConfigurationView) {
        *self.configuration.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
    }

    /// What came of reading it, if there is one.
    pub fn configuration(&self) -> Option<ConfigurationView> {
        self.configuration.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

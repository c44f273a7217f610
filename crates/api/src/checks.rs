//! What is wrong with a document before it is sent: the very checks of the routes, without a store.
//! What only the store knows, as whether an agent of this name exists, is not asked.

use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::PartialSchema;
use utoipa::openapi::{RefOr, Schema};
use wakeful_domain::id::IdSource;
use wakeful_domain::schedule::Zone;
use wakeful_domain::time::Timestamp;

use crate::Problem;
use crate::body::parse;
use crate::errors::FieldError;
use crate::routes::{agents, channels, companies, schedules};
use crate::wire::{NewAgent, NewChannel, NewCompany, NewSchedule};

/// What can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Made {
    Company,
    Agent,
    Channel,
    Schedule,
}

impl Made {
    /// The schema of the request that makes one, as in OpenAPI.
    pub fn schema(self) -> RefOr<Schema> {
        match self {
            Made::Company => NewCompany::schema(),
            Made::Agent => NewAgent::schema(),
            Made::Channel => NewChannel::schema(),
            Made::Schedule => NewSchedule::schema(),
        }
    }

    /// The fields of that request.
    pub fn fields(self) -> Vec<String> {
        match self.schema() {
            RefOr::T(Schema::Object(object)) => object.properties.into_keys().collect(),
            // These are structures, all of them.
            RefOr::T(_) | RefOr::Ref(_) => Vec::new(),
        }
    }

    /// What its route would say about this request, field by field; `zone` is the company's.
    pub fn mistakes(self, request: &Value, zone: &Zone, now: Timestamp) -> Vec<FieldError> {
        // Ids that nothing is made under.
        let mut ids = IdSource::new(0);
        let checked = match self {
            Made::Company => read(request).and_then(|new| companies::drafted(new, ids.next(now), now).map(drop)),
            Made::Agent => {
                read(request).and_then(|new| agents::drafted(new, ids.next(now), ids.next(now), now).map(drop))
            }
            Made::Channel => {
                read(request).and_then(|new| channels::drafted(new, ids.next(now), ids.next(now), now).map(drop))
            }
            Made::Schedule => {
                read(request).and_then(|new| schedules::drafted(new, ids.next(now), ids.next(now), zone, now).map(drop))
            }
        };
        checked.err().map(|problem| problem.errors().to_vec()).unwrap_or_default()
    }
}

fn read<T: DeserializeOwned>(request: &Value) -> Result<T, Problem> {
    parse(request.to_string().as_bytes())
}

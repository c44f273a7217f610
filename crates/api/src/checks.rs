//! What is wrong with a document before it is sent: the very checks of the routes, without a store.
//! What only the store knows, as whether an agent of this name exists, is not asked.

use serde::de::DeserializeOwned;
use serde_json::Value;
use wakeful_domain::id::IdSource;
use wakeful_domain::schedule::Zone;
use wakeful_domain::time::Timestamp;

use crate::Problem;
use crate::body::parse;
use crate::errors::FieldError;
use crate::openapi::document;
use crate::routes::{agents, channels, companies, schedules};

/// What can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Made {
    Company,
    Agent,
    Channel,
    Schedule,
}

impl Made {
    /// The fields of the request that makes one.
    pub fn fields(self) -> Vec<String> {
        let name = match self {
            Made::Company => "NewCompany",
            Made::Agent => "NewAgent",
            Made::Channel => "NewChannel",
            Made::Schedule => "NewSchedule",
        };
        let document = serde_json::to_value(document()).unwrap_or_default();
        let fields = document.pointer(&format!("/components/schemas/{name}/properties")).and_then(Value::as_object);
        fields.map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
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

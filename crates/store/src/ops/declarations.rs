//! What a configuration has made, and as what.

use serde_json::Value as Json;
use wakeful_domain::id::CompanyId;
use wakeful_domain::time::Timestamp;

use crate::value::json;
use crate::{Refusal, Row, Tx};

/// Something that a configuration has made.
#[derive(Debug, Clone, PartialEq)]
pub struct Declaration {
    pub kind: String,
    /// Unique in its company and kind.
    pub name: String,
    /// What the configuration calls itself.
    pub configuration: String,
    /// The id of what was made.
    pub object: String,
    /// As it was declared when it was last applied.
    pub spec: Json,
}

const PUT: &str = "
    insert into declarations (company_id, kind, name, configuration, object_id, spec, at)
    values ($1, $2, $3, $4, $5, $6, $7)
    on conflict (company_id, kind, name) do update
    set configuration = excluded.configuration,
      object_id = excluded.object_id,
      spec = excluded.spec,
      at = excluded.at";

/// Notes what was made.
pub async fn put(tx: &mut Tx, now: Timestamp, company: CompanyId, declared: &Declaration) -> Result<(), Refusal> {
    let parameters = [
        company.into(),
        (&declared.kind).into(),
        (&declared.name).into(),
        (&declared.configuration).into(),
        (&declared.object).into(),
        json(&declared.spec),
        now.into(),
    ];
    tx.execute(PUT, &parameters).await?;
    Ok(())
}

const FORGET: &str = "
    delete from declarations
    where company_id = $1
      and kind = $2
      and name = $3";

/// Forgets that something was made; what was made stays.
pub async fn forget(tx: &mut Tx, company: CompanyId, kind: &str, name: &str) -> Result<(), Refusal> {
    tx.execute(FORGET, &[company.into(), kind.into(), name.into()]).await?;
    Ok(())
}

const LIST: &str = "
    select kind, name, configuration, object_id, spec
    from declarations
    where company_id = $1
    order by kind, name";

/// All that was made in a company.
pub async fn list(tx: &mut Tx, company: CompanyId) -> Result<Vec<Declaration>, Refusal> {
    let read = |mut row: Row| {
        Ok(Declaration {
            kind: row.get()?,
            name: row.get()?,
            configuration: row.get()?,
            object: row.get()?,
            spec: row.json()?,
        })
    };
    tx.query(LIST, &[company.into()]).await?.into_iter().map(read).collect()
}

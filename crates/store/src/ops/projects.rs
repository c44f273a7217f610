//! Projects: made, read, changed. Their directories and clones are the engine's.

use wakeful_domain::id::{CompanyId, ProjectId};
use wakeful_domain::project::{Project, ProjectWorkspace};
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::value::json;
use crate::{Error, Refusal, Row, Tx};

const COLUMNS: &str = "id, company_id, name, workspaces, created_at, updated_at";

fn read(mut row: Row) -> Result<Project, Error> {
    Ok(Project {
        id: row.get()?,
        company: row.get()?,
        name: row.get()?,
        workspaces: row.json()?,
        created_at: row.get()?,
        updated_at: row.get()?,
    })
}

const INSERT: &str = "
    insert into projects (id, company_id, name, workspaces, created_at, updated_at)
    values ($1, $2, $3, $4, $5, $5)";

/// Makes a project.
pub async fn insert(tx: &mut Tx, project: &Project) -> Result<(), Refusal> {
    let parameters = [
        project.id.into(),
        project.company.into(),
        (&project.name).into(),
        json(&project.workspaces),
        project.created_at.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    Ok(())
}

/// The project with this id, if there is one.
pub async fn find(tx: &mut Tx, id: ProjectId) -> Result<Option<Project>, Error> {
    let sql = format!("select {COLUMNS} from projects where id = $1");
    tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()
}

/// The project with this id.
pub async fn get(tx: &mut Tx, id: ProjectId) -> Result<Project, Refusal> {
    find(tx, id).await?.ok_or_else(|| Refusal::not_found(id))
}

/// A page of a company's projects, newest first.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Project>, Refusal> {
    let list = List::of(COLUMNS, "projects").and("company_id = $", company);
    Ok(list.page(tx, cursor, limit, read, |project| project.id.to_string()).await?)
}

/// Changes to a project; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct ProjectChange {
    pub name: Option<String>,
    pub workspaces: Option<Vec<ProjectWorkspace>>,
}

const LOCK: &str = "select id from projects where id = $1 {for_update}";
const UPDATE: &str = "
    update projects
    set name = $2,
      workspaces = $3,
      updated_at = $4
    where id = $1";

/// Changes a project. Runs that are live stay where they are.
pub async fn change(tx: &mut Tx, now: Timestamp, id: ProjectId, change: &ProjectChange) -> Result<Project, Refusal> {
    tx.lock(LOCK, &[id.into()]).await?;
    let old = get(tx, id).await?;
    let parameters = [
        id.into(),
        change.name.as_ref().unwrap_or(&old.name).into(),
        json(change.workspaces.as_ref().unwrap_or(&old.workspaces)),
        now.into(),
    ];
    tx.execute(UPDATE, &parameters).await?;
    get(tx, id).await
}

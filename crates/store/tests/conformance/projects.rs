//! Projects are kept as they were given, in order, and each company sees its own.

use wakeful_domain::project::{Project, ProjectWorkspace};
use wakeful_store::ops::projects::{self, ProjectChange};

use crate::world::{World, on_both};

impl World {
    pub fn draft_project(&self, name: &str) -> Project {
        let workspaces = vec![
            ProjectWorkspace { cwd: Some("/srv/a".into()), ..Default::default() },
            ProjectWorkspace { repo_url: Some("/srv/b".into()), repo_ref: Some("main".into()), cwd: None },
        ];
        let (created_at, updated_at) = (self.now(), self.now());
        Project { id: self.id(), company: self.company, name: name.into(), workspaces, created_at, updated_at }
    }

    pub async fn insert_project(&self, project: Project) {
        self.db.write("project", project, |tx, project| Box::pin(projects::insert(tx, project))).await.unwrap();
    }
}

#[test]
fn a_project_is_kept_changed_and_listed() {
    on_both(async |world| {
        let project = world.draft_project("app");
        world.insert_project(project.clone()).await;
        let elsewhere = world.company("elsewhere", 5).await;
        world.insert_project(Project { company: elsewhere, ..world.draft_project("other") }).await;
        let get = || world.db.read("get", project.id, |tx, id| Box::pin(projects::get(tx, *id)));
        assert_eq!(get().await.unwrap(), project);
        let change = ProjectChange { name: Some("site".into()), workspaces: None };
        let arguments = (world.now(), project.id, change);
        let write = world
            .db
            .write("change", arguments, |tx, (now, id, change)| Box::pin(projects::change(tx, *now, *id, change)));
        assert_eq!(write.await.unwrap(), Project { name: "site".into(), ..project.clone() });
        let list = world.db.read("list", world.company, |tx, id| Box::pin(projects::list(tx, *id, None, 10)));
        assert_eq!(list.await.unwrap().items.len(), 1);
    });
}

#[test]
fn a_claim_brings_the_project_of_its_task() {
    on_both(async |world| {
        let project = world.draft_project("app");
        world.insert_project(project.clone()).await;
        let agent = world.agent("a").await;
        let mut task = world.draft_task("t");
        task.project = Some(project.id);
        let task = world.insert_task(task).await;
        world.wake_about(agent, task).await;
        let claimed = world.claim().await;
        assert_eq!((claimed.project, claimed.worktree), (Some(project), None));
    });
}

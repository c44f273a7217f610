//! Projects and goals over HTTP and on the command line: made once, changed, refused with the field named.

use serde_json::{Value, json};

use crate::support::{Server, answer, id};

/// The field that an answer of 422 names.
#[track_caller]
fn refused((status, problem): (u16, Value)) -> String {
    assert_eq!(status, 422, "{problem}");
    problem["errors"][0]["field"].as_str().unwrap_or_default().to_owned()
}

async fn other_company(server: &Server) {
    let (status, _) = server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    assert_eq!(status, 201);
}

#[tokio::test]
async fn a_project_is_made_shown_changed_and_listed() {
    let server = Server::start().await;
    let workspaces = json!([{ "cwd": "/srv/app" }, { "repo_url": "https://example.com/app.git", "repo_ref": "main" }]);
    let (status, made) =
        server.post("/companies/default/projects", &json!({ "name": "app", "workspaces": workspaces })).await;
    assert_eq!((status, &made["workspaces"]), (201, &workspaces), "{made}");
    let project = id(&made);
    assert!(project.starts_with("prj_"), "{project}");
    assert_eq!(server.show(&format!("/projects/{project}")).await, made);
    let path = format!("/projects/{project}");
    let (_, renamed) = server.patch(&path, &json!({ "name": "site" })).await;
    assert_eq!((&renamed["name"], &renamed["workspaces"]), (&json!("site"), &workspaces));
    let (_, emptied) = server.patch(&path, &json!({ "workspaces": [] })).await;
    assert_eq!((&emptied["name"], &emptied["workspaces"]), (&json!("site"), &json!([])));
    assert_eq!(server.all("/companies/default/projects").await, [emptied]);
}

#[tokio::test]
async fn what_is_wrong_with_a_project_is_named_by_its_field() {
    let server = Server::start().await;
    let (_, made) = server.post("/companies/default/projects", &json!({ "name": "app" })).await;
    let path = format!("/projects/{}", id(&made));
    for (workspaces, field) in [
        (json!([{ "cwd": "relative/path" }]), "workspaces[0].cwd"),
        (json!([{ "cwd": "/srv" }, {}]), "workspaces[1]"),
        (json!([{ "repo_url": "--upload-pack=touch x" }]), "workspaces[0].repo_url"),
        (json!([{ "repo_url": "https://ann:secret@example.com/a" }]), "workspaces[0].repo_url"),
        (json!([{ "repo_url": "/srv/a", "repo_ref": "-f" }]), "workspaces[0].repo_ref"),
        (json!([{ "cwd": "/srv", "branch": "main" }]), "workspaces[0].branch"),
        (json!(vec![json!({ "cwd": "/srv" }); 21]), "workspaces"),
    ] {
        let body = json!({ "name": "app", "workspaces": workspaces });
        assert_eq!(refused(server.post("/companies/default/projects", &body).await), field, "{workspaces}");
        let body = json!({ "workspaces": workspaces });
        assert_eq!(refused(server.patch(&path, &body).await), field, "{workspaces}");
    }
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": " " }), "name"),
        (json!({ "name": "x".repeat(201) }), "name"),
        (json!({ "name": "app", "cwd": "/srv" }), "cwd"),
    ] {
        assert_eq!(refused(server.post("/companies/default/projects", &body).await), field, "{body}");
    }
    assert_eq!(server.all("/companies/default/projects").await.len(), 1);
}

#[tokio::test]
async fn goals_form_a_tree_of_one_company() {
    let server = Server::start().await;
    let goal = async |title: &str, parent: Option<&str>| {
        let body = json!({ "title": title, "parent": parent, "description": "why" });
        let (status, goal) = server.post("/companies/default/goals", &body).await;
        assert_eq!(status, 201, "{goal}");
        id(&goal)
    };
    let top = goal("grow", None).await;
    let below = goal("ship", Some(&top)).await;
    let shown = server.show(&format!("/goals/{below}")).await;
    assert_eq!((&shown["parent"], &shown["description"]), (&json!(top), &json!("why")));
    let cycle = server.patch(&format!("/goals/{top}"), &json!({ "parent": below })).await;
    assert!(cycle.1["detail"].as_str().unwrap().contains("its own ancestor"), "{}", cycle.1);
    assert_eq!(refused(cycle), "parent");
    assert_eq!(refused(server.patch(&format!("/goals/{top}"), &json!({ "parent": top })).await), "parent");
    for (body, field) in [
        (json!({ "title": "" }), "title"),
        (json!({ "title": "x", "parent": "nonsense" }), "parent"),
        (json!({ "title": "x", "parent": "goal_00000000000000000000000000" }), "parent"),
        (json!({ "title": "x", "owner": "ann" }), "owner"),
    ] {
        assert_eq!(refused(server.post("/companies/default/goals", &body).await), field, "{body}");
    }
    other_company(&server).await;
    let foreign = server.post("/companies/other/goals", &json!({ "title": "x", "parent": top })).await;
    assert_eq!(refused(foreign), "parent", "a parent of another company");
    let (_, freed) = server.patch(&format!("/goals/{below}"), &json!({ "parent": null, "title": "sell" })).await;
    assert_eq!(
        (&freed["parent"], &freed["title"], &freed["description"]),
        (&json!(null), &json!("sell"), &json!("why"))
    );
    assert_eq!(server.all("/companies/default/goals").await.len(), 2);
    assert_eq!(server.all(&format!("/companies/default/goals?parent={top}")).await.len(), 0);
}

#[tokio::test]
async fn one_key_makes_one_project_and_one_goal() {
    let server = Server::start().await;
    for (path, first, second) in [
        ("/companies/default/projects", json!({ "name": "app" }), json!({ "name": "other" })),
        ("/companies/default/goals", json!({ "title": "grow" }), json!({ "title": "other" })),
    ] {
        let send = async |key: &str, body: &Value| {
            answer(server.request(reqwest::Method::POST, path).header("idempotency-key", key).json(body)).await
        };
        let (made, again) = (send(path, &first).await, send(path, &first).await);
        assert_eq!(made, again);
        assert_eq!(refused(send(path, &second).await), "Idempotency-Key");
        assert_eq!(server.all(path).await.len(), 1);
    }
}

#[tokio::test]
async fn what_a_task_lays_over_its_assignees_adapter_is_checked_with_it() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let body = |config: Value| json!({ "title": "t", "assignee": agent, "status": "backlog", "adapter_overrides": { "config": config } });
    for (config, field) in [
        (json!({ "type": "claude" }), "adapter_overrides.config.type"),
        (json!({ "account": "other" }), "adapter_overrides.config.account"),
        (json!({ "model": "large" }), "adapter_overrides.config.model"),
        (json!({ "command": 7 }), "adapter_overrides.config.command"),
        (json!("x"), "adapter_overrides.config"),
    ] {
        assert_eq!(refused(server.post("/companies/default/tasks", &body(config.clone())).await), field, "{config}");
    }
    let (status, task) = server.post("/companies/default/tasks", &body(json!({ "env": { "A": "1" } }))).await;
    assert_eq!(status, 201, "{task}");
    let path = format!("/tasks/{}", id(&task));
    let wrong = json!({ "adapter_overrides": { "config": { "model": "x" } } });
    assert_eq!(refused(server.patch(&path, &wrong).await), "adapter_overrides.config.model");
    let (status, _) = server.patch(&path, &json!({ "adapter_overrides": null })).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn the_command_line_adds_lists_and_shows_them() {
    let server = Server::start().await;
    let made = server
        .cli(&[
            "--json",
            "project",
            "add",
            "app",
            "--repo",
            "/srv/app.git",
            "--ref",
            "main",
            "--workspace",
            r#"{"cwd":"/srv"}"#,
        ])
        .await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let project: Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!(project["workspaces"], json!([{ "repo_url": "/srv/app.git", "repo_ref": "main" }, { "cwd": "/srv" }]));
    assert!(server.cli(&["project", "ls"]).await.stdout.contains("/srv/app.git at main"));
    let shown = server.cli(&["project", "show", &id(&project)]).await;
    assert!(shown.stdout.contains("app") && shown.stdout.lines().count() == 3, "{}", shown.stdout);
    assert_eq!(server.cli(&["project", "add", "app", "--ref", "main"]).await.code, 2);

    let top: Value = serde_json::from_str(&server.cli(&["--json", "goal", "add", "grow"]).await.stdout).unwrap();
    let below = server.cli(&["goal", "add", "ship", "--parent", &id(&top), "--description", "soon"]).await;
    assert_eq!(below.code, 0, "{}", below.stderr);
    let listed = server.cli(&["goal", "ls"]).await.stdout;
    assert!(listed.lines().nth(2).unwrap().ends_with("  ship"), "{listed}");
    assert!(server.cli(&["goal", "show", &id(&top)]).await.stdout.contains("grow"));
    assert_eq!(server.cli(&["goal", "show", "goal_00000000000000000000000000"]).await.code, 3);
    let none = server.cli(&["worktree", "ls"]).await;
    assert!(none.code == 0 && none.stdout.contains("no worktrees"), "{}", none.stdout);
}

//! Where runs work: the project's directory, a clone of its repository, or what the task says against it; and
//! what a task lays over its assignee's adapter.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Server, id};

/// Makes a project of these workspaces; gives its id.
pub async fn project(server: &Server, workspaces: Value) -> String {
    let (status, project) =
        server.post("/companies/default/projects", &json!({ "name": "app", "workspaces": workspaces })).await;
    assert_eq!(status, 201, "{project}");
    id(&project)
}

/// Makes a task that wakes nobody; gives its id.
pub async fn task(server: &Server, more: Value) -> String {
    let mut body = json!({ "title": "t", "status": "backlog" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, task) = server.post("/companies/default/tasks", &body).await;
    assert_eq!(status, 201, "{task}");
    id(&task)
}

/// Runs a script in a directory, as a person with a git identity would.
pub async fn sh(server: &Server, dir: &Path, script: &str) -> String {
    let mut command = std::process::Command::new("/bin/sh");
    crate::support::clean(&mut command, server.outside()).args(["-ec", script]).current_dir(dir).envs(AUTHOR);
    let printed = crate::support::printed(command).await;
    assert_eq!(printed.code, 0, "{script}: {}", printed.stderr);
    printed.stdout.trim().to_owned()
}

/// Who commits.
pub const AUTHOR: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "Ann"),
    ("GIT_AUTHOR_EMAIL", "ann@example.com"),
    ("GIT_COMMITTER_NAME", "Ann"),
    ("GIT_COMMITTER_EMAIL", "ann@example.com"),
];

/// A repository beside the data directory with one commit on `main`; gives its path.
pub async fn repository(server: &Server) -> String {
    let script =
        "git init -q -b main app && cd app && mkdir sub && echo one > sub/file && git add -A && git commit -qm one";
    sh(server, server.outside(), script).await;
    std::fs::canonicalize(server.outside().join("app")).unwrap().to_str().unwrap().to_owned()
}

/// The context that a run was started with.
pub fn context(server: &Server, run: &Value) -> Value {
    serde_json::from_str(&std::fs::read_to_string(server.run_dir(&id(run)).join("context.json")).unwrap()).unwrap()
}

#[tokio::test]
async fn a_run_works_in_the_first_directory_of_its_tasks_project_that_exists() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "pwd -P").await;
    let dir = repository(&server).await;
    let gone = format!("{dir}-that-is-gone");
    let project_id = project(&server, json!([{ "cwd": gone }, { "cwd": dir }, { "cwd": "/" }])).await;
    let goal = id(&server.post("/companies/default/goals", &json!({ "title": "grow" })).await.1);
    let task_id = task(&server, json!({ "project": project_id, "goal": goal })).await;
    let run = server.run_of(&agent, json!({ "task": task_id })).await;
    assert_eq!((&run["workspace"]["source"], &run["workspace"]["cwd"]), (&json!("project"), &json!(dir)), "{run:#}");
    assert!(run["workspace"]["reason"].as_str().unwrap().contains("project app"), "{run:#}");
    assert_eq!(server.stdout(&id(&run)).await.trim(), dir);
    let told = context(&server, &run);
    assert_eq!((&told["workspace"], &told["project"]["id"]), (&run["workspace"], &json!(project_id)));
    assert_eq!(told["goals"][0]["title"], "grow");
    let shown = server.cli(&["run", "show", &id(&run)]).await.stdout;
    assert!(shown.contains("the first directory of project app that exists"), "{shown}");

    let elsewhere = server.run_of(&agent, json!({})).await;
    assert_eq!(elsewhere["workspace"]["source"], "agent_home", "without the task its project does not count");
    server.patch(&format!("/projects/{project_id}"), &json!({ "workspaces": [{ "cwd": gone }] })).await;
    server
        .patch(
            &format!("/agents/{agent}"),
            &json!({ "adapter": { "type": "process", "command": "pwd -P", "cwd": "/" } }),
        )
        .await;
    let passed_over = server.run_of(&agent, json!({ "task": task_id })).await;
    assert_eq!(passed_over["workspace"]["source"], "adapter", "{passed_over:#}");
    let reason = passed_over["workspace"]["reason"].as_str().unwrap();
    assert!(reason.ends_with("no directory of project app exists"), "{reason}");
    server.assert_sound().await;
}

#[tokio::test]
async fn overrides_of_a_task_count_in_its_assignees_runs_alone() {
    let server = Server::start().await;
    let script = "echo $MODE; pwd -P";
    let (ann, ben) = (server.process_agent("ann", script).await, server.process_agent("ben", script).await);
    let dir = repository(&server).await;
    let project = project(&server, json!([{ "cwd": dir }])).await;
    let overrides = json!({ "use_project_workspace": false, "config": { "env": { "MODE": "careful" } } });
    let task = task(&server, json!({ "project": project, "assignee": ann, "adapter_overrides": overrides })).await;
    let of_ann = server.run_of(&ann, json!({ "task": task })).await;
    assert_eq!(of_ann["workspace"]["source"], "agent_home", "{of_ann:#}");
    assert!(of_ann["workspace"]["reason"].as_str().unwrap().contains("the task says not to"), "{of_ann:#}");
    assert!(server.stdout(&id(&of_ann)).await.starts_with("careful\n"));
    let of_ben = server.run_of(&ben, json!({ "task": task })).await;
    assert_eq!(server.stdout(&id(&of_ben)).await, format!("\n{dir}\n"));
    let own = server.run_of(&ann, json!({})).await;
    assert!(server.stdout(&id(&own)).await.starts_with('\n'), "nor in her runs without the task");
}

#[tokio::test]
async fn a_repository_is_cloned_on_first_use_and_what_cannot_be_cloned_is_told() {
    let server = Server::start().await;
    let agent = server
        .process_agent_with("ann", "cat sub/file; echo mine >> sub/file", json!({ "retry": { "delays_s": [600] } }))
        .await;
    let url = repository(&server).await;
    let project_id = project(&server, json!([{ "repo_url": url, "repo_ref": "main" }])).await;
    let task_id = task(&server, json!({ "project": project_id })).await;
    let first = server.run_of(&agent, json!({ "task": task_id })).await;
    let clone = server.path().join("projects").join(&project_id).join("1");
    assert_eq!(first["workspace"]["cwd"], clone.to_str().unwrap(), "{first:#}");
    let second = server.run_of(&agent, json!({ "task": task_id })).await;
    assert_eq!(server.stdout(&id(&second)).await, "one\nmine\n", "the same clone, with what was done in it");

    let nowhere = format!("{url}-nowhere");
    server.patch(&format!("/projects/{project_id}"), &json!({ "workspaces": [{ "repo_url": nowhere }] })).await;
    let wakeup = server.wake(&agent, json!({ "task": task_id })).await;
    let failed = server.finished(&id(&server.running(&wakeup).await)).await;
    assert_eq!(failed["error_code"], "workspace_failed", "{failed:#}");
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains(&nowhere) && error.contains("does not exist"), "{error}");
    let waiting = server.show(&format!("/wakeups/{wakeup}")).await;
    assert_eq!(
        (&waiting["status"], &waiting["attempt"]),
        (&json!("pending"), &json!(1)),
        "it may go away: {waiting:#}"
    );
    let why = server.show(&format!("/runs/{}/why", id(&failed))).await;
    assert!(why["next"].as_str().unwrap().contains("correct the project"), "{why:#}");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_clone() {
    let server = Server::start().await;
    // Reached by an ssh that never answers.
    std::fs::write(server.outside().join(".gitconfig"), "[core]\nsshCommand = sh -c 'sleep 600'\n").unwrap();
    let agent = server.process_agent("ann", "true").await;
    let project = project(&server, json!([{ "repo_url": "ssh://example.com/app.git" }])).await;
    let task = task(&server, json!({ "project": project })).await;
    let wakeup = server.wake(&agent, json!({ "task": task })).await;
    let live = format!("/companies/default/runs?agent={agent}");
    let run = id(&server.until(&live, |runs| runs["items"][0]["status"] == "starting").await["items"][0]);
    // The shim that is kept ready for the next run is none of git's.
    let asks = || server.left_over().into_iter().any(|pid| line_of(pid).starts_with("sleep"));
    server.until("/me", |_| asks()).await;
    let (status, _) = server.post(&format!("/runs/{run}/cancel"), &json!({ "reason": "enough" })).await;
    assert_eq!(status, 202);
    let ended = server.finished(&run).await;
    assert_eq!((&ended["status"], &ended["error"]), (&json!("cancelled"), &json!("enough")), "{ended:#}");
    assert_eq!(server.settled(&wakeup).await["status"], "cancelled");
    server.until("/me", |_| !asks()).await;
    server.assert_sound().await;
}

fn line_of(pid: u32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).into_owned()
}

//! A git worktree for each lane of a task that asks for it: apart from others, used again, removed when nothing
//! would be lost, kept and listed otherwise.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Server, id};
use crate::workspaces::{AUTHOR, context, project, repository, sh, task};

/// Leaves a file and a commit of its own, and tells where and on which branch.
const WORK: &str = r#"echo "$WAKEFUL_AGENT_NAME" >> "by-$WAKEFUL_AGENT_NAME" && git add -A && git commit -qm work &&
    pwd -P && git branch --show-current && ls"#;

async fn worker(server: &Server, name: &str, script: &str) -> String {
    let env: Value =
        AUTHOR.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>().into();
    let adapter = json!({ "type": "process", "command": script, "env": env });
    server.process_agent_with(name, script, json!({ "adapter": adapter })).await
}

/// A task on a project at `dir` that asks for worktrees.
async fn task_at(server: &Server, dir: &str) -> String {
    let project = project(server, json!([{ "cwd": dir }])).await;
    task(server, json!({ "project": project, "workspace": { "worktree": true } })).await
}

async fn worked(server: &Server, agent: &str, task: &str) -> Value {
    let run = server.run_of(agent, json!({ "task": task })).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    run
}

async fn close(server: &Server, task: &str) {
    let (status, closed) = server.patch(&format!("/tasks/{task}"), &json!({ "status": "done" })).await;
    assert_eq!(status, 200, "{closed}");
}

#[tokio::test]
async fn two_agents_on_one_task_work_apart_and_what_is_merged_is_removed() {
    let server = Server::start().await;
    let (ann, ben) = (worker(&server, "ann", WORK).await, worker(&server, "ben", WORK).await);
    let dir = repository(&server).await;
    let task = task_at(&server, &dir).await;
    let (of_ann, of_ben) = tokio::join!(worked(&server, &ann, &task), worked(&server, &ben, &task));
    let mut branches = Vec::new();
    for (agent, run, name) in [(&ann, &of_ann, "ann"), (&ben, &of_ben, "ben")] {
        let path = server.path().join("worktrees").join(agent).join(&task);
        let used = &run["workspace"]["worktree"];
        let branch = used["branch"].as_str().unwrap();
        assert!(branch.starts_with("wakeful/T-1-"), "{branch}");
        assert_eq!((&used["path"], &used["base"]["branch"]), (&json!(path), &json!("main")), "{run:#}");
        assert_eq!(context(&server, run)["workspace"]["worktree"], *used);
        let real = std::fs::canonicalize(&path).unwrap();
        let told = server.stdout(&id(run)).await;
        assert_eq!(told, format!("{}\n{branch}\nby-{name}\nsub\n", real.display()), "alone in its own");
        branches.push(branch.to_owned());
    }
    assert_ne!(branches[0], branches[1]);
    assert_eq!(sh(&server, Path::new(&dir), "git branch --show-current; git status --porcelain").await, "main");

    let again = worked(&server, &ann, &task).await;
    assert_eq!(again["workspace"]["worktree"], of_ann["workspace"]["worktree"], "the lane keeps its worktree");
    assert_eq!(server.all("/companies/default/worktrees?state=active").await.len(), 2);
    let merge = format!("git merge -q {} && git merge -q -m both {}", branches[0], branches[1]);
    sh(&server, Path::new(&dir), &merge).await;
    close(&server, &task).await;
    server.until("/companies/default/worktrees", |listed| listed["items"] == json!([])).await;
    assert!(!server.path().join("worktrees").join(&ann).join(&task).exists());
    assert_eq!(
        sh(&server, Path::new(&dir), "git branch --list 'wakeful/*'; git worktree list | wc -l; ls").await,
        "1\nby-ann\nby-ben\nsub"
    );
    assert_eq!(server.all("/companies/default/worktrees?state=removed").await.len(), 2);

    server.patch(&format!("/tasks/{task}"), &json!({ "status": "todo" })).await;
    let reopened = worked(&server, &ann, &task).await;
    assert!(reopened["workspace"]["worktree"]["path"].is_string(), "made again: {reopened:#}");
    server.assert_sound().await;
}

#[tokio::test]
async fn what_would_be_lost_is_kept_and_listed_with_what_to_do() {
    let server = Server::start().await;
    let dirty = worker(&server, "dirty", "echo x > a; echo y > b; echo z >> file").await;
    let ahead = worker(&server, "ahead", &format!("{WORK} && {WORK}")).await;
    let dir = repository(&server).await;
    let task = task_at(&server, &format!("{dir}/sub")).await;
    for agent in [&dirty, &ahead] {
        let run = worked(&server, agent, &task).await;
        assert!(run["workspace"]["cwd"].as_str().unwrap().ends_with("/sub"), "the same place in it: {run:#}");
    }
    close(&server, &task).await;
    let path = "/companies/default/worktrees?state=kept";
    let kept = server.until(path, |listed| listed["items"].as_array().is_some_and(|kept| kept.len() == 2)).await;
    let of = |agent: &str| kept["items"].as_array().unwrap().iter().find(|row| row["agent"] == agent).unwrap().clone();
    assert_eq!(of(&dirty)["state_reason"], "3 uncommitted files");
    assert_eq!(of(&ahead)["state_reason"], "2 commits not merged or pushed");
    for agent in [&dirty, &ahead] {
        assert!(Path::new(of(agent)["path"].as_str().unwrap()).join("sub/file").exists());
        assert!(of(agent)["advice"].as_str().unwrap().contains("git -C"), "{:#}", of(agent));
    }
    let listed = server.cli(&["worktree", "ls", "--state", "kept"]).await;
    assert!(
        listed.stdout.contains("3 uncommitted files") && listed.stdout.contains("worktree remove"),
        "{}",
        listed.stdout
    );
    let events = server.all("/companies/default/events").await;
    assert_eq!(events.iter().filter(|event| event["type"] == "worktree.updated").count(), 2);
    server.assert_sound().await;
}

#[tokio::test]
async fn a_worktree_is_not_removed_while_its_run_is_live() {
    let server = Server::start().await;
    let agent = worker(&server, "ann", "until test -e ../go-$WAKEFUL_TASK; do sleep 0.02; done").await;
    let dir = repository(&server).await;
    let task = task_at(&server, &dir).await;
    let run = server.running(&server.wake(&agent, json!({ "task": task })).await).await;
    close(&server, &task).await;
    let path = server.path().join("worktrees").join(&agent);
    // Another closed task's worktree goes meanwhile: the tick has looked.
    let quick = worker(&server, "ben", "true").await;
    let other = task_at(&server, &dir).await;
    worked(&server, &quick, &other).await;
    close(&server, &other).await;
    server
        .until("/companies/default/worktrees?state=removed", |listed| listed["items"][0]["task"] == json!(other))
        .await;
    assert!(path.join(&task).join("sub").exists());
    std::fs::write(path.join(format!("go-{task}")), "").unwrap();
    server.finished(&id(&run)).await;
    server.until("/companies/default/worktrees", |listed| listed["items"] == json!([])).await;
    assert!(!path.join(&task).exists());
}

#[tokio::test]
async fn where_no_worktree_can_be_made_the_run_says_why_and_what_to_do() {
    let server = Server::start().await;
    let agent = worker(&server, "ann", "true").await;
    let task = task(&server, json!({ "workspace": { "worktree": true } })).await;
    let wakeup = server.wake(&agent, json!({ "task": task })).await;
    let run = server.finished(&id(&server.running(&wakeup).await)).await;
    assert_eq!(run["error_code"], "not_a_repository", "{run:#}");
    assert!(run["error"].as_str().unwrap().contains("lies in no git repository"), "{run:#}");
    assert_eq!(server.settled(&wakeup).await["status"], "failed", "trying again would not help");
    let why = server.show(&format!("/runs/{}/why", id(&run))).await;
    assert!(why["next"].as_str().unwrap().contains("name a git repository"), "{why:#}");
    server.assert_sound().await;
}

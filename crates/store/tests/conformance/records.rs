//! Companies, agents, tasks and wakeups as records: what may not be made, changed, cancelled or retried.

use futures_util::future::join_all;
use wakeful_domain::agent::{AgentEvent, AgentState, AgentStatus};
use wakeful_domain::id::{AgentId, WakeupId};
use wakeful_domain::outcome::Outcome;
use wakeful_domain::task::TaskStatus;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::Refusal;
use wakeful_store::ops::agents::AgentFilter;
use wakeful_store::ops::{agents, companies, request_keys, tasks, tokens, wakeups};

use crate::wishes::batch;
use crate::world::{World, conflict, draft_company, on_both, seconds};

#[test]
fn a_slug_is_taken_once() {
    on_both(async |world| {
        let make = || world.insert_company(draft_company(world.id(), "twice", 5));
        let made = join_all((0..6).map(|_| make())).await;
        assert_eq!(made.iter().filter(|answer| answer.is_ok()).count(), 1);
        assert_eq!(conflict(make().await), "slug_taken");
    });
}

#[test]
fn a_name_is_taken_once_in_a_company_until_its_agent_is_deleted() {
    on_both(async |world| {
        let made = join_all((0..6).map(|_| world.insert_agent(world.draft_agent("ann")))).await;
        let ann = made.into_iter().filter_map(Result::ok).collect::<Vec<_>>();
        assert_eq!(ann.len(), 1);
        assert_eq!(conflict(world.insert_agent(world.draft_agent("ann")).await), "name_taken");
        let ben = world.agent("ben").await;
        let rename = async |id: AgentId, name: &str| {
            let change = agents::AgentChange { name: Some(name.into()), ..Default::default() };
            let arguments = (world.now(), id, change);
            let write = world
                .db
                .write("change", arguments, |tx, (now, id, change)| Box::pin(agents::change(tx, *now, *id, change)));
            write.await
        };
        assert_eq!(conflict(rename(ben, "ann").await), "name_taken");
        assert_eq!(rename(ben, "ben").await.unwrap().name, "ben", "its own name is free for it");
        let other = world.company("other", 5).await;
        world.agent_with("ann", |agent| agent.company = other).await;
        world
            .db
            .write("delete", (world.now(), ann[0]), |tx, (now, id)| Box::pin(agents::delete(tx, *now, *id)))
            .await
            .unwrap();
        assert_eq!(conflict(rename(ann[0], "anna").await), "agent_terminated");
        rename(ben, "ann").await.unwrap();
    });
}

#[test]
fn a_terminated_agent_stays_so_and_what_waits_for_it_is_cancelled() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let waiting = [world.wake(agent).await, world.wake_about(agent, world.task("t").await).await];
        let later = world.wake_with(agent, |wake| wake.due_at = Some(world.now() + seconds(9))).await.id;
        world.agent_event(agent, AgentEvent::Terminate).await.unwrap();
        for id in [waiting[0], waiting[1], later] {
            let wakeup = world.wakeup(id).await;
            assert_eq!(
                (wakeup.status, wakeup.status_reason.as_deref()),
                (WakeupStatus::Cancelled, Some("agent_terminated"))
            );
        }
        for event in [AgentEvent::Pause, AgentEvent::Resume, AgentEvent::Approve] {
            assert_eq!(conflict(world.agent_event(agent, event).await), "agent_terminated");
        }
        let again = world.agent_event(agent, AgentEvent::Terminate).await.unwrap();
        assert_eq!(again.state, AgentState::Terminated);
        let draft = world.agent_with("b", |agent| agent.state = AgentState::PendingApproval).await;
        assert_eq!(conflict(world.agent_event(draft, AgentEvent::Resume).await), "agent_state");
        world.agent_event(draft, AgentEvent::Approve).await.unwrap();
    });
}

#[test]
fn a_deleted_agent_is_hidden_and_lets_its_open_tasks_go() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let assign = async |status| {
            let mut task = world.draft_task("t");
            (task.status, task.assignee) = (status, Some(agent));
            world.insert_task(task).await
        };
        let (open, done) = (assign(TaskStatus::InProgress).await, assign(TaskStatus::Done).await);
        let arguments = (world.now(), agent);
        world.db.write("delete", arguments, |tx, (now, id)| Box::pin(agents::delete(tx, *now, *id))).await.unwrap();
        assert_eq!(world.get_task(open).await.assignee, None);
        assert_eq!(world.get_task(done).await.assignee, Some(agent));
        assert_eq!(world.get_agent(agent).await.state, AgentState::Terminated, "its row stays readable");
        assert!(listed(world, AgentFilter::default()).await.is_empty());
    });
}

/// The names of the agents that a filter lists, newest first.
async fn listed(world: &World, filter: AgentFilter) -> Vec<String> {
    let list = world
        .db
        .read("list", (world.company, filter), |tx, (id, filter)| Box::pin(agents::list(tx, *id, filter, None, 10)));
    list.await.unwrap().items.into_iter().map(|agent| agent.name).collect()
}

#[test]
fn agents_are_found_by_text_and_by_how_they_stand() {
    on_both(async |world| {
        world.agent_with("Coder-1", |agent| agent.title = Some("writes 100% of it".into())).await;
        world.agent_with("waits", |agent| agent.state = AgentState::PendingApproval).await;
        let busy = world.agent("busy").await;
        world.wake(busy).await;
        world.claim().await;
        let text = |text: &str| AgentFilter { text: Some(text.into()), ..AgentFilter::default() };
        let status = |status| AgentFilter { status: Some(status), ..AgentFilter::default() };
        assert_eq!(listed(world, text("coder")).await, ["Coder-1"]);
        assert_eq!(listed(world, text("100%")).await, ["Coder-1"]);
        assert!(listed(world, text("co_er")).await.is_empty());
        assert_eq!(listed(world, status(AgentStatus::PendingApproval)).await, ["waits"]);
        assert_eq!(listed(world, status(AgentStatus::Running)).await, ["busy"]);
        assert_eq!(listed(world, status(AgentStatus::Idle)).await, ["Coder-1"]);
        for none in [AgentStatus::Parked, AgentStatus::Paused, AgentStatus::Terminated] {
            assert!(listed(world, status(none)).await.is_empty(), "{none:?}");
        }
        let both = AgentFilter { text: Some("x".into()), ..status(AgentStatus::Running) };
        assert!(listed(world, both).await.is_empty());
    });
}

#[test]
fn moving_to_another_account_leaves_the_limit_of_the_old_one_behind() {
    on_both(async |world| {
        let account = |name: &str| serde_json::json!({ "type": "claude", "account": name });
        let agent = world.agent_with("a", |agent| agent.adapter = account("one")).await;
        let other = world.agent_with("b", |agent| agent.adapter = account("two")).await;
        world.wake(agent).await;
        let until = world.now() + seconds(3_600);
        let limited = Outcome { retry_at: Some(until), ..Outcome::failed("usage_limit", "x") };
        world.finish(&world.claim().await.run, limited).await;
        let change = async |id, name| {
            let change = agents::AgentChange { adapter: Some(account(name)), ..Default::default() };
            let arguments = (world.now(), id, change);
            let write = world
                .db
                .write("change", arguments, |tx, (now, id, change)| Box::pin(agents::change(tx, *now, *id, change)));
            write.await.unwrap().quota_until
        };
        assert_eq!(change(agent, "one").await, Some(until), "the same account is still parked");
        assert_eq!(change(other, "one").await, Some(until));
        assert_eq!(change(agent, "three").await, None);
        assert_eq!(change(agent, "one").await, Some(until), "as long as someone knows of it");
    });
}

#[test]
fn what_is_not_there_is_not_found() {
    on_both(async |world| {
        let is_absent = |refusal: Option<Refusal>| assert!(matches!(refusal, Some(Refusal::NotFound { .. })));
        is_absent(world.accept(world.draft(world.id())).await.err());
        is_absent(world.cancel(world.id()).await.err());
        is_absent(world.retry(world.id()).await.err());
        is_absent(world.agent_event(world.id(), AgentEvent::Pause).await.err());
        let company = world.db.read("get", world.id(), |tx, id| Box::pin(companies::get(tx, *id))).await;
        is_absent(company.err());
        let task = world.db.read("get", world.id(), |tx, id| Box::pin(tasks::get(tx, *id))).await;
        is_absent(task.err());
    });
}

#[test]
fn a_task_is_changed_field_by_field() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let task = world.task("old").await;
        let change = async |change: tasks::TaskChange| world.change_task(task, change).await.unwrap();
        let described = change(tasks::TaskChange { description: Some(Some("d".into())), ..Default::default() }).await;
        assert_eq!((described.title.as_str(), described.description.as_deref()), ("old", Some("d")));
        let assigned = tasks::TaskChange {
            title: Some("new".into()),
            assignee: Some(Some(agent)),
            status: Some(TaskStatus::InReview),
            ..Default::default()
        };
        let assigned = change(assigned).await;
        assert_eq!((assigned.assignee, assigned.description.as_deref()), (Some(agent), Some("d")));
        let cleared = tasks::TaskChange { description: Some(None), assignee: Some(None), ..Default::default() };
        let cleared = change(cleared).await;
        assert_eq!((cleared.assignee, cleared.description), (None, None));
        assert_eq!((cleared.title.as_str(), cleared.status), ("new", TaskStatus::InReview));
    });
}

#[test]
fn only_pending_wakeups_are_cancelled() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let (claimed, pending) =
            (world.wake(agent).await, world.wake_with(agent, |w| w.due_at = Some(w.now + seconds(9))).await.id);
        let run = world.claim().await.run;
        assert_eq!(conflict(world.cancel(claimed).await), "wakeup_claimed");
        let cancelled = world.cancel(pending).await.unwrap();
        assert_eq!((cancelled.status, cancelled.finished_at), (WakeupStatus::Cancelled, Some(world.now())));
        assert_eq!(conflict(world.cancel(pending).await), "wakeup_terminal");
        world.succeed(&run).await;
        assert_eq!(conflict(world.cancel(claimed).await), "wakeup_terminal");
        assert_eq!((world.tick().await.next_at, world.claim_any().await.is_none()), (None, true));
    });
}

#[test]
fn a_dead_letter_comes_back_only_by_an_explicit_retry_with_all_its_attempts() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let expires_at = Some(world.now() + seconds(100));
        let dead = world.wake_with(agent, |wake| wake.expires_at = expires_at).await.id;
        assert_eq!(conflict(world.retry(dead).await), "wakeup_not_failed");
        let run = world.claim().await.run;
        assert_eq!(conflict(world.retry(dead).await), "wakeup_not_failed");
        world.fail(&run, "command_not_found").await;
        world.pass(seconds(1_000));
        let back = world.retry(dead).await.unwrap();
        assert_eq!((back.status, back.attempt, back.run), (WakeupStatus::Pending, 0, None));
        assert_eq!((back.due_at, back.expires_at, back.finished_at), (world.now(), None, None));
        assert_eq!(conflict(world.retry(dead).await), "wakeup_not_failed");
        let claimed = world.claim().await;
        assert_eq!((batch(&claimed), claimed.wakeups[0].attempt), (vec![dead], 1));
        world.succeed(&claimed.run).await;
        assert_eq!(conflict(world.retry(dead).await), "wakeup_not_failed");
        let runs = world.db.read("runs", dead, |tx, id| Box::pin(async move { Ok(wakeups::runs_of(tx, *id).await?) }));
        assert_eq!(runs.await.unwrap(), [run.id, claimed.run.id], "its history stays");
    });
}

#[test]
fn a_dead_letter_of_a_terminated_agent_stays_dead() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let dead: WakeupId = world.wake(agent).await;
        world.fail(&world.claim().await.run, "bad_config").await;
        world.agent_event(agent, AgentEvent::Terminate).await.unwrap();
        assert_eq!(conflict(world.retry(dead).await), "agent_terminated");
        assert_eq!(world.status(dead).await, WakeupStatus::Failed);
    });
}

#[test]
fn a_page_ends_where_the_next_begins() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let mut expected = Vec::new();
        for _ in 0..5 {
            expected.insert(0, world.wake(agent).await);
        }
        let mut seen = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let filter = wakeups::WakeupFilter { agent: Some(agent), ..Default::default() };
            let page = world
                .db
                .read("list", (filter, cursor), |tx, (filter, cursor)| {
                    Box::pin(wakeups::list(tx, filter, cursor.clone(), 2))
                })
                .await
                .unwrap();
            seen.extend(page.items.iter().map(|wakeup| wakeup.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected);
    });
}

#[test]
fn a_request_key_gives_the_first_thing_and_refuses_another_body() {
    on_both(async |world| {
        let key = |hash: &str| request_keys::RequestKey { key: "k".into(), request_hash: hash.into() };
        let keep = world.db.write("keep", (world.now(), key("x")), |tx, (now, key)| {
            Box::pin(request_keys::keep(tx, *now, None, key, "thing"))
        });
        keep.await.unwrap();
        let find = |hash: &str, company: Option<wakeful_domain::id::CompanyId>| {
            let arguments = (key(hash), company);
            world.db.read("find", arguments, |tx, (key, company)| Box::pin(request_keys::find(tx, *company, key)))
        };
        assert_eq!(find("x", None).await.unwrap().as_deref(), Some("thing"));
        assert_eq!(find("x", Some(world.company)).await.unwrap(), None);
        assert!(matches!(find("y", None).await, Err(Refusal::Invalid { .. })));
    });
}

#[test]
fn a_revoked_token_is_no_token() {
    on_both(async |world| {
        let token = tokens::Token {
            id: world.id(),
            name: "laptop".into(),
            kind: "company".into(),
            company: Some(world.company),
            agent: None,
            role: "admin".into(),
            created_at: world.now(),
        };
        let expected = token.clone();
        let insert = |token| world.db.write("t", token, |tx, token| Box::pin(tokens::insert(tx, token, "hash")));
        insert(token).await.unwrap();
        let find = async |world: &World| world.db.read("t", (), |tx, ()| Box::pin(tokens::by_hash(tx, "hash"))).await;
        assert_eq!(find(world).await.unwrap(), Some(expected));
        let now = world.now();
        let revoke = world.db.write("t", now, |tx, now| Box::pin(tokens::revoke_named(tx, *now, "laptop")));
        assert_eq!(revoke.await.unwrap(), 1);
        assert_eq!(find(world).await.unwrap(), None);
    });
}

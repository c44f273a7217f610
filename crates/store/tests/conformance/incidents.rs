//! A channel that does not deliver is told of through the others; and people are reminded of what nobody has seen.

use futures_util::future::{join, join_all};
use serde_json::json;
use wakeful_domain::delivery::Answer;
use wakeful_domain::escalation::{EscalationStatus, Severity};

use crate::deliveries::{accepted, deferred};
use crate::world::{on_both, seconds};

#[test]
fn a_channel_that_does_not_deliver_is_one_incident_told_through_the_others_and_resolved_by_itself() {
    on_both(async |world| {
        let (broken, sound) = (world.channel("broken", json!({})).await, world.channel("sound", json!({})).await);
        world.tell("one").await;
        let fail = async |answer: Answer| {
            loop {
                let due = world.due().await;
                let is_done = due.iter().any(|claimed| claimed.channel.id == broken);
                for claimed in due {
                    let answer = if claimed.channel.id == broken { answer.clone() } else { accepted() };
                    world.end(&claimed, answer).await;
                }
                if is_done {
                    return;
                }
                let next_at = world.look_at(16).await.next_at.unwrap();
                world.set_time(next_at);
            }
        };
        fail(deferred()).await;
        fail(deferred()).await;
        assert!(world.incidents().await.is_empty(), "two failures are no incident");
        fail(deferred()).await;
        let incidents = world.incidents().await;
        assert_eq!((incidents.len(), incidents[0].status), (1, EscalationStatus::Open));
        assert_eq!((incidents[0].subject.clone(), incidents[0].detail.as_str()), (broken.to_string(), "status 503"));
        let told = world.told().await.remove(0);
        assert_eq!(told.notice.title, "the channel `broken` does not deliver");
        assert_eq!(world.through(told.id).await, [sound]);

        world.tell("two").await;
        fail(Answer::Refused("status 410".into())).await;
        let incidents = world.incidents().await;
        assert_eq!((incidents.len(), incidents[0].count), (1, 2), "it is counted and not told again");
        fail(accepted()).await;
        assert_eq!(world.incidents().await[0].status, EscalationStatus::Resolved);

        // It fails and recovers all day: nobody is told the same words again.
        let before = world.told().await.len();
        for round in 0..5 {
            world.tell(&format!("flap {round}")).await;
            fail(Answer::Refused("status 503".into())).await;
            world.tell(&format!("flop {round}")).await;
            fail(accepted()).await;
        }
        let incidents = world.incidents().await;
        assert!(incidents.len() > 2 && incidents.iter().all(|one| one.status == EscalationStatus::Resolved));
        assert_eq!(world.told().await.len(), before + 10, "only what was told besides");
    });
}

#[test]
fn many_channels_that_fail_at_the_same_moment_are_each_told_through_all_others() {
    on_both(async |world| {
        let mut all = Vec::new();
        for number in 0..6 {
            all.push(world.channel(&format!("ops {number}"), json!({})).await);
        }
        world.tell("one").await;
        let due = world.due().await;
        assert_eq!(due.len(), 6);
        let failing = join_all(due.iter().map(|claimed| world.end(claimed, Answer::Refused("gone".into()))));
        let names: Vec<String> = (0..6).map(|number| format!("meanwhile {number}")).collect();
        let raising = join_all(names.iter().map(|name| world.raise(name, Severity::Low, "somebody")));
        let (ended, raised) = join(failing, raising).await;
        assert!(ended.into_iter().all(|was_present| was_present) && raised.len() == 6);
        assert_eq!(world.incidents().await.len(), 6);
        let told = world.told().await;
        assert_eq!(told.len(), 13);
        for notification in told {
            let about = notification.notice.metadata["about"].as_str().unwrap();
            let others: Vec<_> = all.iter().copied().filter(|channel| channel.to_string() != about).collect();
            assert_eq!(world.through(notification.id).await, others, "{about}");
        }
    });
}

#[test]
fn people_are_reminded_of_what_nobody_has_seen_one_step_higher_each_time_and_three_times() {
    on_both(async |world| {
        world.raise("one", Severity::Low, "somebody").await;
        let seen = world.raise("two", Severity::Low, "somebody").await;
        let start = world.now();
        assert_eq!(world.look_at(0).await.next_at, Some(start + seconds(4 * 3_600)));
        world.acknowledge_escalation(seen.id).await;
        let mut severities = Vec::new();
        for round in 1..=3 {
            world.set_time(start + seconds(round * 4 * 3_600));
            assert_eq!(world.look_at(0).await.reminded, 1);
            assert_eq!(world.look_at(0).await.reminded, 0, "once");
            let told = world.told().await.remove(0);
            assert_eq!(told.notice.title, "still waiting for somebody: about one");
            severities.push(told.notice.metadata["severity"].clone());
        }
        assert_eq!(severities, ["medium", "high", "critical"]);
        assert_eq!(world.look_at(0).await.next_at, None, "then it is enough");
        assert_eq!(world.told().await.len(), 5);
    });
}

//! Topics: who is woken by what is published, and what that costs.

use serde_json::{Map, Value as Json, json};
use wakeful_domain::id::AgentId;
use wakeful_domain::subscription::Source;
use wakeful_store::Refusal;
use wakeful_store::ops::request_keys::RequestKey;
use wakeful_store::ops::subscriptions::topics::{self, Publication, Published};

use crate::subscriptions::filter;
use crate::world::{World, on_both};

impl World {
    pub async fn try_publish(
        &self,
        topic: &str,
        data: Map<String, Json>,
        key: Option<&str>,
    ) -> Result<Published, Refusal> {
        let request_key =
            key.map(|key| RequestKey { key: key.into(), request_hash: Json::Object(data.clone()).to_string() });
        let publication = Publication { company: self.company, topic: topic.into(), data, request_key };
        let arguments = (self.origin(), publication);
        self.db.write("publish", arguments, |tx, (origin, what)| Box::pin(topics::publish(tx, origin, what))).await
    }

    pub async fn publish(&self, topic: &str, data: Map<String, Json>) -> Published {
        self.try_publish(topic, data, None).await.unwrap()
    }
}

fn object(value: Json) -> Map<String, Json> {
    value.as_object().cloned().unwrap()
}

async fn interested(world: &World, agent: AgentId, topic: &str, let_through: Json) {
    world.subscribe_with(agent, Source::Topic(topic.into()), |wanted| wanted.filter = filter(let_through)).await;
}

#[test]
fn what_is_published_wakes_those_whose_filter_lets_it_through() {
    on_both(async |world| {
        let (ann, bob, cid) = (world.agent("ann").await, world.agent("bob").await, world.agent("cid").await);
        interested(world, ann, "deploy", json!({ "env": "prod", "result.ok": true })).await;
        interested(world, bob, "deploy", json!({})).await;
        interested(world, cid, "deploy", json!({ "env": ["test", "stage"] })).await;
        interested(world, cid, "other", json!({})).await;
        let published = world.publish("deploy", object(json!({ "env": "prod", "result": { "ok": true } }))).await;
        assert_eq!(published.matched, 2);
        let told = [world.woken(ann).await.len(), world.woken(bob).await.len(), world.woken(cid).await.len()];
        assert_eq!(told, [1, 1, 0]);
        let payload = &world.woken(ann).await[0].payload;
        assert_eq!(payload["source"], json!({ "topic": "deploy" }));
        assert_eq!(payload["data"]["result"]["ok"], true);
        assert_eq!(payload["event_id"], json!(published.event));
        assert_eq!(world.publish("deploy", object(json!({ "env": "stage" }))).await.matched, 2);
        assert_eq!(world.publish("nobody", Map::new()).await.matched, 0);
    });
}

#[test]
fn a_topic_of_another_company_is_another_topic() {
    on_both(async |world| {
        let other = world.company("other", 5).await;
        let stranger = world.agent_with("stranger", |agent| agent.company = other).await;
        world.subscribe_with(stranger, Source::Topic("t".into()), |wanted| wanted.company = other).await;
        assert_eq!(world.publish("t", Map::new()).await.matched, 0);
        assert!(world.woken(stranger).await.is_empty());
    });
}

#[test]
fn publishing_twice_under_one_key_is_publishing_once() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        interested(world, ann, "t", json!({})).await;
        let first = world.try_publish("t", object(json!({ "n": 1 })), Some("k")).await.unwrap();
        let again = world.try_publish("t", object(json!({ "n": 1 })), Some("k")).await.unwrap();
        assert_eq!((first.matched, &first), (1, &again));
        assert_eq!(world.woken(ann).await.len(), 1);
        let other = world.try_publish("t", object(json!({ "n": 2 })), Some("k")).await;
        assert!(matches!(other, Err(Refusal::Invalid { .. })));
    });
}

#[test]
fn what_is_published_twice_at_one_moment_is_told_twice() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        interested(world, ann, "t", json!({})).await;
        for _ in 0..3 {
            world.publish("t", object(json!({ "same": true }))).await;
        }
        assert_eq!(world.woken(ann).await.len(), 3);
    });
}

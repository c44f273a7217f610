//! Tokens of a company: a name is taken until its token is revoked, and a revoked one is good no more.

use futures_util::future::join_all;
use wakeful_domain::agent::AgentEvent;
use wakeful_domain::id::{AgentId, CompanyId, TokenId};
use wakeful_store::Refusal;
use wakeful_store::ops::tokens::{self, Token};

use crate::world::{World, conflict, on_both};

impl World {
    async fn give(&self, company: CompanyId, name: &str, agent: Option<AgentId>) -> Result<TokenId, Refusal> {
        let token = Token {
            id: self.id(),
            name: name.into(),
            kind: if agent.is_some() { "agent" } else { "company" }.into(),
            company: Some(company),
            agent,
            role: if agent.is_some() { String::new() } else { "viewer".into() },
            created_at: self.now(),
        };
        let hash = format!("hash of {}", token.id);
        let write = self.db.write("give", (token, hash), |tx, (token, hash)| Box::pin(tokens::give(tx, token, hash)));
        Ok(write.await?.id)
    }

    async fn knows(&self, id: TokenId) -> bool {
        let read = self.db.read("find", format!("hash of {id}"), |tx, hash| Box::pin(tokens::by_hash(tx, hash)));
        read.await.unwrap().is_some()
    }

    async fn revoke(&self, company: CompanyId, id: TokenId) -> Result<(), Refusal> {
        let arguments = (self.now(), company, id);
        let write = self
            .db
            .write("revoke", arguments, |tx, (now, company, id)| Box::pin(tokens::revoke(tx, *now, *company, *id)));
        write.await
    }

    async fn tokens(&self, company: CompanyId) -> Vec<TokenId> {
        let read = self.db.read("list", company, |tx, company| Box::pin(tokens::list(tx, *company, None, 10)));
        read.await.unwrap().items.iter().map(|token| token.id).collect()
    }
}

#[test]
fn a_name_is_taken_until_its_token_is_revoked_and_then_that_is_good_no_more() {
    on_both(async |world| {
        let company = world.company;
        let made = join_all((0..6).map(|_| world.give(company, "ci", None))).await;
        let first = made.into_iter().filter_map(Result::ok).collect::<Vec<_>>();
        assert_eq!(first.len(), 1);
        assert_eq!(conflict(world.give(company, "ci", None).await), "token_exists");
        let other = world.company("other", 5).await;
        let theirs = world.give(other, "ci", None).await.unwrap();
        assert!(matches!(world.revoke(other, first[0]).await, Err(Refusal::NotFound { .. })));
        assert_eq!((world.tokens(company).await, world.tokens(other).await), (first.clone(), vec![theirs]));
        assert!(world.knows(first[0]).await);
        world.revoke(company, first[0]).await.unwrap();
        assert!(!world.knows(first[0]).await && world.knows(theirs).await);
        assert!(matches!(world.revoke(company, first[0]).await, Err(Refusal::NotFound { .. })));
        let again = world.give(company, "ci", None).await.unwrap();
        assert_eq!(world.tokens(company).await, [again]);
    });
}

#[test]
fn the_key_of_an_agent_goes_with_it() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let key = world.give(world.company, "ann", Some(ann)).await.unwrap();
        assert!(world.knows(key).await);
        world.agent_event(ann, AgentEvent::Terminate).await.unwrap();
        assert!(!world.knows(key).await);
    });
}

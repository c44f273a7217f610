//! Secrets are kept sealed, replaced by name, listed without their values, and gone when removed.

use wakeful_domain::id::CompanyId;
use wakeful_store::Refusal;
use wakeful_store::ops::secrets::{self, Sealed};

use crate::world::{World, on_both};

fn sealed(text: &str) -> Sealed {
    Sealed { text: text.into(), key_id: "k1".into() }
}

impl World {
    async fn put_secret(&self, company: CompanyId, name: &str, text: &str) {
        let arguments = (self.now(), company, name.to_owned(), sealed(text));
        let put = self.db.write("put", arguments, |tx, (now, company, name, sealed)| {
            Box::pin(secrets::put(tx, *now, *company, name, sealed))
        });
        assert_eq!(put.await.unwrap().name, name);
    }

    async fn sealed_secret(&self, company: CompanyId, name: &str) -> Option<Sealed> {
        let arguments = (company, name.to_owned());
        self.db
            .read("sealed", arguments, |tx, (company, name)| Box::pin(secrets::sealed(tx, *company, name)))
            .await
            .unwrap()
    }

    async fn remove_secret(&self, name: &str) -> Result<(), Refusal> {
        let arguments = (self.company, name.to_owned());
        self.db.write("remove", arguments, |tx, (company, name)| Box::pin(secrets::remove(tx, *company, name))).await
    }
}

#[test]
fn a_secret_is_replaced_listed_and_removed() {
    on_both(async |world| {
        let elsewhere = world.company("elsewhere", 5).await;
        for (company, name, text) in
            [(world.company, "b", "1"), (world.company, "a", "2"), (world.company, "b", "3"), (elsewhere, "b", "4")]
        {
            world.put_secret(company, name, text).await;
        }
        assert_eq!(world.sealed_secret(world.company, "b").await, Some(sealed("3")));
        assert_eq!(world.sealed_secret(elsewhere, "b").await, Some(sealed("4")));

        let page = |after: &'static str| {
            world.db.read("list", (world.company, after), |tx, (company, after)| {
                Box::pin(secrets::list(tx, *company, after, 1))
            })
        };
        let (first, rest) = (page("").await.unwrap(), page("a").await.unwrap());
        assert_eq!((first.items[0].name.as_str(), first.next_cursor.as_deref()), ("a", Some("a")));
        assert_eq!((rest.items[0].name.as_str(), rest.next_cursor), ("b", None));

        world.remove_secret("b").await.unwrap();
        assert_eq!(world.sealed_secret(world.company, "b").await, None);
        assert!(matches!(world.remove_secret("b").await, Err(Refusal::NotFound { noun: "secret", .. })));
        assert_eq!(world.sealed_secret(elsewhere, "b").await, Some(sealed("4")));
    });
}

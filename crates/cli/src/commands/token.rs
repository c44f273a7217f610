//! `wakeful token …`: the value of a new token is data on standard output, all about it is said on standard error.

use serde_json::{Value, json};
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::{TokenAddArguments, TokenVerb};
use crate::failure::{Failure, NOT_FOUND};
use crate::output::{self, items, text, time};

pub async fn run(session: &Session, verb: &TokenVerb) -> Result<(), Failure> {
    match verb {
        TokenVerb::Add(arguments) => add(session, arguments).await,
        TokenVerb::Ls => list(session).await,
        TokenVerb::Rm { token } => {
            let id = id_of(session, token).await?;
            session.client.delete(&session.of_company(&format!("/tokens/{}", percent_encoded(&id)))).await?;
            session.output.show(&json!({ "token": token, "revoked": true }), || format!("{token} is revoked"));
            Ok(())
        }
    }
}

async fn add(session: &Session, arguments: &TokenAddArguments) -> Result<(), Failure> {
    let mut body = json!({ "name": arguments.name });
    if let Some(role) = &arguments.role {
        body["role"] = json!(role);
    }
    if let Some(agent) = &arguments.agent {
        body["agent"] = json!(session.agent_id(agent).await?);
    }
    let made = session.client.post(&session.of_company("/tokens"), &body).await?;
    session.output.show(&made, || text(&made, "/token"));
    if !arguments.quiet && !session.output.is_json {
        output::message(&format!(
            "{} is not shown again; `wakeful token rm {}` revokes it",
            arguments.name,
            text(&made, "/id")
        ));
    }
    Ok(())
}

/// Every token that is good, newest first.
async fn all(session: &Session) -> Result<Value, Failure> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = session.client.get(&session.of_company(&format!("/tokens?limit=200{cursor}"))).await?;
        found.extend(items(&page).iter().cloned());
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(json!({ "items": found, "next_cursor": null })),
        }
    }
}

/// The id of a token that is given by name or id.
async fn id_of(session: &Session, token: &str) -> Result<String, Failure> {
    if token.starts_with("tok_") {
        return Ok(token.to_owned());
    }
    let tokens = all(session).await?;
    match items(&tokens).iter().find(|one| text(one, "/name") == token) {
        Some(one) => Ok(text(one, "/id")),
        None => Err(Failure::new(NOT_FOUND, format!("there is no token `{token}`"))
            .hint("`wakeful token ls` lists them, `wakeful token add` gives one")),
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let tokens = all(session).await?;
    let output = session.output;
    output.show(&tokens, || {
        let may = |one: &Value| match text(one, "/agent") {
            agent if agent.is_empty() => text(one, "/role"),
            agent => format!("agent {agent}"),
        };
        let row = |one: &Value| vec![text(one, "/name"), text(one, "/id"), may(one), time(one, "/created_at")];
        match items(&tokens).is_empty() {
            true => "no tokens yet: wakeful token add NAME --role viewer".into(),
            false => output.table(&["name", "id", "role", "given"], items(&tokens).iter().map(row).collect()),
        }
    });
    Ok(())
}

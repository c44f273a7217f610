//! `wakeful secret …`: values come from standard input, and never from the command line, where
//! every process of the machine could read them.

use std::io::{IsTerminal, Read};

use serde_json::json;
use wakeful_domain::secret::VALUE_BYTES_MAX;
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::SecretVerb;
use crate::failure::Failure;
use crate::output::{items, text, time};

pub async fn run(session: &Session, verb: &SecretVerb) -> Result<(), Failure> {
    match verb {
        SecretVerb::Set { name } => {
            let value = value_from_stdin()?;
            let path = session.of_company(&format!("/secrets/{}", percent_encoded(name)));
            let secret = session.client.put(&path, &json!({ "value": value })).await?;
            session.output.show(&secret, || {
                format!("{name} is set; an agent gets it with --config '{{\"env\": {{\"NAME\": {{\"secret\": \"{name}\"}}}}}}'")
            });
            Ok(())
        }
        SecretVerb::Ls => {
            let secrets = session.client.get(&session.of_company("/secrets?limit=200")).await?;
            session.output.show(&secrets, || match items(&secrets).is_empty() {
                true => "no secrets yet; set one with: wakeful secret set NAME < file".into(),
                false => {
                    let rows =
                        items(&secrets).iter().map(|secret| vec![text(secret, "/name"), time(secret, "/updated_at")]);
                    session.output.table(&["name", "set"], rows.collect())
                }
            });
            Ok(())
        }
        SecretVerb::Rm { name } => {
            session.client.delete(&session.of_company(&format!("/secrets/{}", percent_encoded(name)))).await?;
            session.output.show(&json!({ "name": name, "removed": true }), || format!("{name} is removed"));
            Ok(())
        }
    }
}

/// All of standard input, without the one line end that `echo` and editors leave.
fn value_from_stdin() -> Result<String, Failure> {
    let mut input = std::io::stdin();
    if input.is_terminal() {
        return Err(Failure::usage(
            "the value is read from standard input, which is a terminal here: it would be shown",
        )
        .hint("pipe it in: wakeful secret set NAME < file, or: printf %s \"$VALUE\" | wakeful secret set NAME"));
    }
    let mut bytes = Vec::new();
    let bytes_max = u64::try_from(VALUE_BYTES_MAX).unwrap_or(u64::MAX);
    (&mut input)
        .take(bytes_max + 3)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format!("the value cannot be read from standard input: {error}")))?;
    let mut value =
        String::from_utf8(bytes).map_err(|_| Failure::usage("the value is not UTF-8; encode it, as with `base64`"))?;
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    Ok(value)
}

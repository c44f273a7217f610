//! Puts the values of secrets into an adapter's configuration, for the moment in which a run is
//! started. The configuration that is kept and shown has the references.

use serde_json::{Map, Value as Json};
use wakeful_domain::id::CompanyId;
use wakeful_domain::outcome::Outcome;
use wakeful_domain::secret::SecretRef;
use wakeful_runner::process::SecretFile;
use wakeful_store::ops::secrets;
use zeroize::Zeroizing;

use super::vault::place_of;
use crate::engine::Engine;
use crate::run::Refused;

/// Where in a configuration references may stand.
const OBJECTS: &[&str] = &["env", "headers"];
const SINGLE: &[&str] = &["signing_secret"];

/// A configuration with the values in it.
pub(crate) struct Resolved {
    pub config: Json,
    /// Every value that was put in, to be kept out of what comes back.
    pub values: Vec<String>,
    /// Variables that are to name a file with a value.
    pub files: Vec<SecretFile>,
}

/// Opens every secret that the configuration refers to. The outcome says which one is missing or cannot be opened.
pub(crate) async fn resolve(engine: &Engine, company: CompanyId, config: &Json) -> Result<Resolved, Refused> {
    let mut resolved = Resolved { config: config.clone(), values: Vec::new(), files: Vec::new() };
    for name in OBJECTS {
        let Some(Json::Object(settings)) = config.get(*name) else { continue };
        let mut filled = Map::new();
        for (key, setting) in settings {
            match SecretRef::read(setting) {
                None => {
                    filled.insert(key.clone(), setting.clone());
                }
                Some(reference) => {
                    let field = format!("adapter.{name}.{key}");
                    let reference = reference.map_err(|problem| refused(&field, "bad_config", &problem))?;
                    let value = open(engine, company, &field, &reference.secret).await?;
                    resolved.values.push(value.to_string());
                    if reference.file {
                        resolved.files.push(SecretFile { variable: key.clone(), content: value.to_string() });
                    } else {
                        filled.insert(key.clone(), Json::String(value.to_string()));
                    }
                }
            }
        }
        resolved.config[*name] = Json::Object(filled);
    }
    for name in SINGLE {
        let Some(reference) = config.get(*name).and_then(SecretRef::read) else { continue };
        let field = format!("adapter.{name}");
        let reference = reference.map_err(|problem| refused(&field, "bad_config", &problem))?;
        let value = open(engine, company, &field, &reference.secret).await?;
        resolved.values.push(value.to_string());
        resolved.config[*name] = Json::String(value.to_string());
    }
    Ok(resolved)
}

/// The value of the secret that a field names.
pub(crate) async fn open(
    engine: &Engine,
    company: CompanyId,
    field: &str,
    name: &str,
) -> Result<Zeroizing<String>, Refused> {
    let sealed = engine
        .db()
        .read("secret.sealed", (company, name.to_owned()), |tx, (company, name)| {
            Box::pin(secrets::sealed(tx, *company, name))
        })
        .await
        .map_err(|refusal| refused(field, "spawn_failed", &refusal.to_string()))?;
    let Some(sealed) = sealed else {
        let told = format!("there is no secret `{name}`: make it with `wakeful secret set {name}`");
        return Err(refused(field, "secret_missing", &told));
    };
    let opened = engine.config().vault.open(&place_of(company, name), &sealed);
    opened
        .map_err(|error| refused(field, "secret_unreadable", &format!("the secret `{name}` cannot be opened: {error}")))
}

fn refused(field: &str, code: &str, told: &str) -> Refused {
    Box::new(Outcome::failed(code, format!("{field}: {told}")))
}

//! `wakeful gc`: what is old is removed now, or told.

use serde_json::{Value, json};

use super::Session;
use crate::failure::Failure;
use crate::output::{Output, items_of, text, time};

pub async fn run(session: &Session, dry_run: bool) -> Result<(), Failure> {
    let report = session.client.post("/api/v1/gc", &json!({ "dry_run": dry_run })).await?;
    session.output.show(&report, || say(session.output, &report));
    Ok(())
}

fn say(output: Output, report: &Value) -> String {
    let head = match report["dry_run"] == true {
        true => ["kind", "would go", "bytes", "old and kept", "oldest kept", "by"],
        false => ["kind", "removed", "bytes", "old and kept", "oldest kept", "by"],
    };
    let rows = items_of(report, "kinds").iter().map(|gone| {
        let kept: Vec<(&String, u64)> = gone["kept"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(reason, count)| (reason, count.as_u64().unwrap_or(0)))
            .collect();
        let total: u64 = kept.iter().map(|(_, count)| count).sum();
        let by: Vec<String> = kept.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        vec![
            text(gone, "/kind"),
            text(gone, "/removed"),
            text(gone, "/bytes"),
            total.to_string(),
            time(gone, "/oldest_kept"),
            by.join(", "),
        ]
    });
    output.table(&head, rows.collect())
}

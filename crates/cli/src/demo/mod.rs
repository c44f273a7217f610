//! `wakeful demo`: the main job on embedded SQLite in a temporary directory, with small scripted
//! agents. Every line comes from the API of a real server in a process of its own, so that a
//! broken product gives a failing demo.

mod server;
mod steps;

use std::time::Duration;

use crate::arguments::{DemoArguments, Global};
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::{Output, line};
use server::DemoServer;

/// A whole demo that takes longer is broken.
const PATIENCE: Duration = Duration::from_secs(90);

/// Shows the main job; fails if anything is not as it should be.
pub async fn run(arguments: &DemoArguments) -> Result<(), Failure> {
    let kept = tempfile::Builder::new().prefix("wakeful-demo-").tempdir()?;
    let path = kept.path().to_owned();
    line(&format!("Wakeful {} — the main job, in {}", env!("CARGO_PKG_VERSION"), path.display()));
    let dir = DataDir::of(Some(&path))?;
    let server = DemoServer::start(&dir).await?;
    let result = match tokio::time::timeout(PATIENCE, steps::all(&dir, server)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::failed(format!("the demo was not over after {PATIENCE:?}"))),
    };
    let (mut server, summary) = match result {
        Ok(done) => done,
        Err(failure) => {
            // What lies there may explain it.
            let left = kept.keep();
            return Err(failure.hint(format!("logs and store are left in {}", left.display())));
        }
    };
    let output = Output::new(&Global::default());
    line("");
    line(&output.table(&["what", "result", "evidence"], summary.rows()));
    if arguments.keep {
        let kept = kept.keep();
        line(&format!(
            "\nThe server stays up on {} until you press Ctrl-C. Try, in another terminal:",
            server.address()
        ));
        line(&format!("  wakeful --data-dir {} agent ls", kept.display()));
        line(&format!("  wakeful --data-dir {} wake greeter -m 'hello' --wait", kept.display()));
        server.wait().await;
        return summary.verdict();
    }
    server.stop().await;
    line("\nWhat to try next:");
    line("  wakeful up                                  the server, on 127.0.0.1:7777");
    line("  wakeful agent add ann --adapter claude      an agent that is Claude Code");
    line("  wakeful wake ann -m 'say hello' --wait      wake it and watch it work");
    line("  wakeful why ann                             how it stands, and why");
    summary.verdict()
}

//! `stub-model`: the stub by hand. The first line on standard output is its URL; it serves until
//! standard input is closed.

use std::io::{self, Write};

use wakeful_stub_model::StubModel;

#[tokio::main]
async fn main() -> io::Result<()> {
    let stub = StubModel::start().await?;
    writeln!(io::stdout().lock(), "{}", stub.url())?;
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin().lock(), &mut io::sink())).await??;
    Ok(())
}

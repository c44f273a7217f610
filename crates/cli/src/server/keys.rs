//! The master key that secrets are sealed under: where it comes from.

use wakeful_engine::secrets::MasterKey;
use wakeful_store::Db;
use wakeful_store::ops::secrets;
use zeroize::Zeroizing;

use crate::config::settings::Server;
use crate::data_dir::DataDir;
use crate::environment;
use crate::failure::Failure;

/// From a command, a file, the environment, or the data directory; the settings name one of the first two at most.
pub async fn master_key(db: &Db, dir: &DataDir, settings: &Server) -> Result<MasterKey, Failure> {
    let read = |text: &str, whence: &str| {
        MasterKey::read(text).map_err(|error| Failure::usage(format!("the master key of {whence}: {error}")))
    };
    if let Some(command) = &settings.master_key_command {
        return read(&printed_by(command)?, "the setting server.master_key_command");
    }
    if let Some(path) = &settings.master_key_file {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
        return read(&text, &path.display().to_string());
    }
    if let Some(text) = environment::master_key().map(Zeroizing::new) {
        return read(&text, "WAKEFUL_MASTER_KEY");
    }
    if let Some(key) = dir.master_key()? {
        return Ok(key);
    }
    let count = db.read("secret.count", (), |tx, ()| Box::pin(secrets::count_of_other_keys(tx, ""))).await;
    match count.map_err(|refusal| Failure::failed(refusal.to_string()))? {
        0 => dir.make_master_key(),
        count => Err(Failure::usage(format!(
            "the store holds {count} secrets, and {} is gone: they cannot be opened without their master key",
            dir.master_key_file().display()
        ))
        .hint("put the key back, or name it with --master-key-file; with any other key the secrets must be set anew")),
    }
}

fn printed_by(command: &str) -> Result<Zeroizing<String>, Failure> {
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| Failure::usage(format!("server.master_key_command cannot be started: {error}")))?;
    if !output.status.success() {
        return Err(Failure::usage(format!("server.master_key_command failed: {}", output.status)));
    }
    String::from_utf8(output.stdout)
        .map(Zeroizing::new)
        .map_err(|_| Failure::usage("server.master_key_command printed no text"))
}

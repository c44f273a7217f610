//! The data directory: where the store, the runs and the tokens are, and who owns it. One server
//! holds its lock; another is refused and told whose it is.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wakeful_domain::time::Timestamp;
use wakeful_engine::secrets::MasterKey;
use wakeful_engine::{TokenKind, mint};
use wakeful_runner::process::identity::{Identity, boot_id};
use zeroize::Zeroizing;

use crate::environment;
use crate::failure::{Failure, REFUSED};

/// A data directory, there or not.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

/// Who holds the lock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Owner {
    pub process: Identity,
    pub version: String,
    /// Known once the server listens.
    pub address: Option<String>,
}

/// The lock, held for as long as this lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
    owner: Owner,
}

/// Looks at a lock that a dead owner left to another process, and the pause between them: 2 s in all.
const LOOKS: u32 = 40;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Who has written himself down as the owner; `None` if that cannot be read.
fn owner_in(file: &mut File) -> Option<Owner> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn owner_lives(file: &mut File) -> bool {
    owner_in(file).zip(boot_id().ok()).is_some_and(|(owner, boot)| owner.process.is_alive(&boot))
}

impl DataDir {
    /// The directory that was named, or the default one.
    pub fn of(named: Option<&Path>) -> Result<DataDir, Failure> {
        let path = named.map(Path::to_owned).or_else(environment::default_data_dir).ok_or_else(|| {
            Failure::usage("no data directory is known: neither --data-dir, WAKEFUL_DATA_DIR nor HOME is set")
                .hint("name one with --data-dir")
        })?;
        let path = std::path::absolute(&path).unwrap_or(path);
        Ok(DataDir { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the embedded store.
    pub fn store_file(&self) -> PathBuf {
        self.path.join("wakeful.db")
    }

    /// The file of the instance's admin token.
    pub fn token_file(&self) -> PathBuf {
        self.path.join("admin.token")
    }

    /// The configuration, if no other is named.
    pub fn config_file(&self) -> PathBuf {
        self.path.join("wakeful.toml")
    }

    /// The log of a server in the background.
    pub fn log_file(&self) -> PathBuf {
        self.path.join("wakeful.log")
    }

    /// How the lives of the server have ended.
    pub fn lives_file(&self) -> PathBuf {
        self.path.join("lives.json")
    }

    /// There while a restore moves things.
    pub fn restoring_file(&self) -> PathBuf {
        self.path.join("restoring.json")
    }

    /// Who has written himself down as the owner, alive or not.
    pub fn owner(&self) -> Option<Owner> {
        owner_in(&mut File::open(self.path.join("wakeful.pid")).ok()?)
    }

    /// When the server last wrote its log or its store.
    pub fn last_written(&self) -> Option<Timestamp> {
        let files = [self.log_file(), self.store_file(), self.store_file().with_extension("db-wal")];
        let written = |path: &PathBuf| fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok();
        let last = files.iter().filter_map(written).max()?;
        Some(Timestamp::from_micros(i64::try_from(last.as_micros()).ok()?))
    }

    /// Writes one of the directory's files, for us alone.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        write_private(path, bytes).map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
    }

    fn address_file(&self) -> PathBuf {
        self.path.join("server.json")
    }

    /// Makes the directory, for us alone.
    pub fn create(&self) -> Result<(), Failure> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(|error| {
            Failure::failed(format!("cannot create the data directory {}: {error}", self.path.display()))
                .hint("name one that can be written with --data-dir or WAKEFUL_DATA_DIR")
        })
    }

    /// Takes the lock, or says who has it. A server that was killed while it started a process leaves the lock with
    /// that process, for the moment until it becomes another program.
    #[expect(clippy::disallowed_methods, reason = "nobody tells when a lock comes free")]
    pub fn lock(&self) -> Result<Lock, Failure> {
        let path = self.path.join("wakeful.pid");
        let failed = |error: std::io::Error| Failure::failed(format!("cannot lock {}: {error}", path.display()));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        for left in (0..LOOKS).rev() {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if left == 0 || owner_lives(&mut file) => {
                    return Err(self.owned_by_another(&mut file));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_EVERY),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let boot = boot_id().map_err(failed)?;
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let process = Identity::of(pid, &boot).ok_or_else(|| Failure::failed("/proc does not show this process"))?;
        let mut lock =
            Lock { file, owner: Owner { process, version: env!("CARGO_PKG_VERSION").into(), address: None } };
        lock.write().map_err(failed)?;
        Ok(lock)
    }

    fn owned_by_another(&self, file: &mut File) -> Failure {
        let who = match owner_in(file) {
            Some(owner) => {
                let at = owner.address.map(|address| format!(", listening on {address}")).unwrap_or_default();
                format!("process {}{at}", owner.process.pid)
            }
            None => "another process".into(),
        };
        Failure::new(REFUSED, format!("{} is in use by {who}", self.path.display()))
            .hint("stop that server first, or name another directory with --data-dir")
    }

    /// The admin token; made at the first start.
    pub fn admin_token(&self) -> Result<String, Failure> {
        let path = self.token_file();
        if let Ok(text) = fs::read_to_string(&path) {
            let token = text.trim();
            if !token.is_empty() {
                return Ok(token.to_owned());
            }
        }
        let token =
            mint(TokenKind::Admin).map_err(|error| Failure::failed(format!("no randomness for a token: {error}")))?;
        write_private(&path, format!("{token}\n").as_bytes())
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
        Ok(token)
    }

    /// The file of the master key, if it is kept here.
    pub fn master_key_file(&self) -> PathBuf {
        self.path.join("master.key")
    }

    /// The master key that is kept here, if one is.
    pub fn master_key(&self) -> Result<Option<MasterKey>, Failure> {
        let path = self.master_key_file();
        match fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => {
                MasterKey::read(&text).map(Some).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::failed(format!("cannot read {}: {error}", path.display()))),
        }
    }

    /// Makes a master key and keeps it here.
    pub fn make_master_key(&self) -> Result<MasterKey, Failure> {
        let path = self.master_key_file();
        let key = MasterKey::generate()
            .map_err(|error| Failure::failed(format!("no randomness for a master key: {error}")))?;
        let text = Zeroizing::new(format!("{}\n", *key.to_text()));
        write_private(&path, text.as_bytes())
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
        Ok(key)
    }

    /// Notes where the server listens, for the other commands.
    pub fn publish_address(&self, lock: &mut Lock, address: &str) -> Result<(), Failure> {
        let path = self.address_file();
        let text =
            serde_json::json!({ "address": address, "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION") });
        write_private(&path, text.to_string().as_bytes())
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
        lock.owner.address = Some(address.to_owned());
        lock.write()?;
        Ok(())
    }

    /// Where the server of this directory listens, or last listened.
    pub fn address(&self) -> Option<String> {
        self.published()?.get("address")?.as_str().map(str::to_owned)
    }

    /// The same, if it is this process that listens there.
    pub fn address_of(&self, pid: Option<u32>) -> Option<String> {
        let published = self.published()?;
        let is_it = published.get("pid")?.as_u64() == pid.map(u64::from);
        published.get("address")?.as_str().filter(|_| is_it).map(str::to_owned)
    }

    fn published(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&fs::read_to_string(self.address_file()).ok()?).ok()
    }
}

impl Lock {
    fn write(&mut self) -> std::io::Result<()> {
        let text = serde_json::to_vec(&self.owner)?;
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(&text)
    }
}

/// Writes a file for us alone: complete, or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

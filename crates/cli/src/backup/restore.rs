//! Puts a backup in the place of the store: checked first, its epoch raised before it is seen, what was there kept
//! aside. Broken off in the middle, it is seen to be: no server starts before it has been done again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wakeful_engine::clock;
use wakeful_store::ops::restore::{self, Fence, Life, Restored};
use wakeful_store::ops::secrets;
use wakeful_store::{Commit, Db, Direct, Location, Refusal, file};

use super::read::{Unpacked, read};
use super::{database, no_room};
use crate::arguments::{Global, RestoreArguments};
use crate::commands::Session;
use crate::data_dir::DataDir;
use crate::environment;
use crate::failure::{FAILED, Failure, REFUSED};
use crate::output::{Output, items_of, text, time};

/// What the name of a directory begins with that a backup is unpacked to.
const SCRATCH: &str = "unpacked-";

/// A restore on its way: what stood here goes there.
#[derive(Debug, Serialize, Deserialize)]
struct OnItsWay {
    aside: PathBuf,
}

/// What was restored, for the one who asked.
#[derive(Debug)]
struct Done {
    restored: Restored,
    replaced: Replaced,
    aside: Option<PathBuf>,
    logs: u64,
    secrets: i64,
}

/// The store that is replaced.
#[derive(Debug, Default)]
struct Replaced {
    life: Option<Life>,
    /// Why it could not be read, if it could not.
    unreadable: Option<String>,
}

/// Restores, tells what would run, or goes on.
pub async fn run(global: &Global, arguments: &RestoreArguments) -> Result<(), Failure> {
    if arguments.plan || arguments.go_on {
        let session = Session::new(global)?;
        let plan = match arguments.go_on {
            true => {
                let body = json!({ "skip_missed": arguments.skip_missed });
                session.client.post("/api/v1/restore/release", &body).await?
            }
            false => session.client.get("/api/v1/restore").await?,
        };
        session.output.show(&plan, || say_plan(&session.output, &plan, arguments.go_on));
        return Ok(());
    }
    let dir = DataDir::of(global.data_dir.as_deref())?;
    let output = Output::new(global);
    let done = match (&arguments.file, database(&dir, arguments.database.as_deref())?) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage("the store is in PostgreSQL, which is restored with its own tools")
                .hint("pg_restore --clean --if-exists --dbname=\"$DATABASE\" wakeful.dump, then: wakeful restore --database \"$DATABASE\""));
        }
        (Some(backup), None) => restore_file(&dir, backup)?,
        (None, Some(url)) if arguments.database.is_some() => fence_database(&dir, url).await?,
        (None, _) => {
            return Err(Failure::usage("say what to restore: wakeful restore FILE")
                .hint("--plan shows what a restored store waits for, --go-on lets it go on"));
        }
    };
    let document = json!({
        "restored": done.restored,
        "kept_aside": done.aside,
        "replaced": done.replaced.life,
        "unreadable": done.replaced.unreadable,
        "logs": done.logs,
        "secrets": done.secrets,
    });
    output.show(&document, || say_done(&dir, &done));
    Ok(())
}

/// Puts a backup in the place of the directory's store.
fn restore_file(dir: &DataDir, backup: &Path) -> Result<Done, Failure> {
    dir.create()?;
    let _lock = dir.lock()?;
    let folder = dir.path();
    forget_broken_off(folder)?;
    let scratch = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(folder);
    let scratch = scratch.map_err(|error| no_room(&error, folder))?;
    let unpacked = read(backup, scratch.path())?;
    let replaced = replaced(dir);
    let (now, id_seed, taken_at) = (clock::now(), clock::seed(), Some(unpacked.manifest.taken_at));
    let fence = Fence { now, id_seed, taken_at, replaced: replaced.life };
    let (restored, secrets) = fenced(&unpacked.store, &fence)
        .map_err(|refusal| Failure::failed(format!("what was live in the backup cannot be ended: {refusal}")))?;
    let moved = || -> io::Result<(Option<PathBuf>, u64)> {
        fs::File::open(&unpacked.store)?.sync_all()?;
        let aside = put_in_place(dir, &unpacked.store)?;
        Ok((aside, put_logs(&unpacked, &folder.join(super::RUNS))?))
    };
    let (aside, logs) = moved().map_err(|error| no_room(&error, folder))?;
    Ok(Done { restored, replaced, aside, logs, secrets })
}

/// How far the store has come that stands here; of a restore that was broken off, the one that stood here too.
fn replaced(dir: &DataDir) -> Replaced {
    let begun = on_its_way(dir).map(|begun| begun.aside.join(super::STORE));
    let mut found = Replaced::default();
    for place in [dir.store_file()].into_iter().chain(begun).filter(|place| place.exists()) {
        match file::life(&place) {
            Ok(life) => {
                let known = found.life.unwrap_or_default();
                let (epoch, last_event) = (known.epoch.max(life.epoch), known.last_event.max(life.last_event));
                found.life = Some(Life { epoch, last_event });
            }
            Err(error) => found.unreadable = Some(error.to_string()),
        }
    }
    found
}

fn on_its_way(dir: &DataDir) -> Option<OnItsWay> {
    fs::read(dir.restoring_file()).ok().and_then(|text| serde_json::from_slice(&text).ok())
}

/// Removes what restores that were killed have unpacked; the lock says that none is under way.
fn forget_broken_off(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(SCRATCH)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Ends what was live in the copy, while nobody else has it; its file is whole and alone when this returns.
fn fenced(store: &Path, fence: &Fence) -> Result<(Restored, i64), Refusal> {
    let mut copy = Direct::open(store)?;
    let restored = copy.write("restore.fence", fence, |tx, fence| Box::pin(restore::fence(tx, fence)), Commit::Kept)?;
    let secrets = copy.read("secret.count", &(), |tx, ()| Box::pin(secrets::count_of_other_keys(tx, "")))?;
    drop(copy);
    // SQLite says nothing if it could not carry its log into the file when it was closed.
    match file::log_bytes(store) {
        0 => Ok((restored, secrets)),
        _ => {
            Err(wakeful_store::Error::Full { source_text: "its log could not be carried into its file".into() }.into())
        }
    }
}

/// The database was restored by its own tools: what was live in it is ended.
async fn fence_database(dir: &DataDir, url: String) -> Result<Done, Failure> {
    dir.create()?;
    let _lock = dir.lock()?;
    let db = Db::open(&Location::Postgres(url)).await.map_err(|error| Failure::new(FAILED, error.to_string()))?;
    let owner = format!("a restore in process {}", std::process::id());
    db.hold_alone(&owner).await.map_err(|error| Failure::new(REFUSED, error.to_string()))?;
    // What stood in the database before is gone already.
    let fence = Fence { now: clock::now(), id_seed: clock::seed(), taken_at: None, replaced: None };
    let done = async {
        let restored = db.write("restore.fence", fence, |tx, fence| Box::pin(restore::fence(tx, fence))).await?;
        let secrets = db.read("secret.count", (), |tx, ()| Box::pin(secrets::count_of_other_keys(tx, ""))).await?;
        Ok::<_, Refusal>(Done { restored, replaced: Replaced::default(), aside: None, logs: 0, secrets })
    };
    done.await.map_err(|refusal| Failure::failed(refusal.to_string()))
}

/// Moves what is there aside and the new store into its place. The log of an old store beside a new one would be
/// taken for its own, so a server must not start in between.
fn put_in_place(dir: &DataDir, store: &Path) -> io::Result<Option<PathBuf>> {
    let (place, marker) = (dir.store_file(), dir.restoring_file());
    let parts: Vec<&str> = [""].iter().chain(file::COMPANIONS).copied().collect();
    let begun = on_its_way(dir);
    let is_there = begun.is_some() || parts.iter().any(|ending| file::beside(&place, ending).exists());
    let aside = begun
        .map_or_else(|| dir.path().join(format!("before-restore-{}", clock::now().as_millis())), |begun| begun.aside);
    if is_there {
        fs::create_dir_all(&aside)?;
        let text = serde_json::to_vec(&OnItsWay { aside: aside.clone() })?;
        dir.write(&marker, &text).map_err(|failure| io::Error::other(failure.message))?;
        for ending in &parts {
            let (from, to) = (file::beside(&place, ending), file::beside(&aside.join(super::STORE), ending));
            // What an interrupted restore has put there already is what was there before.
            if from.exists() && !to.exists() {
                fs::rename(&from, &to)?;
            }
        }
        File::open(&aside)?.sync_all()?;
    }
    for ending in &parts[1..] {
        remove_if_there(&file::beside(&place, ending))?;
    }
    fs::rename(store, &place)?;
    File::open(dir.path())?.sync_all()?;
    remove_if_there(&marker)?;
    File::open(dir.path())?.sync_all()?;
    Ok(is_there.then_some(aside))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts the logs of the backup where their runs have none.
fn put_logs(unpacked: &Unpacked, runs: &Path) -> io::Result<u64> {
    let mut put = 0;
    if !unpacked.logs.exists() {
        return Ok(put);
    }
    for run in fs::read_dir(&unpacked.logs)? {
        let run = run?;
        let place = runs.join(run.file_name());
        if place.exists() {
            continue;
        }
        fs::create_dir_all(runs)?;
        put += fs::read_dir(run.path())?.count() as u64;
        fs::rename(run.path(), &place)?;
    }
    Ok(put)
}

/// Refuses to start on a directory whose restore was broken off.
pub fn refuse_unfinished(dir: &DataDir) -> Result<(), Failure> {
    if !dir.restoring_file().exists() {
        return Ok(());
    }
    let told = format!("a restore of {} was broken off, and its store is not in place", dir.path().display());
    Err(Failure::new(REFUSED, told).hint("run `wakeful restore FILE` again: it goes on where it was"))
}

fn say_done(dir: &DataDir, done: &Done) -> String {
    let restored = &done.restored;
    let mut lines = vec![format!(
        "restored from the backup of {} (epoch {}); {} runs that were live in it are lost",
        restored.taken_at, restored.epoch, restored.lost_runs
    )];
    if let Some(aside) = &done.aside {
        lines.push(format!("what was there is kept in {}", aside.display()));
    }
    if let Some(why) = &done.replaced.unreadable {
        lines.push(format!(
            "a store that was there cannot be read ({why}): the epoch and the numbers of events go on from the others alone, \
             so a reader of events with a cursor of that store must begin anew"
        ));
    }
    if done.secrets > 0 && !dir.master_key_file().exists() && environment::master_key().is_none() {
        let place = dir.master_key_file();
        lines.push(format!("it holds {} secrets: put their master key in {}", done.secrets, place.display()));
    }
    lines.push(
        "the next server starts nothing before `wakeful restore --go-on`; `wakeful restore --plan` says what would run"
            .into(),
    );
    lines.join("\n")
}

fn say_plan(output: &Output, plan: &Value, has_released: bool) -> String {
    let mut lines = vec![match (plan["taken_at"].as_str(), plan["is_held"] == true) {
        (None, _) => return "the store was never restored".into(),
        (Some(at), true) => {
            format!("restored from the backup of {at}; nothing starts before `wakeful restore --go-on`")
        }
        (Some(at), false) if has_released => format!("restored from the backup of {at}; it goes on"),
        (Some(at), false) => format!("restored from the backup of {at}; it went on at {}", time(plan, "/released_at")),
    }];
    let ended = plan["ended_processes_of"].as_array().map_or(0, Vec::len);
    lines.push(format!(
        "{} runs that were live in it are lost; processes of {ended} runs of the life before were ended",
        text(plan, "/lost_runs")
    ));
    if plan["is_held"] == true {
        lines.push(format!(
            "{} notifications would go out, {} schedules would catch up, {} wakeups would run:",
            text(plan, "/deliveries"),
            text(plan, "/due_schedules"),
            text(plan, "/pending_wakeups")
        ));
        let schedules = items_of(plan, "schedules").iter().map(|schedule| {
            let slots = format!("{} slots since {}", text(schedule, "/slots"), time(schedule, "/since"));
            vec![text(schedule, "/id"), text(schedule, "/company"), text(schedule, "/name"), slots]
        });
        let wakeups = items_of(plan, "wakeups").iter().map(|wakeup| {
            let of = format!("{}: {}", text(wakeup, "/source"), text(wakeup, "/reason"));
            vec![text(wakeup, "/id"), text(wakeup, "/company"), text(wakeup, "/agent"), of]
        });
        let rows: Vec<_> = schedules.chain(wakeups).collect();
        if !rows.is_empty() {
            lines.push(output.table(&["id", "company", "of", "what"], rows));
            lines.push("what was done already: `wakeful wakeup cancel ID`; slots that were fired already: --go-on --skip-missed".into());
        }
    }
    lines.join("\n")
}

//! The power goes: what was synced is there, of what was not, any part may be. A server is stopped for a moment while it
//! writes, its file and log are copied, and the log is cut and torn behind what had been answered.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::sleep;
use wakeful_test_server::{Server, signal};

use super::server;
use crate::{Case, Measured, Scale};

pub const POWER_LOSS: Case = Case {
    name: "power_loss",
    rows: "3",
    provoked: "the store's file and its log, copied while 16 clients write; the log cut at a random byte and torn in blocks behind the last answer, pages of the file taken from before",
    must_hold: "the store opens, every page is in order, everything that was answered is there, every invariant",
    run: |scale, seed| Box::pin(power_loss(scale, seed)),
};

const CLIENTS: usize = 16;
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// What a disk writes whole.
const SECTOR: usize = 512;

/// File and log at one moment.
struct Copy {
    file: Vec<u8>,
    log: Vec<u8>,
    answered: usize,
}

impl Copy {
    /// Which life of the log this is: it begins anew under other numbers once all of it is in the file.
    fn salt(&self) -> &[u8] {
        self.log.get(16..24).unwrap_or_default()
    }

    fn page(&self) -> usize {
        u32::from_be_bytes(self.log[8..12].try_into().unwrap()) as usize
    }

    /// Where the frames of this life end; behind that stands what a life before has left.
    fn end(&self) -> usize {
        let frame = FRAME_HEADER + self.page();
        let is_of_this = |at: &usize| self.log.get(at + 8..at + 16) == Some(self.salt());
        (LOG_HEADER..).step_by(frame).take_while(is_of_this).last().map_or(LOG_HEADER, |last| last + frame)
    }
}

async fn power_loss(scale: Scale, seed: u64) -> Measured {
    let rounds = scale.of(3, 60);
    let mut rng = Rng::with_seed(seed);
    let source = server(4, &[]).await;
    let agent = source.process_agent("ann", "true").await;
    let (answered, is_over) = (RefCell::new(Vec::<String>::new()), Cell::new(false));
    let write = async || {
        while !is_over.get() {
            // They wait for an hour, so that nothing is started.
            let wakeup = source.wake(&agent, json!({ "delay_ms": 3_600_000 })).await;
            answered.borrow_mut().push(wakeup);
        }
    };
    let lose = async {
        let (mut lost, mut cut_bytes, mut torn, mut checked) = (0, 0, 0, 0);
        while lost < rounds {
            sleep(Duration::from_millis(rng.u64(5..60))).await;
            let earlier = copied(&source, &answered);
            sleep(Duration::from_millis(rng.u64(1..15))).await;
            let now = copied(&source, &answered);
            sleep(Duration::from_millis(rng.u64(1..15))).await;
            let later = copied(&source, &answered);
            // Between two lives of the log everything was in the file and synced: there is nothing to lose.
            if now.salt().is_empty() || earlier.salt() != now.salt() || now.salt() != later.salt() {
                continue;
            }
            let (safe, end) = (now.end(), later.end());
            let cut = rng.usize(safe..=end);
            let mut log = later.log[..cut].to_vec();
            let sectors = (safe.div_ceil(SECTOR)..cut / SECTOR).filter(|_| rng.u8(0..4) == 0).collect::<Vec<_>>();
            sectors.iter().for_each(|sector| log[sector * SECTOR..(sector + 1) * SECTOR].fill(0));
            let mut file = now.file.clone();
            // What a checkpoint had written and not synced may be missing: it stands in the log.
            let old_pages = (0..earlier.file.len() / now.page()).filter(|_| rng.bool()).collect::<Vec<_>>();
            for page in old_pages {
                let at = page * now.page()..(page + 1) * now.page();
                file[at.clone()].copy_from_slice(&earlier.file[at]);
            }
            (cut_bytes, torn) = (cut_bytes + end - cut, torn + sectors.len());
            checked += now.answered;
            let wanted = answered.borrow()[..now.answered].to_vec();
            opens_with(&file, &log, &wanted).await;
            lost += 1;
        }
        is_over.set(true);
        (cut_bytes, torn, checked)
    };
    let clients = join_all((0..CLIENTS).map(|_| write()));
    let (_, (cut_bytes, torn, checked)) = tokio::join!(clients, lose);
    let total = answered.borrow().len();
    Ok(format!(
        "{rounds} losses while {total} wakes were answered: {cut_bytes} bytes cut off, {torn} blocks torn; every store opened and was sound, {checked} of {checked} answered wakes there"
    ))
}

/// File and log as they are while the server stands still.
fn copied(source: &Server, answered: &RefCell<Vec<String>>) -> Copy {
    signal(source.pid(), Signal::STOP);
    // Its threads stop within the kernel's next moment; none of them runs once all are shown as stopped.
    while !stands(source.pid()) {
        std::thread::yield_now();
    }
    let store = source.path().join("wakeful.db");
    let read = |name: &str| fs::read(source.path().join(name)).unwrap_or_default();
    let copy = Copy { file: fs::read(&store).unwrap(), log: read("wakeful.db-wal"), answered: answered.borrow().len() };
    signal(source.pid(), Signal::CONT);
    copy
}

fn stands(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

/// A server opens this store; all of these wakeups are in it.
async fn opens_with(file: &[u8], log: &[u8], wanted: &[String]) {
    let dir = tempfile::Builder::new().prefix("wakeful-power-").tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let store = data.join("wakeful.db");
    fs::write(&store, file).unwrap();
    fs::write(data.join("wakeful.db-wal"), log).unwrap();
    let mut server = Server::start_in(dir, &[], &[]).await;
    server.assert_sound().await;
    server.stop().await;
    assert_eq!(missing(&store, wanted), Vec::<String>::new(), "answered, and not there");
    assert_eq!(damage(&store), "ok");
}

fn missing(store: &Path, wanted: &[String]) -> Vec<String> {
    let store = rusqlite::Connection::open(store).unwrap();
    let mut find = store.prepare("select 1 from wakeups where id = ?").unwrap();
    wanted.iter().filter(|id| !find.exists([id]).unwrap()).cloned().collect()
}

fn damage(store: &Path) -> String {
    let store = rusqlite::Connection::open(store).unwrap();
    store.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_lacks_what_was_answered_is_noticed() {
        let server = server(1, &[]).await;
        let agent = server.process_agent("ann", "true").await;
        let there = server.wake(&agent, json!({ "delay_ms": 3_600_000 })).await;
        let store = server.path().join("wakeful.db");
        let wanted = [there, "wak_none".to_owned()];
        assert_eq!(missing(&store, &wanted), ["wak_none"]);
        assert_eq!(damage(&store), "ok");
    }
}

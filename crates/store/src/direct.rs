//! SQLite driven in the caller's own thread: one operation is one transaction, and the caller says what becomes of its
//! commit. For the simulator, for tests that must be the same every time, and for a file that nobody else has, as a copy that is
//! being restored: its connection is closed when this is dropped. A server writes through [`crate::Db`].
//!
//! Invariant: nothing here decides anything by time, chance or thread, so the same calls leave the same rows.

use std::path::Path;

use crate::sqlite::{IN_MEMORY, SqliteTx, control, guarded};
use crate::{Error, Operation, Refusal, Tx};

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// It is carried out, and the caller hears of it.
    Kept,
    /// It never happens: nothing is kept, the caller gets an error.
    Lost,
    /// It is carried out, but the caller gets an error all the same and cannot know.
    Unanswered,
}

/// An SQLite store of one thread.
#[derive(Debug)]
pub struct Direct {
    tx: Tx,
}

impl Direct {
    /// A store that is gone with this value.
    pub fn in_memory() -> Result<Direct, Error> {
        Direct::open(Path::new(IN_MEMORY))
    }

    /// Opens the file, makes it if need be, and brings the schema up to date.
    pub fn open(path: &Path) -> Result<Direct, Error> {
        Ok(Direct { tx: Tx::Sqlite(SqliteTx::open(path)?) })
    }

    /// Runs `operation` in a transaction of its own. A refusal leaves no trace, whatever `commit` says.
    pub fn write<A, T>(
        &mut self,
        name: &'static str,
        arguments: &A,
        operation: Operation<A, T>,
        commit: Commit,
    ) -> Result<T, Refusal> {
        control(&mut self.tx, "begin immediate")?;
        let result = guarded(name, &mut self.tx, arguments, operation);
        if result.is_err() || commit == Commit::Lost {
            control(&mut self.tx, "rollback")?;
        } else {
            control(&mut self.tx, "commit")?;
        }
        match commit {
            Commit::Kept => result,
            Commit::Lost | Commit::Unanswered => result.and(Err(no_answer().into())),
        }
    }

    /// Runs `operation` and takes back whatever it wrote.
    pub fn read<A, T>(&mut self, name: &'static str, arguments: &A, operation: Operation<A, T>) -> Result<T, Refusal> {
        control(&mut self.tx, "begin")?;
        let result = guarded(name, &mut self.tx, arguments, operation);
        control(&mut self.tx, "rollback")?;
        result
    }
}

fn no_answer() -> Error {
    Error::Engine { what: "commit", source_text: "the answer was withheld on purpose".into(), is_retryable: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::meta;

    fn write(store: &mut Direct, value: &str, commit: Commit) -> Result<(), Refusal> {
        let arguments = value.to_owned();
        store.write("put", &arguments, |tx, value| Box::pin(meta::put(tx, "k", value)), commit)
    }

    fn kept(store: &mut Direct) -> Option<String> {
        store.read("get", &(), |tx, ()| Box::pin(meta::get(tx, "k"))).unwrap()
    }

    #[test]
    fn a_lost_commit_leaves_nothing_and_an_unanswered_one_is_kept() {
        let mut store = Direct::in_memory().unwrap();
        write(&mut store, "one", Commit::Kept).unwrap();
        assert!(write(&mut store, "two", Commit::Lost).is_err());
        assert_eq!(kept(&mut store).as_deref(), Some("one"));
        assert!(write(&mut store, "three", Commit::Unanswered).is_err());
        assert_eq!(kept(&mut store).as_deref(), Some("three"));
    }
}

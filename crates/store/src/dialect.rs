//! Everything that differs between the engines' SQL, in one file. Statements are written for
//! PostgreSQL (`$1`) with these fragments:
//! - `{skip_locked}`: at the end of a query that picks work;
//! - `{for_update}`: at the end of a query whose row is about to be changed;
//! - `{committed}`: a condition on `events` that hides rows a cursor could overtake;
//! - `{store_bytes}`: what stands behind `select` for the size of the store;
//! - `{behind_cursor}`: a condition on `events`: behind the place that $2 (transaction) and $3 (row) name;
//! - `{event_order}`: the order of that place. SQLite has one writer, so the row alone gives it;
//! - `{in_list}`: behind a column: it is one of the texts in the JSON list $2;
//! - `{ilike}`: `like` in either case, with a pattern of [`containing`]: of letters outside ASCII, SQLite knows no case;
//! - `{count_events}`: a statement after which the numbers of events are counted, though there was none so far;
//! - `{leave_room_for_events}`: a statement after which events get numbers that no store gave before, nor the one that has
//!   come up to $1. A cursor of PostgreSQL begins with the transaction, so its numbers may stay.

use std::collections::HashMap;

/// The statement as SQLite takes it.
pub fn sqlite(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut letters = sql.chars().peekable();
    while let Some(letter) = letters.next() {
        let numbered = letter == '$' && letters.peek().is_some_and(char::is_ascii_digit);
        text.push(if numbered { '?' } else { letter });
    }
    // One writer: whatever it reads is locked already.
    text.replace("{skip_locked}", "")
        .replace("{for_update}", "")
        .replace("{committed}", "1 = 1")
        .replace("{behind_cursor}", "seq > ?3 and ?2 >= 0")
        .replace("{store_bytes}", "page_count * page_size from pragma_page_count(), pragma_page_size()")
        .replace("{event_order}", "seq")
        .replace("{in_list}", "in (select value from json_each(?2))")
        .replace("{ilike}", "like")
        .replace(
            "{leave_room_for_events}",
            "update sqlite_sequence set seq = ((max(seq, ?1) >> 32) + 1) << 32 where name = 'events'",
        )
        .replace(
            "{count_events}",
            "insert into sqlite_sequence (name, seq) select 'events', 0 \
             where not exists (select 1 from sqlite_sequence where name = 'events')",
        )
}

/// The statement as PostgreSQL takes it.
pub fn postgres(sql: &str) -> String {
    sql.replace("{skip_locked}", "for update skip locked")
        .replace("{for_update}", "for update")
        .replace("{store_bytes}", "pg_database_size(current_database())")
        .replace("{behind_cursor}", "(txid > $2 or (txid = $2 and seq > $3))")
        .replace("{event_order}", "txid, seq")
        .replace("{in_list}", "= any(array(select json_array_elements_text($2::text::json)))")
        .replace("{ilike}", "ilike")
        .replace("{leave_room_for_events}", "select $1::bigint")
        .replace("{count_events}", "select 1")
        .replace("{committed}", "events.txid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
}

/// The pattern of texts that hold this one, for `{ilike} … escape '\'`.
pub fn containing(text: &str) -> String {
    format!("%{}%", escaped(text))
}

/// The pattern of texts that begin with this one.
pub fn beginning(text: &str) -> String {
    format!("{}%", escaped(text))
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}

/// The engine a migration is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// The migration without the lines of the other engine.
pub fn migration(sql: &str, engine: Engine) -> String {
    let foreign = match engine {
        Engine::Sqlite => "-- postgres",
        Engine::Postgres => "-- sqlite",
    };
    sql.lines().filter(|line| !line.trim_end().ends_with(foreign)).collect::<Vec<_>>().join("\n")
}

/// Translations of the statements seen so far. Nearly all statements are constants, so this stays small.
#[derive(Debug, Default)]
pub struct Translations {
    known: HashMap<String, String>,
}

/// Statements with generated text (filters) are few; beyond this the cache starts afresh.
const TRANSLATIONS_MAX: usize = 1_000;

impl Translations {
    /// The statement in the engine's own text.
    pub fn of(&mut self, sql: &str, translate: fn(&str) -> String) -> &str {
        if self.known.len() >= TRANSLATIONS_MAX && !self.known.contains_key(sql) {
            self.known.clear();
        }
        if !self.known.contains_key(sql) {
            self.known.insert(sql.to_owned(), translate(sql));
        }
        &self.known[sql]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_serves_both_engines() {
        let sql = "select a from t where b = $1 and {committed} {skip_locked}";
        assert_eq!(sqlite(sql), "select a from t where b = ?1 and 1 = 1 ");
        assert!(postgres(sql).ends_with("for update skip locked"));
    }

    #[test]
    fn a_pattern_takes_a_text_as_it_is() {
        assert_eq!(containing(r"50%_\"), r"%50\%\_\\%");
        assert_eq!(beginning("T-1"), "T-1%");
    }

    #[test]
    fn a_migration_keeps_only_its_engines_lines() {
        let sql = "a -- sqlite\nb -- postgres\nc";
        assert_eq!(migration(sql, Engine::Sqlite), "a -- sqlite\nc");
        assert_eq!(migration(sql, Engine::Postgres), "b -- postgres\nc");
    }
}

//! Lists with filters and cursors: the one place where a statement's text is put together.

use std::time::Duration;

use wakeful_domain::id::{Id, Kind};
use wakeful_domain::time::Timestamp;

use crate::{Error, Row, Tx, Value};

/// An id is made a moment before or after its row gets its time, and goes on from where it was if the clock goes back.
const SLACK: Duration = Duration::from_secs(3_600);

/// A list under construction: conditions are added, then one page is read, newest first.
#[derive(Debug)]
pub struct List {
    sql: String,
    values: Vec<Value<'static>>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The id to go on after, if there is more.
    pub next_cursor: Option<String>,
}

impl List {
    /// A list of `columns` of `table`.
    pub fn of(columns: &str, table: &str) -> List {
        List { sql: format!("select {columns} from {table} where 1 = 1"), values: Vec::new() }
    }

    /// Adds a condition. `condition` holds `$` where the value goes.
    pub fn and(mut self, condition: &str, value: impl Into<Value<'static>>) -> List {
        self.values.push(value.into());
        let placeholder = format!("${}", self.values.len());
        self.sql.push_str(" and ");
        self.sql.push_str(&condition.replace('$', &placeholder));
        self
    }

    /// Adds a condition if there is a value for it.
    pub fn and_if(self, condition: &str, value: Option<impl Into<Value<'static>>>) -> List {
        match value {
            Some(value) => self.and(condition, value),
            None => self,
        }
    }

    /// Adds a condition without a value, if it is wanted.
    pub fn and_when(mut self, condition: &str, is_wanted: bool) -> List {
        if is_wanted {
            self.sql.push_str(" and ");
            self.sql.push_str(condition);
        }
        self
    }

    /// Adds the condition that a row has this status, written out: an index of some statuses is used only if the statement says
    /// which one it asks for.
    pub fn of_status(self, status: &'static str) -> List {
        self.and_when(&format!("status = '{status}'"), true)
    }

    /// Keeps what was made from `since` on and before `until`, as `column` says. The ids say nearly the same, so that only
    /// that part of an index is looked at.
    pub fn in_time<K: Kind>(self, column: &str, since: Option<Timestamp>, until: Option<Timestamp>) -> List {
        let first = |at: Timestamp| Id::<K>::first_of(at);
        self.and_if(&format!("{column} >= $"), since)
            .and_if("id >= $", since.map(|since| first(since - SLACK)))
            .and_if(&format!("{column} < $"), until)
            .and_if("id < $", until.map(|until| first(until + SLACK)))
    }

    /// Reads one page, ordered by id from the newest.
    pub async fn page<T>(
        self,
        tx: &mut Tx,
        cursor: Option<String>,
        limit: i64,
        read: fn(Row) -> Result<T, Error>,
        id_of: fn(&T) -> String,
    ) -> Result<Page<T>, Error> {
        let mut list = self.and_if("id < $", cursor);
        list.values.push(Value::Int(limit + 1));
        let sql = format!("{} order by id desc limit ${}", list.sql, list.values.len());
        let mut items = Vec::new();
        for row in tx.query(&sql, &list.values).await? {
            items.push(read(row)?);
        }
        let has_more = items.len() as i64 > limit;
        items.truncate(usize::try_from(limit).unwrap_or(0));
        let next_cursor = items.last().filter(|_| has_more).map(id_of);
        Ok(Page { items, next_cursor })
    }
}

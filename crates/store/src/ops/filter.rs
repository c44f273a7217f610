//! Lists with filters and cursors: the one place where a statement's text is put together.

use crate::{Error, Row, Tx, Value};

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

//! What stands around every page: where one can go, how the server stands, who is looking.

use serde::Deserialize;

use crate::assets;
use crate::call::query;
use crate::failure::Failure;
use crate::pieces::Icon;
use crate::said::{Said, said};
use crate::seen::{Attention, Company, List, Standing};
use crate::visit::Visit;

/// More than this needs a person: "99+".
const COUNTED_MAX: usize = 99;
/// How far back the inbox looks for what has failed for good, and for slots that were missed.
pub const LOOKS_BACK_DAYS: i64 = 7;

/// Pages, by group, each with its title; its name is that of its path and its picture.
const PAGES: &[(&str, &[(&str, &str)])] = &[
    ("Watch", &[("inbox", "Inbox"), ("now", "Now"), ("runs", "Runs"), ("wakes", "Wakes"), ("timeline", "Timeline")]),
    (
        "Arrange",
        &[
            ("agents", "Agents"),
            ("tasks", "Tasks"),
            ("schedules", "Schedules"),
            ("subscriptions", "Subscriptions"),
            ("mail", "Mail"),
        ],
    ),
    (
        "Look after",
        &[("costs", "Costs"), ("notifications", "Notifications"), ("settings", "Settings"), ("health", "Health")],
    ),
];

/// What stands around a page.
#[derive(Debug)]
pub struct Frame {
    pub title: String,
    /// The page that is open, by its name in [`PAGES`].
    pub page: &'static str,
    pub company: Company,
    pub companies: Vec<Company>,
    /// `admin`, `operator` or `viewer`.
    pub role: String,
    /// The events behind which this page was made.
    pub cursor: String,
    /// First words of the events that change the page.
    pub live: &'static str,
    /// The run that the page is about, if it is about one.
    pub run: String,
    pub standing: Standing,
    /// When the scheduler last went round.
    pub tick_at: String,
    /// What needs a person, as the inbox lists it.
    pub attention: Attention,
    pub theme: &'static str,
}

#[derive(Debug, Deserialize)]
struct Me {
    kind: String,
    role: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Latest {
    id: String,
}

impl Frame {
    /// Around the page `page`, which changes with events whose type begins with one of the words in `live`.
    pub async fn around(visit: &Visit, page: &'static str, live: &'static str) -> Result<Frame, Failure> {
        let calls = &visit.calls;
        // First, so that whatever happens while the page is made comes by the stream.
        let latest: Latest = calls.get(&visit.of_company("events/latest")).await?;
        let me: Me = calls.get("/me").await?;
        let company: Company = calls.get(&format!("/companies/{}", visit.company)).await?;
        let companies: List<Company> = calls.get("/companies?limit=200").await?;
        let standing: Standing = calls.get("/standing").await?;
        let now = wakeful_engine::clock::now().to_jiff();
        let since = looks_back(now);
        let attention: Attention =
            calls.get(&visit.of_company(&format!("attention{}", query(&[("since", &since)])))).await?;
        let tick_at = now.checked_sub(jiff::SignedDuration::from_millis(standing.tick_age_ms as i64)).unwrap_or(now);
        Ok(Frame {
            title: String::new(),
            page,
            company,
            companies: companies.items,
            role: me.role.unwrap_or(me.kind),
            cursor: latest.id,
            live,
            run: String::new(),
            standing,
            tick_at: format!("{tick_at:.3}"),
            attention,
            theme: visit.theme,
        })
    }

    /// With the title of the page.
    pub fn titled(self, title: impl Into<String>) -> Frame {
        Frame { title: title.into(), ..self }
    }

    /// The path of a page of this company.
    pub fn path(&self, rest: &str) -> String {
        format!("/c/{}/{rest}", self.company.slug)
    }

    /// The path of the API below this company, for forms.
    pub fn api(&self, rest: &str) -> String {
        format!("/api/v1/companies/{}/{rest}", self.company.slug)
    }

    pub fn groups(&self) -> &'static [(&'static str, &'static [(&'static str, &'static str)])] {
        PAGES
    }

    pub fn asset(&self, name: &str) -> String {
        assets::url(name)
    }

    pub fn scripts(&self) -> &'static [&'static str] {
        assets::SCRIPTS
    }

    pub fn icon<'a>(&self, name: &'a str) -> Icon<'a> {
        Icon(name)
    }

    /// A sentence of the server with commands, times and ids marked up.
    pub fn said<'a>(&'a self, text: &'a str) -> Said<'a> {
        said(text, &self.company.slug)
    }

    pub fn needs_me(&self) -> usize {
        self.attention.count()
    }

    pub fn badge(&self) -> String {
        let count = self.needs_me();
        if count > COUNTED_MAX { "99+".into() } else { count.to_string() }
    }
}

/// From when on the inbox shows what failed and was missed.
pub fn looks_back(now: jiff::Timestamp) -> String {
    let length = jiff::SignedDuration::from_hours(24 * LOOKS_BACK_DAYS);
    now.checked_sub(length).unwrap_or(now).to_string()
}

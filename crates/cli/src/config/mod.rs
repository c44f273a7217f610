//! `wakeful.toml`: the settings of the server; companies, agents, schedules and channels, declared. [`document`] reads
//! it, [`declared`] says what it means and what is wrong with it, [`settings`] what the server is to be like, [`plan`]
//! what would change, [`apply`] changes it; [`schema`] describes it, [`beginning`] writes a first one.
//!
//! What is kept of an object is what was declared, not how it stands: what a person has changed by hand since
//! then, switched off above all, stays as it is until the declaration itself changes.

pub mod apply;
pub mod beginning;
pub mod declared;
pub mod document;
pub mod plan;
pub mod schema;
pub mod settings;

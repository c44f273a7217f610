//! `wakeful.toml`: companies, agents, schedules and channels, declared. [`document`] reads it, [`declared`] says what
//! it means and what is wrong with it, [`plan`] what would change, [`apply`] changes it.
//!
//! What is kept of an object is what was declared, not how it stands: what a person has changed by hand since
//! then, switched off above all, stays as it is until the declaration itself changes.

pub mod apply;
pub mod declared;
pub mod document;
pub mod plan;

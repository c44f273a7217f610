//! Verbs of tokens, described.

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Subcommand)]
pub enum TokenVerb {
    /// Give a token of the company; its value is printed this once
    Add(TokenAddArguments),
    /// List the tokens that are good
    Ls,
    /// Revoke a token at once
    Rm {
        /// Its name or id
        token: String,
    },
}

#[derive(Debug, Clone, Args)]
pub struct TokenAddArguments {
    /// What is done with it is recorded under this name
    pub name: String,
    /// admin (all, tokens as well), operator (all else) or viewer (reading)
    #[arg(long, value_name = "ROLE", value_parser = ["admin", "operator", "viewer"], required_unless_present = "agent")]
    pub role: Option<String>,
    /// Name or id of the agent that it is a key of, in place of a role
    #[arg(long, conflicts_with = "role")]
    pub agent: Option<String>,
    /// Print the value alone, without a word about it
    #[arg(short, long)]
    pub quiet: bool,
}

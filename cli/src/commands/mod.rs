//! One module per command.

pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod completions;
pub(crate) mod correct;
pub(crate) mod demo;
mod demo_page;
pub(crate) mod embed;
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod man;
pub(crate) mod model;
pub(crate) mod publish;
mod release_at;
pub(crate) mod search;
mod server_args;
mod table_args;
pub(crate) mod update;
pub(crate) mod verify;

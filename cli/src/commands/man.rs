//! `magpie man`

use std::path::PathBuf;

use crate::failure::{CommandFailure, Result};

/// Print the manual page, or write the pages of all commands to a folder
#[derive(clap::Args)]
#[command(after_help = "Examples: magpie man | man -l -\nmagpie man --out ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// Folder to write the pages to: one for magpie and one for each command
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, command: clap::Command) -> Result<()> {
    let Some(folder) = &args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map_err(|e| CommandFailure::new(e.to_string()))?;
        out!("{}", String::from_utf8_lossy(&page));
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(|e| CommandFailure::io(folder, e))?;
    clap_mangen::generate_to(command, folder).map_err(|e| CommandFailure::io(folder, e))
}

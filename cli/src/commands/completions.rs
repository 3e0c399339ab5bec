//! `magpie completions`

use clap_complete::Shell;

use crate::failure::Result;

/// Print the completions of a shell
#[derive(clap::Args)]
#[command(after_help = "Examples: magpie completions bash > ~/.local/share/bash-completion/completions/magpie\n\
    magpie completions zsh > ~/.zfunc/_magpie\n\
    magpie completions fish > ~/.config/fish/completions/magpie.fish")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, mut command: clap::Command) -> Result<()> {
    // Into memory first: the generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "magpie", &mut script);
    out!("{}", String::from_utf8_lossy(&script));
    Ok(())
}

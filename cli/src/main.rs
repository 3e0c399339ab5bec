//! The `magpie` command: builds, searches and measures catalogues for Magpie, the visual search engine that runs on the
//! phone.

// Standard output may be closed or full: see `console`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod console;

mod assets;
mod catalog;
mod commands;
mod embedding;
mod evaluation;
mod failure;
mod logger;
mod npy;
mod output;
mod publishing;
mod release_source;
mod results_page;
mod server_client;
mod shard_build;
mod thumbnail;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::CommandFailure;

/// Visual search that runs on the phone: build catalogues, search them with photos, measure speed and quality
#[derive(Parser)]
#[command(name = "magpie", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 success, 1 failure, 2 bad usage or filter, 3 bad photo, 4 bad model pack, 5 bad shard.\
    \n\n\
    Start with: magpie demo"
)]
struct Args {
    /// Log details to standard error
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(commands::demo::Args),
    Build(commands::build::Args),
    Publish(commands::publish::Args),
    Update(commands::update::Args),
    #[command(subcommand)]
    Key(commands::key::KeyCommand),
    Search(commands::search::Args),
    Correct(commands::correct::Args),
    Embed(commands::embed::Args),
    Eval(commands::eval::Args),
    Inspect(commands::inspect::Args),
    Verify(commands::verify::Args),
    #[command(subcommand)]
    Model(commands::model::ModelCommand),
    Bench(commands::bench::Args),
    Completions(commands::completions::Args),
    Man(commands::man::Args),
}

fn main() -> ExitCode {
    // Looked for by hand: where the options are wrong, there is no parsed value to ask.
    let json = std::env::args_os().any(|arg| arg == "--json");
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if json && error.use_stderr() => return fail(CommandFailure::of_usage(&error), json),
        Err(error) => error.exit(),
    };
    logger::init(args.verbose);
    let result = match &args.command {
        Command::Demo(args) => commands::demo::run(args),
        Command::Build(args) => commands::build::run(args),
        Command::Publish(args) => commands::publish::run(args),
        Command::Update(args) => commands::update::run(args),
        Command::Key(task) => commands::key::run(task),
        Command::Search(args) => commands::search::run(args),
        Command::Correct(args) => commands::correct::run(args),
        Command::Embed(args) => commands::embed::run(args),
        Command::Eval(args) => commands::eval::run(args),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::Verify(args) => commands::verify::run(args),
        Command::Model(task) => commands::model::run(task),
        Command::Bench(args) => commands::bench::run(args),
        Command::Completions(args) => commands::completions::run(args, Args::command()),
        Command::Man(args) => commands::man::run(args, Args::command()),
    };
    let written = console::finish().map_err(|e| CommandFailure::new(format!("cannot write the output: {e}")));
    match result.and(written) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(failure, json),
    }
}

/// Reports a failure on standard error, as a line of JSON if the result was to be JSON.
fn fail(failure: CommandFailure, json: bool) -> ExitCode {
    if json {
        errln!("{}", output::failure(&failure));
        return ExitCode::from(failure.code);
    }
    let CommandFailure { message, hint, code } = failure;
    errln!("magpie: {}", console::printable(&message));
    if let Some(hint) = hint {
        errln!("  {hint}");
    }
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_shows_an_example() {
        let command = Args::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("magpie {}", sub.get_name())), "{}", sub.get_name());
        }
    }
}

//! The full catalogue over HTTP. Not there yet: it only checks that a shard can be opened without the network host.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("magpie-server: not there yet; 'magpie-server SHARD' opens a shard and says what it holds");
        return ExitCode::from(2);
    };
    match magpie_core::shard::Shard::open(path) {
        Ok(shard) => {
            println!("{}: {} listings", shard.catalog(), shard.header().listing_count);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("magpie-server: {error}");
            ExitCode::FAILURE
        }
    }
}

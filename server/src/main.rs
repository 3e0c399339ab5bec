//! `magpie-server`: serves a catalogue over HTTP.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use magpie_server::{Args, Embedded, Engine, Server, Settings, Stop};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let args = Args::parse();
    if args.openapi {
        print!("{}", magpie_server::document());
        return ExitCode::SUCCESS;
    }
    let outcome = args.settings().and_then(|settings| {
        log(&settings);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(serve(settings))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("magpie-server: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn log(settings: &Settings) {
    let colours = std::io::stderr().is_terminal();
    let to = tracing_subscriber::fmt().with_max_level(settings.log).with_writer(std::io::stderr);
    let to = to.with_target(false).with_ansi(colours);
    if settings.log_json { to.json().flatten_event(true).init() } else { to.init() }
}

async fn serve(settings: Settings) -> Result<(), String> {
    let (shards, verify, threads, wait) =
        (settings.shards.clone(), settings.verify, settings.threads, settings.max_wait);
    let engine = Arc::new(Embedded::open(shards, verify, threads, wait)?);
    let status = engine.status();
    if settings.tokens.is_none() {
        tracing::warn!("no tokens are given: everyone may ask");
    }
    let (server, stop) = Server::bind(settings, engine).await?;
    let address = server.address().map_err(|e| e.to_string())?;
    if let Some(status) = status {
        tracing::info!(%address, catalog = status.catalog, listings = status.listings, shards = status.shards, "serving");
    }
    tokio::spawn(signals(stop)?);
    server.run().await;
    Ok(())
}

/// SIGHUP reads shards and tokens again; SIGTERM and SIGINT end the server.
fn signals(stop: Stop) -> Result<impl Future<Output = ()>, String> {
    let catch = |kind| signal(kind).map_err(|e| format!("signals cannot be caught: {e}"));
    let (mut hangup, mut terminate, mut interrupt) =
        (catch(SignalKind::hangup())?, catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    Ok(async move {
        loop {
            tokio::select! {
                _ = hangup.recv() => stop.reload().await,
                _ = terminate.recv() => break stop.stop(),
                _ = interrupt.recv() => break stop.stop(),
            }
        }
    })
}

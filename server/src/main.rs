//! `magpie-server`: serves a catalogue over HTTP.

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use magpie_server::{
    Args, Cluster, Command, Embedded, LoadArgs, LoadOptions, OpenSearch, SearchBackend, Server, Settings, Stop,
};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let args = Args::parse();
    if args.openapi {
        print!("{}", magpie_server::document());
        return ExitCode::SUCCESS;
    }
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string());
    let outcome = match &args.command {
        Some(Command::Load(load)) => runtime().and_then(|runtime| runtime.block_on(self::load(load))),
        None => args.settings().and_then(|settings| {
            let _log = magpie_server::start_log(&settings);
            runtime()?.block_on(serve(settings))
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("magpie-server: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> Result<(), String> {
    let backend: Arc<dyn SearchBackend> = if settings.opensearch.is_empty() {
        let (shards, verify, threads) = (settings.shards.clone(), settings.verify, settings.threads);
        Arc::new(Embedded::open(shards, verify, threads, settings.max_wait)?)
    } else {
        let cluster = Cluster::new(&settings.opensearch)?;
        let (index, places) = (settings.index.clone(), settings.engine_searches);
        Arc::new(OpenSearch::open(cluster, index, places, settings.max_wait).await?)
    };
    let status = backend.status();
    if settings.tokens.is_none() {
        tracing::warn!("no tokens are configured: the API is open to everyone");
    }
    let (server, stop) = Server::bind(settings, backend).await?;
    let address = server.address().map_err(|e| e.to_string())?;
    if let Some(admin) = server.admin_address().map_err(|e| e.to_string())? {
        tracing::info!(%admin, "monitoring");
    }
    if let Some(status) = status {
        tracing::info!(%address, catalog = status.catalog, listings = status.listings, shards = status.shards, "serving");
    }
    tokio::spawn(signals(stop)?);
    server.run().await;
    Ok(())
}

async fn load(args: &LoadArgs) -> Result<(), String> {
    let options = LoadOptions {
        alias: args.index.clone(),
        shards: args.index_shards,
        replicas: args.index_replicas,
        merge: args.merge,
        patience: Duration::from_secs(args.patience.max(1)),
    };
    let cluster = Arc::new(Cluster::new(&args.opensearch)?);
    let begun = Instant::now();
    let seconds = Cell::new(0);
    let progress = |listings| {
        let now = begun.elapsed().as_secs();
        if seconds.replace(now) != now {
            eprintln!("{listings} listings");
        }
    };
    let done = magpie_server::load(cluster, &args.catalog, &options, progress).await?;
    println!(
        "{}: {} listings, {} photos in {:.1} s",
        done.index,
        done.listings,
        done.photos,
        begun.elapsed().as_secs_f64()
    );
    println!(
        "{} listings resumed, {} batches pushed back, {} requests retried",
        done.resumed, done.pushed_back, done.retries
    );
    Ok(())
}

/// SIGHUP reloads shards and tokens; SIGTERM and SIGINT stop the server.
fn signals(stop: Stop) -> Result<impl Future<Output = ()>, String> {
    let catch = |kind| signal(kind).map_err(|e| format!("cannot install a signal handler: {e}"));
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

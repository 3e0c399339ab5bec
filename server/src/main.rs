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
    if args.hash_token {
        return hash_token();
    }
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string());
    let outcome = match &args.command {
        Some(Command::Load(load)) => runtime().and_then(|runtime| runtime.block_on(self::load(load))),
        None => args.settings().and_then(|settings| {
            if args.check_config {
                return runtime()?.block_on(check(settings));
            }
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

/// Hashes a token for the token file. It comes from standard input, where neither a process list nor a shell's history
/// shows it.
fn hash_token() -> ExitCode {
    let mut token = String::new();
    let read = std::io::stdin().read_line(&mut token).map_err(|e| e.to_string());
    match read.and_then(|_| magpie_server::hash_token(token.trim())) {
        Ok(hash) => {
            println!("{hash}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("magpie-server: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Does all that a start does, apart from answering requests.
async fn check(mut settings: Settings) -> Result<(), String> {
    // The ports may be in use by the server that this configuration is for.
    settings.listen.set_port(0);
    settings.admin_listen.iter_mut().for_each(|address| address.set_port(0));
    let backend = open(&settings).await?;
    let status = backend.status();
    Server::bind(settings, backend).await?;
    if let Some(status) = status {
        println!(
            "this configuration works: publication {} of '{}', {} listings, {} photos, model {}",
            status.sequence, status.catalog, status.listings, status.photos, status.model_id
        );
    }
    Ok(())
}

async fn open(settings: &Settings) -> Result<Arc<dyn SearchBackend>, String> {
    Ok(if settings.opensearch.is_empty() {
        Arc::new(Embedded::of(settings)?)
    } else {
        let cluster = Cluster::new(&settings.opensearch)?;
        let (index, places) = (settings.index.clone(), settings.engine_searches);
        Arc::new(OpenSearch::open(cluster, index, places, settings.max_wait).await?)
    })
}

async fn serve(settings: Settings) -> Result<(), String> {
    let backend = open(&settings).await?;
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

/// SIGHUP reloads the catalogue and the tokens; SIGTERM and SIGINT stop the server.
fn signals(stop: Stop) -> Result<impl Future<Output = ()>, String> {
    let catch = |kind| signal(kind).map_err(|e| format!("cannot install a signal handler: {e}"));
    let (mut hangup, mut terminate, mut interrupt) =
        (catch(SignalKind::hangup())?, catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    Ok(async move {
        loop {
            tokio::select! {
                // A signal to stop must not wait for it.
                _ = hangup.recv() => {
                    let reloading = stop.clone();
                    tokio::spawn(async move { reloading.reload().await });
                }
                _ = terminate.recv() => break stop.stop(),
                _ = interrupt.recv() => break stop.stop(),
            }
        }
    })
}

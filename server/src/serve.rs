//! Accepting connections, reloading catalogues, and graceful shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower_http::add_extension::AddExtension;

use crate::api::{PageRoutes, admin_routes, routes};
use crate::backend::{SearchBackend, Status};
use crate::downloads::MOST_DOWNLOADS;
use crate::guard::Tokens;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::state::ServerState;

/// Limit on the time to receive the head of each HTTP/1 request, and the interval of HTTP/2 keep-alive pings.
const HEAD: Duration = Duration::from_secs(30);
/// Limit on the time until the first byte of a connection. Clients connect to send a request; connections that stay silent
/// keep others out once `max_connections` are open.
const FIRST_BYTE: Duration = Duration::from_secs(5);
/// Connections of the listener for monitoring.
pub(crate) const ADMIN_CONNECTIONS: usize = 64;

/// A bound server. It accepts connections once [`Server::run`] is called.
pub struct Server {
    listener: TcpListener,
    admin: Option<TcpListener>,
    app: Router,
    shared: Arc<ServerState>,
    stop: watch::Receiver<bool>,
}

/// A handle that stops or reloads a server.
#[derive(Clone)]
pub struct Stop {
    stop: watch::Sender<bool>,
    shared: Arc<ServerState>,
}

impl Stop {
    /// Stops the server gracefully: it keeps accepting for the linger time, then finishes the requests in flight.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Reloads the catalogue and the tokens. Whichever of them cannot be used keeps its old state.
    pub async fn reload(&self) {
        // The reasons are in the log.
        let _ = reload_catalog(&self.shared).await;
    }
}

impl Server {
    /// Binds the listen address and reads the token file.
    ///
    /// # Errors
    /// Why the address, the token file or the page's model cannot be used.
    pub async fn bind(settings: Settings, backend: Arc<dyn SearchBackend>) -> Result<(Server, Stop), String> {
        let tokens = match &settings.tokens {
            Some(path) => Tokens::read(path, settings.rate, settings.burst, settings.search_cost)?,
            None => Tokens::open(),
        };
        let listener = listen(settings.listen).await?;
        let admin = match settings.admin_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let metrics = Metrics::new(backend.as_ref());
        metrics.connections_limit.set(i64::try_from(settings.max_connections).unwrap_or(i64::MAX));
        if let Some(status) = backend.status() {
            metrics.catalog(&status);
        }
        let places = Semaphore::new(settings.max_in_flight);
        let downloads = Arc::new(Semaphore::new(MOST_DOWNLOADS));
        let (reload_failed, leaving) = (AtomicBool::new(false), AtomicBool::new(false));
        let reloading = tokio::sync::Mutex::default();
        let shared = Arc::new(ServerState {
            backend,
            tokens,
            metrics,
            settings,
            places,
            downloads,
            reloading,
            reload_failed,
            leaving,
        });
        let app = routes(Arc::clone(&shared), page_routes(&shared)?);
        let (send, stop) = watch::channel(false);
        Ok((Server { listener, admin, app, shared: Arc::clone(&shared), stop }, Stop { stop: send, shared }))
    }

    /// The address it listens on, with the actual port if the settings say port 0.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address that monitoring has for itself, if the settings name one.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn admin_address(&self) -> std::io::Result<Option<SocketAddr>> {
        self.admin.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// Serves until it is stopped, and returns when it has shut down.
    pub async fn run(self) {
        let Server { listener, admin, app, shared, mut stop } = self;
        let monitoring = admin.map(|admin| tokio::spawn(serve_admin(admin, Arc::clone(&shared))));
        let watcher = tokio::spawn(watch_shards(Arc::clone(&shared)));
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(shared.settings.max_connections));
        let builder = builder();
        let leave = async {
            // An error means that all senders are dropped: nothing can stop the server any more.
            let _ = stop.wait_for(|stop| *stop).await;
            shared.leaving.store(true, Ordering::Relaxed);
            tracing::info!("stopping");
            // Load balancers need a moment to see /readyz fail before connections are refused.
            sleep(shared.settings.linger).await;
        };
        tokio::pin!(leave);
        let serve = |(stream, peer, place): (TcpStream, Peer, OwnedSemaphorePermit)| {
            let (builder, watcher, service) = (builder.clone(), graceful.watcher(), app.clone());
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                shared.metrics.connections.inc();
                if has_begun(&stream).await {
                    let service = TowerToHyperService::new(AddExtension::new(service, peer));
                    let connection = builder.serve_connection(TokioIo::new(stream), service);
                    // A broken connection is the client's problem.
                    let _ = watcher.watch(connection.into_owned()).await;
                }
                shared.metrics.connections.dec();
                drop(place);
            });
        };
        loop {
            tokio::select! {
                biased;
                () = &mut leave => break,
                accepted = accept(&listener, &places) => {
                    if let Some(accepted) = accepted {
                        serve(accepted);
                    }
                }
            }
        }
        // Those that wait for `accept` may have sent a request already.
        while let Ok(Some(accepted)) = timeout(Duration::ZERO, accept(&listener, &places)).await {
            serve(accepted);
        }
        drop(listener);
        watcher.abort();
        if timeout(shared.settings.drain, graceful.shutdown()).await.is_err() {
            tracing::warn!("the drain time is over with requests still in flight");
        }
        // Monitoring sees the server until its end.
        if let Some(monitoring) = monitoring {
            monitoring.abort();
        }
    }
}

#[cfg(feature = "page")]
fn page_routes(shared: &Arc<ServerState>) -> Result<PageRoutes, String> {
    let Some(pack) = &shared.settings.page else { return Ok(PageRoutes::default()) };
    let status = shared.backend.status().ok_or("the page needs a catalogue, and none is loaded")?;
    Ok(crate::page::Page::load(pack, status.model_id, Arc::clone(shared))?.routes())
}

#[cfg(not(feature = "page"))]
fn page_routes(_: &Arc<ServerState>) -> Result<PageRoutes, String> {
    Ok(PageRoutes::default())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|e| format!("{address}: {e}"))
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD).max_concurrent_streams(64);
    builder
}

/// Waits for the first byte of a connection.
async fn has_begun(stream: &TcpStream) -> bool {
    // Not `readable`, which may return without any byte.
    matches!(timeout(FIRST_BYTE, stream.peek(&mut [0])).await, Ok(Ok(1)))
}

/// Serves monitoring on a listener of its own, whose connections clients cannot use up.
async fn serve_admin(listener: TcpListener, shared: Arc<ServerState>) {
    let (app, places, builder) = (admin_routes(shared), Arc::new(Semaphore::new(ADMIN_CONNECTIONS)), builder());
    loop {
        let Some((stream, _, place)) = accept(&listener, &places).await else { continue };
        let (builder, service) = (builder.clone(), TowerToHyperService::new(app.clone()));
        tokio::spawn(async move {
            if has_begun(&stream).await {
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            }
            drop(place);
        });
    }
}

/// The address at the other end of a connection: an extension of its requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Waits for a free connection slot, then accepts the next connection.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Responses are small and complete: Nagle's algorithm would only delay them.
            let _ = stream.set_nodelay(true);
            Some((stream, Peer(peer), place))
        }
        Err(error) => {
            // Usually too many open files: pause until some are closed.
            tracing::warn!(%error, "cannot accept a connection");
            sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn watch_shards(shared: Arc<ServerState>) {
    let every = shared.settings.watch;
    if every.is_zero() {
        return;
    }
    loop {
        sleep(every).await;
        let backend = Arc::clone(&shared.backend);
        let outdated = tokio::task::spawn_blocking(move || backend.is_outdated()).await.unwrap_or(false);
        if outdated {
            // The reasons are in the log.
            let _ = reload_catalog(&shared).await;
        }
    }
}

/// Reloads the catalogue and the tokens; returns what became of the catalogue.
pub(crate) async fn reload_catalog(shared: &Arc<ServerState>) -> Result<Status, String> {
    // One after the other: the tokens and the metrics are those of the last one, too.
    let _turn = shared.reloading.lock().await;
    let backend = Arc::clone(&shared.backend);
    // Opening reads files, or waits for the cluster.
    let opened = tokio::task::spawn_blocking(move || backend.reload()).await;
    let opened = opened.unwrap_or_else(|e| Err(e.to_string()));
    match &opened {
        Ok(status) => {
            shared.metrics.catalog(status);
            tracing::info!(sequence = status.sequence, listings = status.listings, "switched to a new catalogue");
        }
        Err(fault) => tracing::error!(fault, "the new catalogue cannot be used; the old one stays"),
    }
    shared.metrics.reload(opened.is_ok());
    shared.reload_failed.store(opened.is_err(), Ordering::Relaxed);
    if let Some(path) = &shared.settings.tokens {
        let read = tokio::task::spawn_blocking({
            let path = path.clone();
            move || std::fs::read_to_string(path)
        });
        let text = read.await.map_err(|e| e.to_string()).and_then(|text| text.map_err(|e| e.to_string()));
        if let Err(fault) = text.and_then(|text| shared.tokens.replace(&text)) {
            tracing::error!(fault, "the new tokens cannot be used; the old ones stay");
        }
    }
    opened
}

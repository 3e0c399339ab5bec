//! A real OpenSearch cluster: three nodes with a heap of 512 MB, each in its own process, which a test can kill.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

const NODES: usize = 3;

/// The cluster of this process. It ends with the process: a node exits when its standard input is closed.
pub(crate) struct Nodes {
    folder: tempfile::TempDir,
    http: Vec<u16>,
    transport: Vec<u16>,
    running: Vec<Option<Child>>,
}

impl Nodes {
    /// Locks the cluster for one test, with all nodes running.
    pub(crate) fn all() -> MutexGuard<'static, Nodes> {
        static NODES: OnceLock<Mutex<Nodes>> = OnceLock::new();
        let mut nodes = NODES.get_or_init(|| Mutex::new(Nodes::new())).lock().unwrap_or_else(PoisonError::into_inner);
        nodes.start();
        nodes
    }

    fn new() -> Nodes {
        // All ports are held until the last is chosen, so that they differ.
        let ports: Vec<TcpListener> = (0..2 * NODES).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let mut ports: Vec<u16> = ports.iter().map(|port| port.local_addr().unwrap().port()).collect();
        let transport = ports.split_off(NODES);
        let running = (0..NODES).map(|_| None).collect();
        Nodes { folder: tempfile::tempdir().unwrap(), http: ports, transport, running }
    }

    /// Starts the nodes that are not running, and waits until the cluster is healthy.
    pub(crate) fn start(&mut self) {
        for at in 0..NODES {
            if self.running[at].is_none() {
                self.running[at] = Some(self.spawn(at));
            }
        }
        let path = format!("/_cluster/health?wait_for_nodes={NODES}&wait_for_status=green&timeout=5s");
        let end = Instant::now() + Duration::from_secs(180);
        while self.get(0, &path).is_none_or(|health| health["timed_out"] == true) {
            for at in 0..NODES {
                let ended = self.running[at].as_mut().and_then(|child| child.try_wait().unwrap());
                assert!(ended.is_none(), "node {at} exited: {}", self.log(at));
            }
            assert!(Instant::now() < end, "the cluster is not healthy after three minutes: {}", self.log(0));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn spawn(&self, at: usize) -> Child {
        let built = built();
        let home = self.folder.path().join(format!("node-{at}"));
        std::fs::create_dir_all(&home).unwrap();
        let log = std::fs::File::create(home.join("log")).unwrap();
        let names: Vec<String> = (0..NODES).map(|at| format!("node-{at}")).collect();
        let seeds: Vec<String> = self.transport.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let jars = ["classes", "lib/*", "knn/*"].map(|part| built.join(part).display().to_string()).join(":");
        let mut java = Command::new("java");
        java.args(["-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-Dlog4j2.disable.jmx=true", "-cp", &jars]);
        java.arg("magpie.OpenSearchNode");
        for (key, value) in [
            ("cluster.name", "magpie-tests".to_owned()),
            ("node.name", names[at].clone()),
            ("path.home", home.display().to_string()),
            ("network.host", "127.0.0.1".to_owned()),
            ("http.port", self.http[at].to_string()),
            ("transport.port", self.transport[at].to_string()),
            ("http.type", "netty4".to_owned()),
            ("transport.type", "netty4".to_owned()),
            ("discovery.seed_hosts", seeds.join(",")),
            ("cluster.initial_cluster_manager_nodes", names.join(",")),
            // A nearly full disk must not fail the tests.
            ("cluster.routing.allocation.disk.threshold_enabled", "false".to_owned()),
        ] {
            java.arg(format!("{key}={value}"));
        }
        java.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).spawn().expect("Java 17")
    }

    /// Kills a node, without a shutdown.
    pub(crate) fn kill(&mut self, at: usize) {
        let mut child = self.running[at].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The addresses of all nodes, whether running or not.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.http.iter().map(|port| format!("http://127.0.0.1:{port}")).collect()
    }

    /// Sends a GET request to a node; `None` if it does not answer with JSON.
    pub(crate) fn get(&self, at: usize, path: &str) -> Option<Value> {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30)));
        let agent: ureq::Agent = config.http_status_as_error(false).build().into();
        let text = agent.get(format!("{}{path}", self.urls()[at])).call().ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str(&text).ok()
    }

    fn log(&self, at: usize) -> String {
        let mut text = String::new();
        let log = std::fs::File::open(self.folder.path().join(format!("node-{at}/log")));
        let _ = log.and_then(|mut log| log.read_to_string(&mut text));
        text.chars().take(3000).collect()
    }
}

/// The folder of what `cargo xtask test --engine opensearch` downloads and compiles.
fn built() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/opensearch");
    assert!(path.join("classes/magpie").is_dir(), "run these tests with: cargo xtask test --engine opensearch");
    path
}

// The network state that the system reports. Not compiled on Linux.

#if canImport(Network)
import Dispatch
import Network

/// Reports the phone's current network. Keep one instance for the lifetime of the app: until the system's first report,
/// a moment after the initialiser, the network counts as offline.
///
/// ```swift
/// let monitor = ConnectivityMonitor()
/// let results = try await engine.search(photo: photo, server: shop, asking: AskOptions(monitor.connectivity))
/// ```
public final class ConnectivityMonitor: @unchecked Sendable {
    // Thread-safe.
    private let monitor = NWPathMonitor()

    /// Starts monitoring.
    public init() {
        monitor.start(queue: DispatchQueue(label: "magpie.connectivity"))
    }

    deinit {
        monitor.cancel()
    }

    /// The current network. A network connection does not guarantee that the server can be reached.
    public var connectivity: Connectivity {
        Connectivity(monitor.currentPath)
    }
}

extension Connectivity {
    /// Classifies a path: cellular data, hotspots and Low Data Mode count as metered.
    public init(_ path: NWPath) {
        self =
            switch path.status {
            case .satisfied: path.isExpensive || path.isConstrained ? .metered : .unmetered
            default: .offline
            }
    }
}
#endif

// What the system says of the network. Not compiled on Linux.

#if canImport(Network)
import Dispatch
import Network

/// Says what the phone can reach. Keep one as long as the app runs: the first answer of the system comes a moment after
/// it was made, until when there seems to be no network.
///
/// ```swift
/// let monitor = ConnectivityMonitor()
/// let results = try await engine.search(photo: photo, server: shop, asking: AskOptions(monitor.connectivity))
/// ```
public final class ConnectivityMonitor: @unchecked Sendable {
    // Safe to be asked from any thread.
    private let monitor = NWPathMonitor()

    /// Begins to watch.
    public init() {
        monitor.start(queue: DispatchQueue(label: "magpie.connectivity"))
    }

    deinit {
        monitor.cancel()
    }

    /// What can be reached now. That a network is there does not mean that the server can be reached.
    public var connectivity: Connectivity {
        Connectivity(monitor.currentPath)
    }
}

extension Connectivity {
    /// What a path says: cellular data, hotspots and Low Data Mode count as metered.
    public init(_ path: NWPath) {
        self =
            switch path.status {
            case .satisfied: path.isExpensive || path.isConstrained ? .metered : .unmetered
            default: .offline
            }
    }
}
#endif

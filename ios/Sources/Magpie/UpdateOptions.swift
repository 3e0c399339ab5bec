import Foundation
internal import MagpieGenerated

/// The publisher's public keys that an app pins.
///
/// ```swift
/// let trust = Trust(keys: ["1f0c…"])  // the contents of shop.key.pub
/// ```
public struct Trust: Sendable, Hashable {
    /// The keys, 64 hexadecimal digits each.
    public var keys: [String]
    /// How many of them have to have signed.
    public var threshold: Int

    /// Trusts these keys, or those that replaced them.
    public init(keys: [String], threshold: Int = 1) {
        self.keys = keys
        self.threshold = threshold
    }
}

/// How to update a ``Catalog``.
///
/// ```swift
/// var options = UpdateOptions(model: modelFolder)
/// options.connectivity = { monitor.connectivity }
/// options.mostMeteredBytes = 5_000_000
/// ```
public struct UpdateOptions: Sendable {
    /// The app's own model pack: a release of another model has to bring its pack. Nil takes any model.
    public var model: URL?
    /// The catalogue's name; nil for the one that is installed, and for any while none is.
    public var name: String?
    /// A shard that comes with the app: if the release needs this very file, it is copied, not downloaded.
    public var bundled: URL?
    /// The network now, asked before each piece of a file.
    public var connectivity: @Sendable () -> Connectivity
    /// The largest download on a metered network, in bytes; a larger one is postponed.
    public var mostMeteredBytes: Int
    /// Free space that an update leaves, in bytes.
    public var keepFree: Int
    /// Reads what is installed, and downloads again what is damaged.
    public var repair: Bool
    /// Bytes that one request asks for, at least 1: what a broken connection loses at most. A server without ranges
    /// sends the whole file, which may then have 64 MiB.
    public var pieceBytes: Int
    /// How long a request for one piece may take. After a timeout, smaller pieces are asked for.
    public var patience: Duration
    /// Tells whether a release has expired. Replace it if the app knows the time better than the phone.
    public var now: @Sendable () -> Date

    /// Creates options; each has a default.
    public init(
        model: URL? = nil, name: String? = nil, bundled: URL? = nil,
        connectivity: @escaping @Sendable () -> Connectivity = { .unmetered }, mostMeteredBytes: Int = .max,
        keepFree: Int = 32 << 20, repair: Bool = false, pieceBytes: Int = 1 << 20,
        patience: Duration = .seconds(60), now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.model = model
        self.name = name
        self.bundled = bundled
        self.connectivity = connectivity
        self.mostMeteredBytes = mostMeteredBytes
        self.keepFree = keepFree
        self.repair = repair
        self.pieceBytes = pieceBytes
        self.patience = patience
        self.now = now
    }
}

/// What has become of an update.
public enum UpdateProgress: Sendable, Hashable {
    /// Files are being downloaded: the bytes that this update has received, and those that it has to receive. What
    /// earlier ones have received is not counted.
    case downloading(received: Int, total: Int)
    /// The update has ended. `isNew` is false if this was installed before. Pass it on with
    /// ``Engine/replaceCatalog(with:)``.
    case installed(InstalledCatalog, isNew: Bool)
    /// The update has ended without effect: there is no network, or it is metered and more has to be downloaded than
    /// the options allow. What was received is kept. `bytes` are left to download; 0 if that is not known.
    case postponed(bytes: Int)
}

extension Trust {
    func generatedThreshold() throws(MagpieError) -> UInt32 { try validated(threshold, "threshold") }
}

extension UpdateOptions {
    /// Reads the files of the app's model.
    func generated(_ trust: Trust) throws -> MagpieGenerated.UpdateOptions {
        guard pieceBytes >= 1, keepFree >= 0, mostMeteredBytes >= 0, patience > .zero else {
            throw MagpieError.request(reason: "the update's options have a number that is too small")
        }
        if let name { _ = try validated(name) }
        let model = try model.map { try modelId(modelFolder: try validated($0.path)) }
        return MagpieGenerated.UpdateOptions(
            trustedKeys: trust.keys, threshold: try trust.generatedThreshold(), catalog: name, modelId: model,
            bundledCatalog: try validated(path: bundled), repair: repair)
    }
}

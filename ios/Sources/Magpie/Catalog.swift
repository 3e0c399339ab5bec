import Foundation
internal import MagpieGenerated

/// A folder in which a catalogue is installed, and kept up to date from a publisher's signed releases.
///
/// ```swift
/// let catalog = try await Catalog.open(at: folder)
/// let options = UpdateOptions(model: modelFolder, connectivity: { monitor.connectivity }, mostMeteredBytes: 5_000_000)
/// for try await progress in catalog.update(from: server, trust: Trust(keys: [key]), options: options) {
///     switch progress {
///     case .downloading(let received, let total): show(received, total)
///     case .installed: try await engine.replaceCatalog(with: catalog)
///     case .postponed(let bytes): waitForWiFi(bytes)
///     }
/// }
/// ```
///
/// Whatever fails, and whenever the process ends, the old catalogue is installed or the new one, whole. Any number of
/// objects and processes may use the same folder; one of them updates it at a time. Engines keep searching meanwhile.
public final class Catalog: Sendable {
    /// The folder.
    public let folder: URL

    let store: MagpieGenerated.CatalogStore
    private let calls: Calls
    private let latest = Locked<Task<Void, Never>?>(nil)

    private init(_ folder: URL, _ store: MagpieGenerated.CatalogStore, _ calls: Calls) {
        self.folder = folder
        self.store = store
        self.calls = calls
    }

    /// Opens a folder for one catalogue and nothing else. Creates it if it does not exist. On Apple's systems, excludes
    /// it from backups, which would bring back an old catalogue, and protects its files until the device is unlocked
    /// for the first time, so that updates in the background can read them.
    ///
    /// - Parameter folder: For example a folder in the app's Application Support folder, or in that of an app group.
    /// - Throws: ``MagpieError/file(reason:)`` if the folder cannot be created.
    public static func open(at folder: URL) async throws(MagpieError) -> Catalog {
        let (path, calls) = (try validated(folder.path), Calls(width: 2))
        return try await calls.run { _ in
            do {
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
                #if canImport(Darwin)
                try protect(folder)
                #endif
            } catch {
                throw MagpieError.file(reason: "\(path): \(error)")
            }
            return Catalog(folder, CatalogStore.at(folder: path), calls)
        }
    }

    /// What is installed, or nil. Reads one small file.
    ///
    /// - Throws: ``MagpieError/catalog(reason:)`` if something else has changed the files: update with
    ///   ``UpdateOptions/repair``.
    public var current: InstalledCatalog? {
        get async throws(MagpieError) {
            let store = store
            return try await calls.run { _ in try store.current().map(InstalledCatalog.init) }
        }
    }

    /// Reads every byte of what is installed and compares it with the publisher's manifest. With `trust`, also checks
    /// the signatures again.
    ///
    /// - Throws: ``MagpieError/catalog(reason:)`` if it is damaged, or nothing is installed: update with
    ///   ``UpdateOptions/repair``. ``MagpieError/untrusted(reason:)`` if too few of the keys have signed it.
    @discardableResult
    public func verify(trust: Trust? = nil) async throws(MagpieError) -> InstalledCatalog {
        let (store, keys, threshold) = (store, trust?.keys ?? [], try trust?.generatedThreshold() ?? 1)
        return try await calls.run { _ in
            InstalledCatalog(try store.verify(trustedKeys: keys, threshold: threshold))
        }
    }

    /// Updates to what a server publishes now. The sequence ends with ``UpdateProgress/installed(_:isNew:)`` or
    /// ``UpdateProgress/postponed(bytes:)``; a slow reader misses some of what comes before.
    ///
    /// The update starts immediately and stops when iteration ends. What was received is kept: the next update goes on
    /// from there, also in another process. Only what is missing is downloaded, in pieces. A request that brings nothing
    /// is sent three times.
    ///
    /// Errors are ``MagpieError``s: ``MagpieError/untrusted(reason:)`` if the release is not signed by the publisher,
    /// ``MagpieError/outdated(reason:)`` if it has expired or a later one was seen before,
    /// ``MagpieError/notForThisApp(reason:)`` if it is another catalogue, or for another model and without its pack,
    /// ``MagpieError/download(reason:)`` if the server cannot be reached or sends something else than the release,
    /// ``MagpieError/noSpace(reason:)`` before the first byte if there is too little space,
    /// ``MagpieError/busy(reason:)`` while another update of this folder is under way,
    /// ``MagpieError/catalog(reason:)`` or ``MagpieError/model(reason:)`` if the release cannot be opened; it is not
    /// installed then.
    public func update(
        from server: ReleaseServer, trust: Trust, options: UpdateOptions = UpdateOptions()
    ) -> AsyncThrowingStream<UpdateProgress, any Error> {
        start(server, trust, options).progress
    }

    /// As ``update(from:trust:options:)``. The task ends when the folder is unlocked, also if iteration was given up.
    func start(
        _ server: ReleaseServer, _ trust: Trust, _ options: UpdateOptions
    ) -> (progress: AsyncThrowingStream<UpdateProgress, any Error>, task: Task<Void, Never>) {
        let (progress, feed) = AsyncThrowingStream.makeStream(
            of: UpdateProgress.self, throwing: (any Error).self, bufferingPolicy: .bufferingNewest(1))
        let before = latest.value
        let task = Task {
            await Self.end(of: before)
            do {
                feed.yield(try await self.perform(server, trust, options) { feed.yield($0) })
                feed.finish()
            } catch {
                feed.finish(throwing: error)
            }
        }
        latest.set(task)
        feed.onTermination = { _ in task.cancel() }
        return (progress, task)
    }

    /// Waits for an update that was given up: it may hold the folder's lock for another moment.
    private static func end(of before: Task<Void, Never>?) async {
        if let before, before.isCancelled { await before.value }
    }

    /// Returns the first file that an update would download; nil if there is none. An app can download it in a way of its
    /// own, such as with a `URLSession` in the background, and let the update find it with ``DownloadedFiles``.
    ///
    /// - Throws: As ``update(from:trust:options:)``.
    public func nextFile(
        from server: ReleaseServer, trust: Trust, options: UpdateOptions = UpdateOptions()
    ) async throws(MagpieError) -> ReleaseFile? {
        await Self.end(of: latest.value)
        let updating = try await begin(server, trust, options) { _ in }
        defer { updating.update.end() }
        _ = try await updating.begin()
        guard let fetch = try await updating.next() else { return nil }
        return ReleaseFile(url: try server.url(fetch.path), name: fetch.hash, bytes: Int(clamping: fetch.bytes))
    }

    private func perform(
        _ server: ReleaseServer, _ trust: Trust, _ options: UpdateOptions,
        _ emit: @escaping @Sendable (UpdateProgress) -> Void
    ) async throws(MagpieError) -> UpdateProgress {
        var updating = try await begin(server, trust, options, emit)
        // Unlocks the folder.
        defer { updating.update.end() }
        return try await updating.run(free: freeBytes)
    }

    private func begin(
        _ server: ReleaseServer, _ trust: Trust, _ options: UpdateOptions,
        _ emit: @escaping @Sendable (UpdateProgress) -> Void
    ) async throws(MagpieError) -> Updating {
        let store = store
        let update = try await calls.run { _ in try store.update(options: try options.generated(trust)) }
        let requests = ReleaseRequests(server: server, patience: options.patience)
        return Updating(update, calls: calls, options: options, requests: requests, emit: emit)
    }

    /// Free space in bytes; nil if the system does not tell.
    @Sendable private func freeBytes() -> Int? {
        #if canImport(Darwin)
        return Self.freeBytes(at: folder)
        #else
        let attributes = try? FileManager.default.attributesOfFileSystem(forPath: folder.path)
        switch attributes?[.systemFreeSize] {
        case let free as NSNumber: return free.intValue
        case let free as UInt64: return Int(clamping: free)
        default: return nil
        }
        #endif
    }
}

/// A catalogue that is installed.
public struct InstalledCatalog: Sendable, Hashable {
    /// Name of the catalogue.
    public let name: String
    /// Publication number: each publication has a higher one than those before.
    public let sequence: UInt64
    /// When it was signed.
    public let issued: Date
    /// When it expires. An expired catalogue still opens; whether to show it is up to the app.
    public let expires: Date
    /// The model that it was built with: 64 hexadecimal digits.
    public let modelID: String
    /// Whether the model pack came with it, so that the app's own is not needed.
    public let hasPack: Bool
    /// Number of deltas besides its base.
    public let deltas: Int

    /// Creates a description, for example for an app's tests.
    public init(
        name: String, sequence: UInt64, issued: Date = .distantPast, expires: Date = .distantFuture,
        modelID: String = "", hasPack: Bool = false, deltas: Int = 0
    ) {
        self.name = name
        self.sequence = sequence
        self.issued = issued
        self.expires = expires
        self.modelID = modelID
        self.hasPack = hasPack
        self.deltas = deltas
    }

    init(_ installed: MagpieGenerated.InstalledCatalog) {
        self.init(
            name: installed.catalog, sequence: installed.sequence,
            issued: Date(timeIntervalSince1970: TimeInterval(installed.issued)),
            expires: Date(timeIntervalSince1970: TimeInterval(installed.expires)), modelID: installed.modelId,
            hasPack: installed.hasPack, deltas: Int(installed.deltas))
    }
}

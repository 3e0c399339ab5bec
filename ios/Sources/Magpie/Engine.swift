import Foundation
internal import MagpieGenerated

/// A model and a catalogue built with it: finds the listings most similar to a photo, on the device.
///
/// Any number of tasks may use an engine at the same time. Calls do not block the threads that tasks share, and throw
/// ``MagpieError/cancelled`` soon after their task is cancelled. An engine takes memory: open one and keep it.
///
/// ```swift
/// let engine = try await Engine.open(model: modelFolder, catalog: catalogFile)
/// let results = try await engine.search(photo: jpeg)
/// for listing in results.listings {
///     print(listing.score, listing["title"] ?? listing.id)
/// }
/// ```
public final class Engine: Sendable {
    /// The opened model and catalogue; other ones after ``replaceCatalog(with:)``.
    public var info: EngineInfo { searched.value.info }
    /// The installed catalogue that is searched; nil for one that was opened as a file, or came with the app.
    public var installed: InstalledCatalog? { searched.value.installed }

    private let calls: Calls
    private let opened: Locked<MagpieGenerated.Engine?>
    private let searched: Locked<Searched>

    private init(_ engine: MagpieGenerated.Engine, calls: Calls) {
        self.calls = calls
        opened = Locked(engine)
        searched = Locked(Searched(engine))
    }

    private struct Searched: Sendable {
        let info: EngineInfo
        let installed: InstalledCatalog?

        init(_ engine: MagpieGenerated.Engine) {
            info = EngineInfo(engine.info())
            installed = engine.installed().map(InstalledCatalog.init)
        }
    }

    /// Opens a model pack and a catalogue. Reads the model's files and maps the catalogue into memory.
    ///
    /// - Parameters:
    ///   - model: Folder of the model pack: `manifest.json` and the network that it names.
    ///   - catalog: The catalogue shard. Do not modify the file while it is open; to replace it, rename a new file.
    ///   - options: How to open them.
    /// - Throws: ``MagpieError/file(reason:)`` if a file cannot be read, ``MagpieError/model(reason:)`` or
    ///   ``MagpieError/catalog(reason:)`` if one is invalid or the catalogue was built with another model.
    public static func open(
        model: URL, catalog: URL, options: OpenOptions = OpenOptions()
    ) async throws(MagpieError) -> Engine {
        let generated = MagpieGenerated.OpenOptions(
            modelFolder: try validated(model.path), catalogFile: try validated(catalog.path),
            threads: try validated(options.threads, "threads"), inMemory: options.inMemory)
        let calls = Calls(width: options.concurrentCalls)
        return try await calls.run { _ in
            Engine(try MagpieGenerated.Engine.open(options: generated), calls: calls)
        }
    }

    /// Opens what is installed in a folder, with the model pack that came with it or else the app's.
    ///
    /// - Parameters:
    ///   - model: Folder of the app's model pack.
    ///   - catalog: The folder in which the catalogue is installed.
    ///   - bundled: A shard that comes with the app. It is searched while nothing is installed, or only a catalogue for
    ///     the model of an earlier version of the app, or a damaged one.
    ///   - options: How to open them. The catalogue is always mapped into memory.
    /// - Throws: Without a bundled catalogue, ``MagpieError/catalog(reason:)`` if nothing is installed or it is damaged,
    ///   ``MagpieError/otherModel(reason:)`` if it is for another model than the app's; otherwise as with a file.
    public static func open(
        model: URL, catalog: Catalog, bundled: URL? = nil, options: OpenOptions = OpenOptions()
    ) async throws(MagpieError) -> Engine {
        let generated = MagpieGenerated.InstalledOptions(
            modelFolder: try validated(model.path), bundledCatalog: try validated(path: bundled),
            threads: try validated(options.threads, "threads"))
        let calls = Calls(width: options.concurrentCalls)
        let store = catalog.store
        return try await calls.run { _ in
            Engine(try MagpieGenerated.Engine.openInstalled(store: store, options: generated), calls: calls)
        }
    }

    /// Changes to what is installed in the folder now. Searches under way end on the catalogue before, and those that
    /// begin later use the new one; neither waits. After an error, the engine keeps the catalogue that it has.
    ///
    /// - Returns: What is searched from here on.
    /// - Throws: ``MagpieError/otherModel(reason:)`` if it is for another model than this engine's: open a new engine,
    ///   which takes both. ``MagpieError/catalog(reason:)`` if nothing is installed or it is damaged.
    @discardableResult
    public func replaceCatalog(with catalog: Catalog) async throws(MagpieError) -> InstalledCatalog {
        let (store, searched) = (catalog.store, searched)
        return try await run { engine, _ in
            let replaced = InstalledCatalog(try engine.replaceCatalog(store: store))
            searched.change { $0 = Searched(engine) }
            return replaced
        }
    }

    /// Verifies every section of a catalogue file: its checksum and the format's rules. Call it once after a download.
    /// Reads the whole file.
    ///
    /// - Throws: ``MagpieError/file(reason:)`` if the file cannot be read, ``MagpieError/catalog(reason:)`` if the
    ///   catalogue is damaged.
    public static func verify(catalog: URL) async throws(MagpieError) {
        let path = try validated(catalog.path)
        try await Calls(width: 1).run { _ in try verifyCatalog(file: path) }
    }

    /// Finds the listings most similar to a photo.
    ///
    /// - Parameters:
    ///   - photo: JPEG, PNG or WebP bytes. They are borrowed, not copied. Convert HEIC first.
    ///   - options: How many listings to find, which ones, and with which part of the photo.
    /// - Throws: ``MagpieError/photo(reason:)`` if the photo or the crop is invalid, ``MagpieError/request(reason:)``
    ///   if the filter is, ``MagpieError/catalog(reason:)`` if the catalogue is damaged.
    public func search(
        photo: Data, options: SearchOptions = SearchOptions()
    ) async throws(MagpieError) -> SearchResults {
        let (photo, options) = (try validated(photo), try options.generated())
        return try await run { engine, cancellation in
            SearchResults(try engine.searchPhoto(photo: photo, options: options, cancellation: cancellation))
        }
    }

    /// Finds the listings most similar to what a camera frame shows.
    ///
    /// - Parameters:
    ///   - frame: The frame. Its planes are borrowed, not copied. The crop is in pixels of the upright frame.
    ///   - options: How many listings to find, which ones, and with which part of the frame.
    /// - Throws: ``MagpieError/photo(reason:)`` if the planes do not match the frame's size and strides; otherwise as
    ///   for a photo.
    public func search(
        frame: Frame, options: SearchOptions = SearchOptions()
    ) async throws(MagpieError) -> SearchResults {
        let (planes, options) = (try Planes(frame), try options.generated())
        return try await run { engine, cancellation in
            SearchResults(
                try engine.searchFrame(
                    first: planes.first, second: planes.second, third: planes.third, layout: planes.layout,
                    options: options, cancellation: cancellation))
        }
    }

    /// Finds the listings most similar to one of the catalogue, which is left out. The crop is ignored.
    ///
    /// - Throws: ``MagpieError/request(reason:)`` if there is no such listing; otherwise as for a photo.
    public func moreLike(
        listing id: Listing.ID, options: SearchOptions = SearchOptions()
    ) async throws(MagpieError) -> [Listing] {
        let (id, options) = (try validated(id), try options.generated())
        return try await run { engine, cancellation in
            try engine.moreLike(listingId: id, options: options, cancellation: cancellation).map(Listing.init)
        }
    }

    /// Computes the embedding of a photo, for comparisons and tests. Searches do not need it.
    ///
    /// - Throws: ``MagpieError/photo(reason:)`` if the photo or the crop is invalid.
    public func embedding(of photo: Data, crop: Crop? = nil) async throws(MagpieError) -> Embedding {
        let (photo, options) = (try validated(photo), try SearchOptions(crop: crop).generated())
        return try await run { engine, cancellation in
            Embedding(try engine.embedPhoto(photo: photo, options: options, cancellation: cancellation))
        }
    }

    /// Computes the embedding of a camera frame; otherwise as for a photo.
    public func embedding(of frame: Frame, crop: Crop? = nil) async throws(MagpieError) -> Embedding {
        let (planes, options) = (try Planes(frame), try SearchOptions(crop: crop).generated())
        return try await run { engine, cancellation in
            Embedding(
                try engine.embedFrame(
                    first: planes.first, second: planes.second, third: planes.third, layout: planes.layout,
                    options: options, cancellation: cancellation))
        }
    }

    /// Returns the distinct words of a filter column, sorted, for example to offer them as chips. The list is empty if
    /// the column holds numbers.
    ///
    /// - Throws: ``MagpieError/request(reason:)`` if there is no such column.
    public func words(of column: String, atMost count: Int = 100) async throws(MagpieError) -> [String] {
        let (column, count) = (try validated(column), try validated(count, "count"))
        return try await run { engine, _ in try engine.words(column: column, most: count) }
    }

    /// Returns the thumbnail of a listing's photo as JPEG bytes, or nil if the catalogue has none of it.
    ///
    /// - Parameters:
    ///   - listing: A listing found by a search.
    ///   - photo: One of ``Listing/photos``; by default the photo that matched.
    /// - Throws: ``MagpieError/request(reason:)`` if there is no such listing, ``MagpieError/catalog(reason:)`` if the
    ///   catalogue is damaged.
    public func thumbnail(of listing: Listing, photo: String? = nil) async throws(MagpieError) -> Data? {
        try await thumbnail(ofListing: listing.id, photo: photo ?? listing.photo)
    }

    /// Returns the thumbnail of a photo by the listing's id and the photo's name, as ``thumbnail(of:photo:)`` does.
    public func thumbnail(ofListing id: Listing.ID, photo: String) async throws(MagpieError) -> Data? {
        let (id, photo) = (try validated(id), try validated(photo))
        return try await run { engine, _ in try engine.thumbnail(listingId: id, photo: photo) }
    }

    /// Searches `runs` times with a photo and measures how long each stage takes.
    ///
    /// - Throws: As a search does.
    public func benchmark(
        photo: Data, runs: Int = 50, options: SearchOptions = SearchOptions()
    ) async throws(MagpieError) -> Benchmark {
        let (photo, runs, options) = (try validated(photo), try validated(runs, "runs"), try options.generated())
        return try await run { engine, cancellation in
            Benchmark(
                try engine.benchmark(photo: photo, runs: runs, options: options, cancellation: cancellation))
        }
    }

    /// Closes the engine: calls from now on throw ``MagpieError/closed``. Running calls finish normally, and the last
    /// one frees the memory. An engine that is no longer referenced closes by itself.
    public func close() {
        opened.set(nil)
    }

    /// Runs a call on one of the engine's threads, unless it is closed.
    func run<Value: Sendable>(
        _ call: @escaping @Sendable (MagpieGenerated.Engine, Cancellation) throws -> Value
    ) async throws(MagpieError) -> Value {
        guard let engine = opened.value else { throw .closed }
        return try await calls.run { cancellation in try call(engine, cancellation) }
    }
}

/// Checks the size of a photo or plane: lengths cross as 32 bits. The size limit for photos is lower.
func validated(_ photo: Data) throws(MagpieError) -> Data {
    guard photo.count <= Int(Int32.max) else { throw .photo(reason: "\(photo.count) bytes are too many") }
    return photo
}

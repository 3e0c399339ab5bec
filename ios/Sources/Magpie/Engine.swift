import Foundation
internal import MagpieGenerated

/// A model and a catalogue that was built with it: finds the listings most like a photo, on the device.
///
/// Any number of tasks may use it at once. Calls block no thread that tasks share, and end with
/// ``MagpieError/cancelled`` soon after their task was cancelled. An engine costs memory: open one and keep it.
///
/// ```swift
/// let engine = try await Engine.open(model: modelFolder, catalog: catalogFile)
/// let results = try await engine.search(photo: jpeg)
/// for listing in results.listings {
///     print(listing.score, listing["title"] ?? listing.id)
/// }
/// ```
public final class Engine: Sendable {
    /// What was opened.
    public let info: EngineInfo

    private let calls: Calls
    private let opened: Locked<MagpieGenerated.Engine?>

    private init(_ engine: MagpieGenerated.Engine, calls: Calls) {
        info = EngineInfo(engine.info())
        self.calls = calls
        opened = Locked(engine)
    }

    /// Opens a model pack and a catalogue: reads the model's files, maps the catalogue.
    ///
    /// - Parameters:
    ///   - model: Folder of the model pack: `manifest.json` and the network that it names.
    ///   - catalog: The catalogue shard. It must not be changed while it is open; replace it by renaming a new file.
    ///   - options: How to open them.
    /// - Throws: ``MagpieError/file(reason:)`` where a file cannot be read, ``MagpieError/model(reason:)`` or
    ///   ``MagpieError/catalog(reason:)`` where one is of no use or the two do not belong together.
    public static func open(
        model: URL, catalog: URL, options: OpenOptions = OpenOptions()
    ) async throws(MagpieError) -> Engine {
        let generated = MagpieGenerated.OpenOptions(
            modelFolder: try crossing(model.path), catalogFile: try crossing(catalog.path),
            threads: try crossing(options.threads, "threads"), inMemory: options.inMemory)
        let calls = Calls(width: options.concurrentCalls)
        return try await calls.run { _ in
            Engine(try MagpieGenerated.Engine.open(options: generated), calls: calls)
        }
    }

    /// Checks every section of a catalogue file against its checksum and its rules: once, after a download. Reads all
    /// of the file.
    ///
    /// - Throws: ``MagpieError/file(reason:)`` where it cannot be read, ``MagpieError/catalog(reason:)`` where anything
    ///   is wrong.
    public static func verify(catalog: URL) async throws(MagpieError) {
        let path = try crossing(catalog.path)
        try await Calls(width: 1).run { _ in try verifyCatalog(file: path) }
    }

    /// Finds the listings most like a photo.
    ///
    /// - Parameters:
    ///   - photo: JPEG, PNG or WebP bytes; they are borrowed, not copied. Convert HEIC first.
    ///   - options: How many listings, which, and what part of the photo.
    /// - Throws: ``MagpieError/photo(reason:)`` where photo or crop is of no use, ``MagpieError/request(reason:)``
    ///   where the filter is, ``MagpieError/catalog(reason:)`` where the catalogue is damaged.
    public func search(
        photo: Data, options: SearchOptions = SearchOptions()
    ) async throws(MagpieError) -> SearchResults {
        let (photo, options) = (try crossing(photo), try options.generated())
        return try await run { engine, cancellation in
            SearchResults(try engine.searchPhoto(photo: photo, options: options, cancellation: cancellation))
        }
    }

    /// Finds the listings most like what a camera frame shows.
    ///
    /// - Parameters:
    ///   - frame: The frame; its planes are borrowed, not copied. The crop is in pixels of the upright frame.
    ///   - options: How many listings, which, and what part of the frame.
    /// - Throws: ``MagpieError/photo(reason:)`` where the planes do not fit the frame's numbers; else as for a photo.
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

    /// Finds the listings most like one of the catalogue, which is not among them. The crop does not matter.
    ///
    /// - Throws: ``MagpieError/request(reason:)`` where there is no such listing; else as for a photo.
    public func moreLike(
        listing id: Listing.ID, options: SearchOptions = SearchOptions()
    ) async throws(MagpieError) -> [Listing] {
        let (id, options) = (try crossing(id), try options.generated())
        return try await run { engine, cancellation in
            try engine.moreLike(listingId: id, options: options, cancellation: cancellation).map(Listing.init)
        }
    }

    /// The embedding of a photo, for comparisons and tests; searches do not need it.
    ///
    /// - Throws: ``MagpieError/photo(reason:)`` where photo or crop is of no use.
    public func embedding(of photo: Data, crop: Crop? = nil) async throws(MagpieError) -> Embedding {
        let (photo, options) = (try crossing(photo), try SearchOptions(crop: crop).generated())
        return try await run { engine, cancellation in
            Embedding(try engine.embedPhoto(photo: photo, options: options, cancellation: cancellation))
        }
    }

    /// The embedding of a camera frame; else as that of a photo.
    public func embedding(of frame: Frame, crop: Crop? = nil) async throws(MagpieError) -> Embedding {
        let (planes, options) = (try Planes(frame), try SearchOptions(crop: crop).generated())
        return try await run { engine, cancellation in
            Embedding(
                try engine.embedFrame(
                    first: planes.first, second: planes.second, third: planes.third, layout: planes.layout,
                    options: options, cancellation: cancellation))
        }
    }

    /// The words of a column that filters can name, in order: what chips can offer. None where it holds numbers.
    ///
    /// - Throws: ``MagpieError/request(reason:)`` where there is no such column.
    public func words(of column: String, atMost count: Int = 100) async throws(MagpieError) -> [String] {
        let (column, count) = (try crossing(column), try crossing(count, "count"))
        return try await run { engine, _ in try engine.words(column: column, most: count) }
    }

    /// The thumbnail of a listing's photo, as JPEG bytes; nil where the catalogue has none of it.
    ///
    /// - Parameters:
    ///   - listing: A listing that was found.
    ///   - photo: One of ``Listing/photos``; by default the one that was found.
    /// - Throws: ``MagpieError/request(reason:)`` where there is no such listing, ``MagpieError/catalog(reason:)`` where
    ///   the catalogue is damaged.
    public func thumbnail(of listing: Listing, photo: String? = nil) async throws(MagpieError) -> Data? {
        try await thumbnail(ofListing: listing.id, photo: photo ?? listing.photo)
    }

    /// The thumbnail of a photo, by the listing's id and the photo's name; else as ``thumbnail(of:photo:)``.
    public func thumbnail(ofListing id: Listing.ID, photo: String) async throws(MagpieError) -> Data? {
        let (id, photo) = (try crossing(id), try crossing(photo))
        return try await run { engine, _ in try engine.thumbnail(listingId: id, photo: photo) }
    }

    /// Searches `runs` times with a photo and says how long each stage took.
    ///
    /// - Throws: As a search.
    public func benchmark(
        photo: Data, runs: Int = 50, options: SearchOptions = SearchOptions()
    ) async throws(MagpieError) -> Benchmark {
        let (photo, runs, options) = (try crossing(photo), try crossing(runs, "runs"), try options.generated())
        return try await run { engine, cancellation in
            Benchmark(
                try engine.benchmark(photo: photo, runs: runs, options: options, cancellation: cancellation))
        }
    }

    /// Lets model and catalogue go: calls from now on throw ``MagpieError/closed``. Those under way end as if it had not
    /// been, and memory is freed after the last. An engine that nobody holds any more is closed by itself.
    public func close() {
        opened.set(nil)
    }

    /// Runs a call on a thread of the engine's own, unless it is closed.
    func run<Value: Sendable>(
        _ call: @escaping @Sendable (MagpieGenerated.Engine, Cancellation) throws -> Value
    ) async throws(MagpieError) -> Value {
        guard let engine = opened.value else { throw .closed }
        return try await calls.run { cancellation in try call(engine, cancellation) }
    }
}

/// Bytes as they cross: their length is 32 bits wide. No photo that is allowed has as many.
func crossing(_ photo: Data) throws(MagpieError) -> Data {
    guard photo.count <= Int(Int32.max) else { throw .photo(reason: "\(photo.count) bytes are too many") }
    return photo
}

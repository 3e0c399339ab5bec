import Foundation
internal import MagpieGenerated

/// How to open an ``Engine``, besides the model and the catalogue.
public struct OpenOptions: Sendable, Hashable {
    /// Number of threads for one run of the network. More than one helps networks with inputs of 224 pixels and more.
    public var threads: Int
    /// Reads the catalogue into memory instead of mapping it: needed if another process may shorten the file while it
    /// is open.
    public var inMemory: Bool
    /// The largest number of calls that run at the same time; further calls wait. Each running call takes a thread.
    public var concurrentCalls: Int

    /// Creates options; each has a default.
    public init(threads: Int = 1, inMemory: Bool = false, concurrentCalls: Int = 4) {
        self.threads = threads
        self.inMemory = inMemory
        self.concurrentCalls = concurrentCalls
    }
}

/// What to search for, besides the photo.
///
/// ```swift
/// var options = SearchOptions(count: 20, filter: Filter.Column("price") < 50)
/// options.crop = Crop(x: 120, y: 80, width: 600, height: 600)
/// options.atMost = .init(2, forEach: "shop")
/// ```
public struct SearchOptions: Sendable, Hashable {
    /// Number of listings to return, at most 10,000.
    public var count: Int
    /// Restricts the listings; nil for all.
    public var filter: Filter?
    /// The part of the photo that shows the object; nil for all of it.
    public var crop: Crop?
    /// The share of the true nearest photos that the search should find, 0 to 1; about 0.98 if nil.
    public var recall: Float?
    /// Leaves out listings with a lower cosine.
    public var minScore: Float?
    /// Leaves out a listing if the cosine between its photo and that of a better listing is at least this; 0.97 is
    /// about the same photo.
    public var nearDuplicates: Float?
    /// Returns at most a given number of listings per value of a column.
    public var atMost: Quota?

    /// A limit of listings per value of a column, such as two per shop.
    public struct Quota: Sendable, Hashable {
        /// The largest number of listings per value.
        public var count: Int
        /// A filter column of the catalogue.
        public var column: String

        /// Creates a limit of `count` listings per value of `column`.
        public init(_ count: Int, forEach column: String) {
            self.count = count
            self.column = column
        }
    }

    /// Creates options; each has a default.
    public init(
        count: Int = 10, filter: Filter? = nil, crop: Crop? = nil, recall: Float? = nil, minScore: Float? = nil,
        nearDuplicates: Float? = nil, atMost: Quota? = nil
    ) {
        self.count = count
        self.filter = filter
        self.crop = crop
        self.recall = recall
        self.minScore = minScore
        self.nearDuplicates = nearDuplicates
        self.atMost = atMost
    }
}

/// A part of the upright photo or frame, in pixels from the top left.
public struct Crop: Sendable, Hashable {
    /// Left edge.
    public var x: Int
    /// Top edge.
    public var y: Int
    /// Width, at least 1.
    public var width: Int
    /// Height, at least 1.
    public var height: Int

    /// Creates a crop.
    public init(x: Int, y: Int, width: Int, height: Int) {
        self.x = x
        self.y = y
        self.width = width
        self.height = height
    }
}

extension SearchOptions {
    /// Converts to the generated record; throws if a number is out of range.
    func generated() throws(MagpieError) -> MagpieGenerated.SearchOptions {
        MagpieGenerated.SearchOptions(
            k: try validated(count, "count"),
            filter: try filter.map { filter throws(MagpieError) in try validated(filter.description) },
            crop: try crop.map { crop throws(MagpieError) in try crop.generated() },
            recall: recall,
            minScore: minScore,
            nearDuplicates: nearDuplicates,
            group: try atMost.map { quota throws(MagpieError) in
                MagpieGenerated.Group(column: try validated(quota.column), most: try validated(quota.count, "count"))
            }
        )
    }
}

extension Crop {
    func generated() throws(MagpieError) -> MagpieGenerated.Crop {
        guard let x = UInt32(exactly: x), let y = UInt32(exactly: y),
            let width = UInt32(exactly: width), let height = UInt32(exactly: height)
        else { throw .photo(reason: "the crop \(self) does not lie in the photo") }
        return MagpieGenerated.Crop(x: x, y: y, width: width, height: height)
    }
}

/// Checks a count and converts it to 32 bits.
func validated(_ count: Int, _ name: String) throws(MagpieError) -> UInt32 {
    guard let count = UInt32(exactly: count) else { throw .request(reason: "invalid \(name): \(count)") }
    return count
}

/// Checks a text's length. The generated code crashes on a text of 2 GiB; no valid text is longer than this limit.
func validated(_ text: String) throws(MagpieError) -> String {
    guard text.utf8.count <= 1 << 20 else { throw .request(reason: "a text is longer than 1 MiB") }
    return text
}

/// Checks the length of a file's path, if there is one.
func validated(path file: URL?) throws(MagpieError) -> String? {
    guard let file else { return nil }
    return try validated(file.path)
}

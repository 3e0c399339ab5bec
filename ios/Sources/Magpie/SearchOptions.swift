internal import MagpieGenerated

/// What to open an ``Engine`` with beside the model and the catalogue.
public struct OpenOptions: Sendable, Hashable {
    /// Threads that work on one run of the network. More than one helps networks of 224 pixels and more.
    public var threads: Int
    /// Reads the catalogue into memory instead of mapping it: for a file that others may shorten meanwhile.
    public var inMemory: Bool
    /// Calls that may run at once; others wait for their turn. Each takes a thread while it runs.
    public var concurrentCalls: Int

    /// Options, each with its usual value.
    public init(threads: Int = 1, inMemory: Bool = false, concurrentCalls: Int = 4) {
        self.threads = threads
        self.inMemory = inMemory
        self.concurrentCalls = concurrentCalls
    }
}

/// What to search for beside the photo.
///
/// ```swift
/// var options = SearchOptions(count: 20, filter: Filter.Column("price") < 50)
/// options.crop = Crop(x: 120, y: 80, width: 600, height: 600)
/// options.atMost = .init(2, forEach: "shop")
/// ```
public struct SearchOptions: Sendable, Hashable {
    /// Listings wanted, at most 10,000.
    public var count: Int
    /// Which listings count; all by default.
    public var filter: Filter?
    /// The part that shows the thing; all by default.
    public var crop: Crop?
    /// The share of the nearest photos that the search should find, 0 to 1; about 0.98 by default.
    public var recall: Float?
    /// Listings below this cosine are left out.
    public var minScore: Float?
    /// Listings whose photo is this near, as a cosine, to that of a better one are left out; 0.97 is about the same
    /// photo.
    public var nearDuplicates: Float?
    /// At most so many listings for each value of a column.
    public var atMost: Quota?

    /// A number of listings for each value of a column: two for each shop.
    public struct Quota: Sendable, Hashable {
        /// Listings for each of the column's values.
        public var count: Int
        /// A column of the catalogue.
        public var column: String

        /// At most `count` listings for each value of `column`.
        public init(_ count: Int, forEach column: String) {
            self.count = count
            self.column = column
        }
    }

    /// Options, each with its usual value.
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

/// A part of the upright photo or frame, in its pixels, from the top left.
public struct Crop: Sendable, Hashable {
    /// Left edge.
    public var x: Int
    /// Top edge.
    public var y: Int
    /// Width, at least 1.
    public var width: Int
    /// Height, at least 1.
    public var height: Int

    /// The part with these edges.
    public init(x: Int, y: Int, width: Int, height: Int) {
        self.x = x
        self.y = y
        self.width = width
        self.height = height
    }
}

extension SearchOptions {
    /// The generated record; throws where a number is none that can cross.
    func generated() throws(MagpieError) -> MagpieGenerated.SearchOptions {
        MagpieGenerated.SearchOptions(
            k: try crossing(count, "count"),
            filter: try filter.map { filter throws(MagpieError) in try crossing(filter.description) },
            crop: try crop.map { crop throws(MagpieError) in try crop.generated() },
            recall: recall,
            minScore: minScore,
            nearDuplicates: nearDuplicates,
            group: try atMost.map { quota throws(MagpieError) in
                MagpieGenerated.Group(column: try crossing(quota.column), most: try crossing(quota.count, "count"))
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

/// A count as it crosses.
func crossing(_ count: Int, _ name: String) throws(MagpieError) -> UInt32 {
    guard let count = UInt32(exactly: count) else { throw .request(reason: "\(name) cannot be \(count)") }
    return count
}

/// A text as it crosses. The generated code ends the process over one of 2 GiB; none that is longer than this is of use.
func crossing(_ text: String) throws(MagpieError) -> String {
    guard text.utf8.count <= 1 << 20 else { throw .request(reason: "a text is longer than a million bytes") }
    return text
}

internal import MagpieGenerated

/// What an ``Engine`` has opened.
public struct EngineInfo: Sendable, Hashable {
    /// Version of this library.
    public let version: String
    /// Name of the model.
    public let model: String
    /// Identifies network and preprocessing: 64 hexadecimal digits.
    public let modelID: String
    /// Width of the network's input, in pixels.
    public let inputWidth: Int
    /// Height of the network's input, in pixels.
    public let inputHeight: Int
    /// The instruction set that the network uses.
    public let instructions: String
    /// Name of the catalogue.
    public let catalog: String
    /// Number of listings in the catalogue.
    public let listings: Int
    /// Number of photos in the catalogue.
    public let photos: Int
    /// Names of the listings' fields.
    public let fields: [String]
    /// Whether the catalogue contains thumbnails.
    public let hasThumbnails: Bool
    /// The columns that a filter can name.
    public let columns: [Column]
    /// How long opening took.
    public let openTime: Duration

    /// Creates a description, for example for an app's tests.
    public init(
        version: String = "", model: String = "", modelID: String = "", inputWidth: Int = 0, inputHeight: Int = 0,
        instructions: String = "", catalog: String = "", listings: Int = 0, photos: Int = 0, fields: [String] = [],
        hasThumbnails: Bool = false, columns: [Column] = [], openTime: Duration = .zero
    ) {
        self.version = version
        self.model = model
        self.modelID = modelID
        self.inputWidth = inputWidth
        self.inputHeight = inputHeight
        self.instructions = instructions
        self.catalog = catalog
        self.listings = listings
        self.photos = photos
        self.fields = fields
        self.hasThumbnails = hasThumbnails
        self.columns = columns
        self.openTime = openTime
    }

    /// A column that a filter can name.
    public struct Column: Sendable, Hashable {
        /// The column's name.
        public let name: String
        /// Whether it holds numbers, which can be compared by size, rather than words.
        public let isNumber: Bool

        /// Creates a column, for example for an app's tests.
        public init(name: String, isNumber: Bool = false) {
            self.name = name
            self.isNumber = isNumber
        }
    }
}

/// The measurements of ``Engine/benchmark(photo:runs:options:)``.
public struct Benchmark: Sendable, Hashable {
    /// Number of measured searches.
    public let runs: Int
    /// Percentiles of each stage and of their total.
    public let stages: [Stage]
    /// How long opening the engine took.
    public let openTime: Duration
    /// Resident memory of the process after the searches, in bytes; nil if the system does not report it.
    public let residentBytes: UInt64?
    /// The instruction set that the network uses.
    public let instructions: String
    /// Number of photos in the catalogue.
    public let photos: Int
    /// All of this as one line of JSON, with times in milliseconds.
    public let json: String

    /// Creates measurements, for example for an app's tests.
    public init(
        runs: Int, stages: [Stage], openTime: Duration = .zero, residentBytes: UInt64? = nil,
        instructions: String = "", photos: Int = 0, json: String = ""
    ) {
        self.runs = runs
        self.stages = stages
        self.openTime = openTime
        self.residentBytes = residentBytes
        self.instructions = instructions
        self.photos = photos
        self.json = json
    }

    /// Percentiles of the time of one stage.
    public struct Stage: Sendable, Hashable {
        /// `decode`, `prepare`, `network`, `search`, `listings`, or `together`.
        public let name: String
        /// Median.
        public let p50: Duration
        /// 90th percentile.
        public let p90: Duration
        /// 99th percentile.
        public let p99: Duration

        /// Creates percentiles, for example for an app's tests.
        public init(name: String, p50: Duration, p90: Duration, p99: Duration) {
            self.name = name
            self.p50 = p50
            self.p90 = p90
            self.p99 = p99
        }
    }
}

extension EngineInfo {
    init(_ info: MagpieGenerated.EngineInfo) {
        self.init(
            version: info.version, model: info.model, modelID: info.modelId, inputWidth: Int(info.inputWidth),
            inputHeight: Int(info.inputHeight), instructions: info.instructions, catalog: info.catalog,
            listings: Int(info.listings), photos: Int(info.photos), fields: info.fields,
            hasThumbnails: info.hasThumbnails,
            columns: info.columns.map { Column(name: $0.name, isNumber: $0.isNumber) },
            openTime: .milliseconds(info.openMs)
        )
    }
}

extension Benchmark {
    init(_ benchmark: MagpieGenerated.Benchmark) {
        self.init(
            runs: Int(benchmark.runs),
            stages: benchmark.stages.map {
                Stage(
                    name: $0.stage, p50: .milliseconds($0.p50Ms), p90: .milliseconds($0.p90Ms),
                    p99: .milliseconds($0.p99Ms))
            },
            openTime: .milliseconds(benchmark.openMs), residentBytes: benchmark.residentBytes,
            instructions: benchmark.instructions, photos: Int(benchmark.photos), json: benchmark.json
        )
    }
}

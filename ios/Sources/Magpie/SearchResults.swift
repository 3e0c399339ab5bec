import Foundation
internal import MagpieGenerated

/// The results of a search.
public struct SearchResults: Sendable, Hashable {
    /// Best first; ties are ordered by listing id.
    public let listings: [Listing]
    /// How far the first listing can be trusted; nil if the model is not calibrated, if the first listing is corrected,
    /// or if a server found a different first listing.
    public let confidence: Confidence?
    /// What the network recognises in the photo, such as its colour.
    public let attributes: [Attribute]
    /// How long each stage took on the phone.
    public let times: StageTimes
    /// Whether a server was asked, and with what outcome; nil if the search was given no server.
    public let asked: Asked?
    /// Whether a part of the photo's file was missing or invalid, so that the results may be worse.
    public let photoIsIncomplete: Bool

    /// Creates results, for example for an app's tests.
    public init(
        listings: [Listing], confidence: Confidence? = nil, attributes: [Attribute] = [],
        times: StageTimes = StageTimes(), asked: Asked? = nil, photoIsIncomplete: Bool = false
    ) {
        self.listings = listings
        self.confidence = confidence
        self.attributes = attributes
        self.times = times
        self.asked = asked
        self.photoIsIncomplete = photoIsIncomplete
    }
}

/// How far a search's first listing can be trusted.
///
/// ```swift
/// let heading = results.confidence?.isEnough == false ? "No good match. Similar:" : "Found:"
/// ```
///
/// It depends on the photo, the catalogue and the filter, but not on the count, the minimum score or the quota. In a
/// live search it belongs to the search with the current frame, although the displayed list may be older.
public struct Confidence: Sendable, Hashable {
    /// Probability that the first listing shows what the photo shows, 0 to 1; 0 if nothing was found.
    public let probability: Float
    /// Whether the probability reaches the model's threshold. If not, there is no good match.
    public let isEnough: Bool

    /// Creates a confidence, for example for an app's tests.
    public init(probability: Float, isEnough: Bool) {
        self.probability = probability
        self.isEnough = isEnough
    }
}

/// A listing that was found.
///
/// ```swift
/// let title = listing["title"] ?? listing.id
/// ```
public struct Listing: Sendable, Hashable, Identifiable {
    /// The catalogue's id of the listing.
    public let id: String
    /// Cosine between the query and the matching photo, -1 to 1.
    public let score: Float
    /// Name of the matching photo.
    public let photo: String
    /// Names of all photos of the listing.
    public let photos: [String]
    /// All fields in the catalogue's order; a value is empty if the listing has none.
    public let fields: [Field]
    /// Who found the listing.
    public let source: Source
    /// Whether it comes first because the user has corrected a photo like this one, whatever its score; see
    /// ``Engine/remember(photo:as:crop:)``.
    public let isCorrected: Bool

    /// Creates a listing, for example for an app's tests.
    public init(
        id: String, score: Float, photo: String = "", photos: [String] = [], fields: [Field] = [],
        source: Source = .shard, isCorrected: Bool = false
    ) {
        self.id = id
        self.score = score
        self.photo = photo
        self.photos = photos
        self.fields = fields
        self.source = source
        self.isCorrected = isCorrected
    }

    /// Who found a listing.
    public enum Source: Sendable, Hashable {
        /// The phone, in its own catalogue.
        case shard
        /// The server.
        case server
        /// Both.
        case both
    }

    /// A field of a listing.
    public struct Field: Sendable, Hashable {
        /// The field's name, such as `title`.
        public let name: String
        /// The field's value.
        public let value: String

        /// Creates a field, for example for an app's tests.
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// The value of a field, or nil if the listing has none.
    public subscript(field: String) -> String? {
        fields.first { $0.name == field }.flatMap { $0.value.isEmpty ? nil : $0.value }
    }
}

/// Something that the network recognises in a photo, such as its colour.
public struct Attribute: Sendable, Hashable {
    /// The attribute, such as `colour`.
    public let name: String
    /// The most probable label, such as `green`; nil if its probability is below the model's threshold.
    public let label: String?
    /// Probability of the most probable label, 0 to 1, given even if ``label`` is nil.
    public let probability: Float

    /// Creates an attribute, for example for an app's tests.
    public init(name: String, label: String?, probability: Float) {
        self.name = name
        self.label = label
        self.probability = probability
    }
}

/// Wall-clock time of each stage of a search.
public struct StageTimes: Sendable, Hashable {
    /// Decoding the photo; zero for a frame.
    public let decode: Duration
    /// Cropping, resizing and rotating.
    public let prepare: Duration
    /// Running the network.
    public let network: Duration
    /// Finding the nearest listings.
    public let search: Duration
    /// Reading the texts of the listings found.
    public let listings: Duration

    /// Creates times, for example for an app's tests.
    public init(
        decode: Duration = .zero, prepare: Duration = .zero, network: Duration = .zero, search: Duration = .zero,
        listings: Duration = .zero
    ) {
        self.decode = decode
        self.prepare = prepare
        self.network = network
        self.search = search
        self.listings = listings
    }

    /// The sum of all stages.
    public var total: Duration { decode + prepare + network + search + listings }
}

/// The embedding of a photo, a vector of unit length, for comparisons and tests. Searches do not need it.
public struct Embedding: Sendable, Hashable {
    /// The coordinates.
    public let values: [Float]
    /// The model that computed it; embeddings of different models cannot be compared.
    public let modelID: String

    /// Creates an embedding, for example for an app's tests.
    public init(values: [Float], modelID: String) {
        self.values = values
        self.modelID = modelID
    }
}

extension SearchResults {
    init(_ results: MagpieGenerated.SearchResults) {
        self.init(
            listings: results.listings.map(Listing.init),
            confidence: results.confidence.map {
                Confidence(probability: $0.probability, isEnough: $0.enough)
            },
            attributes: results.attributes.map {
                Attribute(name: $0.name, label: $0.label, probability: $0.probability)
            },
            times: StageTimes(results.times),
            asked: results.asked.map(Asked.init),
            photoIsIncomplete: results.photoIncomplete
        )
    }
}

extension Listing {
    init(_ listing: MagpieGenerated.Listing) {
        let fields = listing.fields.map { Field(name: $0.name, value: $0.value) }
        let source: Source =
            switch listing.source {
            case .shard: .shard
            case .server: .server
            case .both: .both
            }
        self.init(
            id: listing.id, score: listing.score, photo: listing.photo, photos: listing.photos, fields: fields,
            source: source, isCorrected: listing.corrected)
    }
}

extension StageTimes {
    init(_ times: MagpieGenerated.StageTimes) {
        self.init(
            decode: .milliseconds(times.decodeMs), prepare: .milliseconds(times.prepareMs),
            network: .milliseconds(times.networkMs), search: .milliseconds(times.searchMs),
            listings: .milliseconds(times.listingsMs)
        )
    }
}

extension Embedding {
    init(_ embedding: MagpieGenerated.Embedding) {
        self.init(values: embedding.values, modelID: embedding.modelId)
    }
}

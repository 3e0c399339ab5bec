import Foundation
internal import MagpieGenerated

/// What a search found.
public struct SearchResults: Sendable, Hashable {
    /// Best first; ties in the order of listing ids.
    public let listings: [Listing]
    /// How far the first listing can be trusted; nil where the model is not calibrated, or a server found another first
    /// one.
    public let confidence: Confidence?
    /// What the network says of the photo, e.g. that its colour is green.
    public let attributes: [Attribute]
    /// How long each stage took on the phone.
    public let times: StageTimes
    /// Whether a server was asked, and how that ended; nil where none was named.
    public let asked: Asked?
}

/// How far a search's first listing can be trusted.
///
/// ```swift
/// let heading = results.confidence?.isEnough == false ? "No good match. Similar:" : "Found:"
/// ```
///
/// It depends on the photo, the catalogue and the filter, not on how many listings are asked for, nor on the least score or
/// the groups. In a live search it is that of the frame's search, whose list may hold still meanwhile.
public struct Confidence: Sendable, Hashable {
    /// Probability that the first listing is what the photo shows, 0 to 1; 0 where nothing was found.
    public let probability: Float
    /// Whether that is enough, by the model's threshold. If not, there is no good match.
    public let isEnough: Bool
}

/// A listing that was found.
///
/// ```swift
/// let title = listing["title"] ?? listing.id
/// ```
public struct Listing: Sendable, Hashable, Identifiable {
    /// The catalogue's id of the listing.
    public let id: String
    /// Cosine between the query and the photo that was found, -1 to 1.
    public let score: Float
    /// Name of the photo that was found.
    public let photo: String
    /// Names of all its photos.
    public let photos: [String]
    /// Its fields in the catalogue's order; the value is empty where it has none.
    public let fields: [Field]
    /// Who found it.
    public let source: Source

    /// Who found a listing.
    public enum Source: Sendable, Hashable {
        /// The phone, in its catalogue.
        case shard
        /// The server.
        case server
        /// Both.
        case both
    }

    /// A field of a listing.
    public struct Field: Sendable, Hashable {
        /// Its name, e.g. `title`.
        public let name: String
        /// Its value.
        public let value: String
    }

    /// The value of a field; nil where the listing has none.
    public subscript(field: String) -> String? {
        fields.first { $0.name == field }.flatMap { $0.value.isEmpty ? nil : $0.value }
    }
}

/// What the network says of a photo, e.g. that its colour is green.
public struct Attribute: Sendable, Hashable {
    /// Which attribute, e.g. `colour`.
    public let name: String
    /// The most probable label, e.g. `green`; nil where the network is not sure enough of it to say it.
    public let label: String?
    /// Probability of the most probable label, said or not, 0 to 1.
    public let probability: Float
}

/// Wall-clock time of each stage of a search.
public struct StageTimes: Sendable, Hashable {
    /// Bytes to pixels; none for a frame.
    public let decode: Duration
    /// Crop, resize, turn.
    public let prepare: Duration
    /// The network.
    public let network: Duration
    /// Nearest listings.
    public let search: Duration
    /// Texts of the listings found.
    public let listings: Duration

    /// All stages together.
    public var total: Duration { decode + prepare + network + search + listings }
}

/// A photo as a point on the unit sphere. Searches do not need it; it is for comparisons and tests.
public struct Embedding: Sendable, Hashable {
    /// The coordinates.
    public let values: [Float]
    /// The model that made it; embeddings of different models cannot be compared.
    public let modelID: String
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
            asked: results.asked.map(Asked.init)
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
            source: source)
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

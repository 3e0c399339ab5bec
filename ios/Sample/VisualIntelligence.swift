#if canImport(VisualIntelligence)
import AppIntents
import Magpie
import VisualIntelligence

/// Answers the system's visual search from the catalogue on the phone.
@available(iOS 26.0, *)
struct CatalogQuery: IntentValueQuery {
    func values(for input: SemanticContentDescriptor) async throws -> [ListingEntity] {
        guard let pixels = input.pixelBuffer else { return [] }
        let frame = try pixels.withUnsafeBuffer { try Frame($0) }
        let engine = try await Answers.shared.engine
        let listings = try await engine.search(frame: frame).listings
        var found: [ListingEntity] = []
        for listing in listings {
            found.append(ListingEntity(listing, picture: try await engine.thumbnail(of: listing)))
        }
        await Answers.shared.keep(found)
        return found
    }
}

/// A listing as the system displays it.
@available(iOS 26.0, *)
struct ListingEntity: AppEntity {
    static let typeDisplayRepresentation = TypeDisplayRepresentation(name: "Listing")
    static let defaultQuery = ListingQuery()

    let id: String
    let title: String
    let price: String
    let picture: Data?

    init(_ listing: Listing, picture: Data?) {
        id = listing.id
        title = listing["title"] ?? listing.id
        price = [listing["price"], listing["currency"]].compactMap(\.self).joined(separator: " ")
        self.picture = picture
    }

    var displayRepresentation: DisplayRepresentation {
        DisplayRepresentation(title: "\(title)", subtitle: "\(price)", image: picture.map { .init(data: $0) })
    }
}

/// Finds the listings of the last answer by their ids, for the one that was tapped.
@available(iOS 26.0, *)
struct ListingQuery: EntityQuery {
    func entities(for identifiers: [String]) async throws -> [ListingEntity] {
        await Answers.shared.listings(identifiers)
    }
}

/// Opens the app when a listing is tapped.
@available(iOS 26.0, *)
struct OpenListing: OpenIntent {
    static let title: LocalizedStringResource = "Open listing"

    @Parameter(title: "Listing")
    var target: ListingEntity

    func perform() async throws -> some IntentResult {
        .result()
    }
}

/// The engine shared by all queries, and the listings that the last one found.
@available(iOS 26.0, *)
private actor Answers {
    static let shared = Answers()

    private let opening = Task { try await Engine.bundled() }
    private var last: [ListingEntity] = []

    var engine: Engine {
        get async throws { try await opening.value }
    }

    func keep(_ found: [ListingEntity]) {
        last = found
    }

    func listings(_ ids: [String]) -> [ListingEntity] {
        last.filter { ids.contains($0.id) }
    }
}
#endif

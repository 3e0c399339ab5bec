import Foundation
import Magpie
import Observation

/// The engine with the demo catalogue, and the state of the screen.
@MainActor @Observable
final class SearchModel {
    private(set) var engine: Engine?
    private(set) var categories: [String] = []
    private(set) var listings: [Listing] = []
    /// A sentence that tells the shopper what to do.
    private(set) var hint = "Opening the catalogue"
    /// The selected chip.
    var category: String? {
        didSet { restart() }
    }
    /// The crop box, as shares of the upright frame.
    var box = CGRect(x: 0.2, y: 0.2, width: 0.6, height: 0.6) {
        didSet { restart() }
    }

    private let camera: Camera
    private var search: Task<Void, Never>?

    init(camera: Camera = Camera()) {
        self.camera = camera
    }

    var session: Camera { camera }

    /// Opens the bundled model and catalogue, without network access.
    func open() async {
        guard engine == nil else { return }
        do {
            let engine = try await Engine.bundled()
            categories = try await engine.words(of: "category")
            self.engine = engine
            hint = "Point the camera at an object"
            try await camera.start()
            restart()
        } catch {
            hint = error.localizedDescription
        }
    }

    /// Returns a picture of the catalogue, for the benchmark.
    func samplePhoto() async -> Data? {
        guard let engine else { return nil }
        return try? await engine.thumbnail(ofListing: "mug-01", photo: "mug-01-1.jpg")
    }

    /// Restarts the search because the chip or the box has changed.
    private func restart() {
        search?.cancel()
        guard let engine else { return }
        let (box, filter) = (box, category.map { Filter.Column("category") == $0 })
        search = Task {
            do {
                let updates = engine.live(camera.frames()) { frame in
                    SearchOptions(filter: filter, crop: Crop(box, of: frame))
                }
                for try await update in updates { show(update) }
            } catch MagpieError.cancelled {
                // Another search has replaced it.
            } catch {
                hint = error.localizedDescription
            }
        }
    }

    private func show(_ update: LiveUpdate) {
        switch update {
        case .found(let results):
            listings = results.listings
            let unsure = results.confidence?.isEnough == false ? "No good match. Similar: " : ""
            hint = listings.isEmpty ? "Nothing like it in the catalogue" : "\(unsure)\(listings.count) listings"
        case .skipped(.dark): hint = "Too dark"
        case .skipped(.moving): hint = "Hold the phone still"
        case .skipped(.blurred): hint = "Move a little further away"
        case .skipped: break
        }
    }
}

extension Engine {
    /// Opens the demo catalogue and the model bundled with the app.
    static func bundled() async throws -> Engine {
        guard let model = Bundle.main.url(forResource: "default", withExtension: nil),
            let catalog = Bundle.main.url(forResource: "demo", withExtension: "magpie")
        else { throw CocoaError(.fileNoSuchFile) }
        return try await Engine.open(model: model, catalog: catalog)
    }
}

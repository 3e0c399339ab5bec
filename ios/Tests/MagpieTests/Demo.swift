import Foundation
import Magpie

/// The demo catalogue with thumbnails, the default model and the shoppers' photos, which all tests use. The files under
/// `target` are written by `cargo xtask test swift`.
enum Demo {
    static let repository = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    static let made = repository.appendingPathComponent("target/swift")
    static let catalog = made.appendingPathComponent("demo.magpie")
    static let model = repository.appendingPathComponent("models/packs/default")

    private static let opened = Task { try await open() }

    /// An engine shared by the tests.
    static var engine: Engine {
        get async throws { try await opened.value }
    }

    /// Opens a shard with only mugs and without the column `shop`: the catalogue of a phone that asks a server.
    static func openPhone() async throws -> Engine {
        try await Engine.open(model: model, catalog: made.appendingPathComponent("phone.magpie"))
    }

    private static let openedPhone = Task { try await openPhone() }

    /// An engine with only mugs, shared by the tests.
    static var phone: Engine {
        get async throws { try await openedPhone.value }
    }

    static func open(_ options: OpenOptions = OpenOptions()) async throws -> Engine {
        try await Engine.open(model: model, catalog: catalog, options: options)
    }

    /// Returns a shopper's photo of a listing of the demo catalogue.
    static func query(_ name: String) throws -> Data {
        try Data(contentsOf: repository.appendingPathComponent("cli/demo/queries/\(name).jpg"))
    }

    /// Returns a photo of the catalogue itself.
    static func photo(_ name: String) throws -> Data {
        try Data(contentsOf: repository.appendingPathComponent("cli/demo/photos/\(name).jpg"))
    }

    /// Returns the names of the shoppers' photos, which are the ids of the listings that they show.
    static func queries() throws -> [String] {
        let file = repository.appendingPathComponent("cli/demo/queries.csv")
        let table = try String(contentsOf: file, encoding: .utf8)
        let rows = table.split(whereSeparator: \.isNewline).dropFirst()
        return rows.compactMap { $0.split(separator: ",").last.map(String.init) }
    }

    /// Copies the pack to a new folder, with this confidence, and with heads that never reach their threshold.
    static func calibrated(confidence: [String: Any]) throws -> URL {
        let file = try Data(contentsOf: model.appendingPathComponent("manifest.json"))
        guard var manifest = try JSONSerialization.jsonObject(with: file) as? [String: Any],
            let heads = manifest["heads"] as? [[String: Any]]
        else { throw CocoaError(.fileReadCorruptFile) }
        manifest["heads"] = heads.map { $0.merging(["threshold": 1.0]) { _, new in new } }
        manifest["confidence"] = confidence
        let folder = try folder()
        let changed = try JSONSerialization.data(withJSONObject: manifest)
        try changed.write(to: folder.appendingPathComponent("manifest.json"))
        let network = folder.appendingPathComponent("model.onnx")
        try FileManager.default.copyItem(at: model.appendingPathComponent("model.onnx"), to: network)
        return folder
    }

    /// Creates a folder for a test that writes files.
    static func folder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("magpie-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }
}

/// Returns the error that a call throws, or nil if it throws none.
func failure<Value>(of call: () async throws -> Value) async -> MagpieError? {
    do {
        _ = try await call()
        return nil
    } catch {
        return error as? MagpieError
    }
}

/// Prints a measurement to standard error, where the test framework's lines go too.
func report(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
}

extension MagpieError {
    enum Kind {
        case photo, catalog, model, request, file, otherModel, untrusted, outdated, notForThisApp, download, busy,
            noSpace
        case cancelled, closed, `internal`
    }

    var kind: Kind {
        switch self {
        case .photo: .photo
        case .catalog: .catalog
        case .model: .model
        case .request: .request
        case .file: .file
        case .otherModel: .otherModel
        case .untrusted: .untrusted
        case .outdated: .outdated
        case .notForThisApp: .notForThisApp
        case .download: .download
        case .busy: .busy
        case .noSpace: .noSpace
        case .cancelled: .cancelled
        case .closed: .closed
        case .internal: .internal
        }
    }

    /// The reason that comes with the kind, if any.
    var reason: String {
        switch self {
        case .photo(let reason), .catalog(let reason), .model(let reason), .request(let reason), .file(let reason),
            .otherModel(let reason), .untrusted(let reason), .outdated(let reason), .notForThisApp(let reason),
            .download(let reason), .busy(let reason), .noSpace(let reason), .internal(let reason):
            reason
        case .cancelled, .closed: ""
        }
    }
}

import Foundation
import Magpie
import Testing

/// What can be opened, and the errors for what cannot.
@Suite struct OpeningTests {
    @Test func theOpenedEngineIsDescribed() async throws {
        let info = try await Demo.engine.info
        #expect(info.listings == 128 && info.photos == 256)
        #expect(info.hasThumbnails)
        #expect(info.modelID.count == 64)
        #expect(info.fields.starts(with: ["title", "category", "price"]))
        let numbers = Dictionary(uniqueKeysWithValues: info.columns.map { ($0.name, $0.isNumber) })
        #expect(numbers["price"] == true && numbers["category"] == false && numbers["title"] == nil)
        #expect(info.inputWidth > 0 && info.inputHeight > 0 && info.openTime > .zero)
        #expect(!info.version.isEmpty && !info.model.isEmpty && !info.instructions.isEmpty && !info.catalog.isEmpty)
    }

    @Test func openOptionsDoNotChangeTheResults() async throws {
        let photo = try Demo.query("mug-01")
        let listings = try await Demo.engine.search(photo: photo).listings
        let other = try await Demo.open(OpenOptions(threads: 2, inMemory: true, concurrentCalls: 1))
        #expect(try await other.search(photo: photo).listings == listings)
    }

    @Test func theErrorNamesAMissingFile() async throws {
        let missing = Demo.made.appendingPathComponent("not-there.magpie")
        let errors = [
            await failure { try await Engine.open(model: Demo.model, catalog: missing) },
            await failure { try await Engine.open(model: missing, catalog: Demo.catalog) },
            await failure { try await Engine.verify(catalog: missing) },
        ]
        for error in errors {
            #expect(error?.kind == .file)
            let reason = error?.reason ?? ""
            #expect(reason.contains("not-there.magpie"))
        }
    }

    @Test func aCatalogueOfAnotherModelIsRejectedWithItsModelID() async throws {
        let other = Demo.repository.appendingPathComponent("tests/compat/v2.magpie")
        let error = await failure { try await Engine.open(model: Demo.model, catalog: other) }
        #expect(error?.kind == .model)
        let reason = error?.reason ?? ""
        #expect(reason.contains(try await Demo.engine.info.modelID))
    }

    @Test func aDamagedCatalogueIsRejected() async throws {
        let folder = try Demo.folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let sound = try Data(contentsOf: Demo.catalog)
        try await Engine.verify(catalog: Demo.catalog)

        var changed = sound
        changed[changed.count - 100] ^= 1
        let cases = [
            "cut short": sound.prefix(sound.count / 2), "empty": Data(),
            "another file": try Demo.query("mug-01"), "a changed byte": changed,
        ]
        for (name, bytes) in cases {
            let file = folder.appendingPathComponent(name)
            try bytes.write(to: file)
            let error = await failure { try await Engine.verify(catalog: file) }
            #expect(error?.kind == .catalog, "\(name)")
            guard name != "a changed byte" else { continue }
            // Opening is cheap because it does not read the whole file.
            let opening = await failure { try await Engine.open(model: Demo.model, catalog: file) }
            #expect(opening?.kind == .catalog, "\(name)")
        }
    }

    @Test func aDamagedModelIsRejected() async throws {
        let folder = try Demo.folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        for name in ["manifest.json", "model.onnx"] {
            try FileManager.default.copyItem(
                at: Demo.model.appendingPathComponent(name), to: folder.appendingPathComponent(name))
        }
        let network = folder.appendingPathComponent("model.onnx")
        var bytes = try Data(contentsOf: network)
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: network)
        let error = await failure { try await Engine.open(model: folder, catalog: Demo.catalog) }
        #expect(error?.kind == .model)
    }

    @Test func numbersOutOfRangeAreRejected() async throws {
        let error = await failure { try await Demo.open(OpenOptions(threads: -1)) }
        #expect(error?.kind == .request)
    }
}

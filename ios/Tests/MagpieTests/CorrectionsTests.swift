import Foundation
import Magpie
import Testing

/// "No, this one": photos like a corrected one find its listing first.
@Suite(.timeLimit(.minutes(5))) struct CorrectionsTests {
    @Test func aCorrectedPhotoFindsItsListingFirstAlsoAfterARestart() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("corrections")
        let (photo, other) = (try Demo.query("mug-01"), try Demo.query("chair-02"))
        let engine = try await Demo.open()
        let before = try await engine.search(photo: photo).listings
        let untouched = try await engine.search(photo: other).listings
        await #expect(throws: MagpieError.self) { try await engine.remember(photo: photo, as: "vase-02") }
        try await engine.openCorrections(at: file)
        await #expect(throws: MagpieError.self) { try await engine.remember(photo: photo, as: "no such listing") }
        try await engine.remember(photo: photo, as: "vase-02")

        let again = try await Demo.open()
        try await again.openCorrections(at: file)
        for engine in [engine, again] {
            let results = try await engine.search(photo: photo)
            let first = try #require(results.listings.first)
            #expect(first.id == "vase-02" && first.isCorrected && results.confidence == nil)
            let others = before.filter { $0.id != "vase-02" }.prefix(9)
            #expect(Array(results.listings.dropFirst()) == Array(others))
            #expect(try await engine.search(photo: other).listings == untouched)
            #expect(try await engine.corrections().map(\.listing) == ["vase-02"])
        }

        let embedding = try await engine.embedding(of: other)
        try await engine.remember(embedding: embedding, as: "mug-03")
        #expect(try await engine.search(photo: other).listings.first?.id == "mug-03")
        #expect(try await engine.forget(listing: "mug-03") == 1)
        #expect(try await engine.search(photo: other).listings == untouched)
        try await engine.forgetAll()
        #expect(try await engine.corrections().isEmpty)
    }
}

import Foundation
import Magpie
import Testing

/// Embeddings equal Rust's, and invalid photos do no harm.
@Suite struct PhotoTests {
    /// `golden.npy` was written by `magpie embed --list golden.txt`: embeddings of the same photos, computed by Rust.
    @Test func embeddingsEqualRustsBitForBit() async throws {
        let list = try String(contentsOf: Demo.made.appendingPathComponent("golden.txt"), encoding: .utf8)
        let photos = list.split(separator: "\n").map(String.init)
        let rows = try floats(npy: Data(contentsOf: Demo.made.appendingPathComponent("golden.npy")))
        #expect(photos.count == 9)
        let width = rows.count / photos.count
        let modelID = try await Demo.engine.info.modelID
        for (index, path) in photos.enumerated() {
            let photo = try Data(contentsOf: URL(fileURLWithPath: path))
            let embedding = try await Demo.engine.embedding(of: photo)
            let expected = rows[index * width..<(index + 1) * width]
            #expect(embedding.values.map(\.bitPattern) == expected.map(\.bitPattern), "\(path)")
            #expect(embedding.modelID == modelID)
        }
    }

    @Test func bytesThatAreNotAPhotoAreRejected() async throws {
        let photo = try Demo.query("mug-01")
        var noise = photo
        for at in stride(from: 2, to: noise.count, by: 3) { noise[at] = UInt8(truncatingIfNeeded: at &* 31) }
        let cases = [
            "empty": Data(), "text": Data("not a photo".utf8), "one byte": Data([0xFF]),
            "a header alone": photo.prefix(20), "noise": noise,
            // Zeroed memory that is never touched: larger than the limit, without occupying it.
            "too large": Data(count: 65 << 20), "GIF": Data("GIF89a\u{1}\u{0}\u{1}\u{0}".utf8),
        ]
        for (name, bytes) in cases {
            let error = await failure { try await Demo.engine.search(photo: bytes) }
            #expect(error?.kind == .photo, "\(name)")
            let reason = error?.reason ?? ""
            #expect(!reason.isEmpty)
            #expect(error?.errorDescription == "photo: \(reason)")
        }
        // The engine still works.
        #expect(try await Demo.engine.search(photo: photo).listings.first?.id == "mug-01")
    }

    @Test func aSliceOfDataIsAccepted() async throws {
        let photo = try Demo.query("mug-01")
        let padded = Data(repeating: 7, count: 100) + photo + Data(repeating: 7, count: 100)
        let slice = padded[100..<100 + photo.count]
        #expect(try await Demo.engine.embedding(of: slice) == Demo.engine.embedding(of: photo))
    }

    /// Reads the float32 values of a NumPy file of version 1.
    private func floats(npy: Data) throws -> [Float] {
        try #require(npy.starts(with: Data([0x93]) + Data("NUMPY\u{1}\u{0}".utf8)))
        let values = npy.dropFirst(10 + Int(npy[8]) + Int(npy[9]) << 8)
        return stride(from: values.startIndex, to: values.endIndex, by: 4).map { at in
            Float(bitPattern: values[at..<at + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) })
        }
    }
}

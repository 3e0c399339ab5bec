import Foundation
import Magpie
import Testing

/// Camera frames give the same results as photos, whatever their format and layout.
@Suite struct FrameTests {
    private let scene = Picture.scene()

    @Test func aFrameFindsWhatThePhotoFinds() async throws {
        let photo = try await Demo.engine.search(photo: scene.png)
        let frame = Frame(.bgra(scene.packed(isBGRA: true)), width: scene.width, height: scene.height)
        let results = try await Demo.engine.search(frame: frame)
        #expect(results.listings.map(\.id) == photo.listings.map(\.id))
        for (mine, theirs) in zip(results.listings, photo.listings) { #expect(abs(mine.score - theirs.score) < 0.01) }
        #expect(results.attributes.map(\.label) == photo.attributes.map(\.label))
        #expect(results.times.decode == .zero && results.times.prepare > .zero && results.times.network > .zero)

        let mugs = SearchOptions(count: 20, filter: Filter.Column("category") == "Mugs")
        #expect(try await Demo.engine.search(frame: frame, options: mugs).listings.count == 8)
    }

    @Test func everyFormatMatchesThePhoto() async throws {
        // With odd sides, the last chroma samples stand for fewer than four pixels.
        for scene in [scene, .scene(width: 321, height: 241)] {
            let photo = try await Demo.engine.embedding(of: scene.png)
            for padding in [0, 32] {
                let packed: [Frame.Pixels] = [
                    .bgra(scene.packed(isBGRA: true, padding: padding)),
                    .rgba(scene.packed(isBGRA: false, padding: padding)),
                ]
                for pixels in packed { #expect(try await cosine(pixels, scene, photo) > 0.99) }
                for yuv in [Frame.YUV.bt601Full, .bt601Video, .bt709Full, .bt709Video] {
                    let found = try await cosine(scene.nv12(yuv, padding: padding), scene, photo)
                    #expect(found > 0.97, "\(yuv) of \(scene.width), padding \(padding): \(found)")
                }
            }
        }
    }

    @Test func theWrongFormatGivesADifferentEmbedding() async throws {
        let photo = try await Demo.engine.embedding(of: scene.png)
        let right = try await cosine(.bgra(scene.packed(isBGRA: true)), scene, photo)
        let wrong = try await cosine(.bgra(scene.packed(isBGRA: false)), scene, photo)
        #expect(wrong < right - 0.01)
    }

    @Test func aFrameIsRotatedUpright() async throws {
        let crop = Crop(x: 60, y: 30, width: 150, height: 190)
        let upright = try await Demo.engine.embedding(of: scene.png)
        let cropped = try await Demo.engine.embedding(of: scene.png, crop: crop)
        for (quarters, rotation) in Frame.Rotation.allCases.enumerated() {
            for isMirrored in [false, true] {
                // As the sensor would store it: the frame's rotation and mirroring make it upright again.
                let stored = (isMirrored ? scene.mirrored : scene).rotated(4 - quarters)
                let frames = [Frame.Pixels.bgra(stored.packed(isBGRA: true)), stored.nv12(.bt601Full)].map {
                    Frame(
                        $0, width: stored.width, height: stored.height, rotation: rotation, isMirrored: isMirrored)
                }
                for (frame, least) in zip(frames, [0.99, 0.97]) {
                    #expect(frame.uprightWidth == scene.width && frame.uprightHeight == scene.height)
                    let embedding = try await Demo.engine.embedding(of: frame)
                    #expect(cosine(embedding, upright) > least, "\(rotation) \(isMirrored)")
                    // The crop is in pixels of the upright frame.
                    let part = try await Demo.engine.embedding(of: frame, crop: crop)
                    #expect(cosine(part, cropped) > least, "\(rotation) \(isMirrored)")
                }
            }
        }
        // A wrong rotation changes the embedding.
        let lying = Frame(
            .bgra(scene.packed(isBGRA: true)), width: scene.width, height: scene.height, rotation: .quarter)
        #expect(cosine(try await Demo.engine.embedding(of: lying), upright) < 0.98)
    }

    @Test func aFrameThatDoesNotFitItsPlanesIsRejected() async throws {
        let plane = scene.packed(isBGRA: true)
        let short = Frame.Plane(bytes: plane.bytes.dropLast(), rowStride: plane.rowStride)
        let (width, height) = (scene.width, scene.height)
        guard case .nv12(let luma, let chroma, let yuv) = scene.nv12(.bt601Full) else { return }
        let shortChroma = Frame.Plane(bytes: chroma.bytes.dropLast(), rowStride: chroma.rowStride)
        let frames = [
            Frame(.bgra(short), width: width, height: height),
            Frame(.bgra(plane), width: width + 1, height: height),
            Frame(.bgra(plane), width: width, height: height + 1),
            Frame(.bgra(plane), width: -1, height: height), Frame(.bgra(plane), width: 0, height: height),
            Frame(.bgra(plane), width: .max, height: height), Frame(.bgra(plane), width: width, height: 1 << 20),
            Frame(.bgra(Frame.Plane(bytes: plane.bytes, rowStride: -1)), width: width, height: height),
            Frame(.bgra(Frame.Plane(bytes: plane.bytes, rowStride: 0)), width: width, height: height),
            Frame(.bgra(Frame.Plane(bytes: Data(), rowStride: 4 * width)), width: width, height: height),
            Frame(.nv12(luma: luma, chroma: shortChroma, yuv), width: width, height: height),
            Frame(.nv12(luma: shortChroma, chroma: chroma, yuv), width: width, height: height),
        ]
        for (index, frame) in frames.enumerated() {
            let error = await failure { try await Demo.engine.search(frame: frame) }
            #expect(error?.kind == .photo, "\(index): \(String(describing: error))")
        }
        let outside = SearchOptions(crop: Crop(x: width, y: 0, width: 1, height: 1))
        let frame = Frame(.bgra(plane), width: width, height: height)
        let error = await failure { try await Demo.engine.search(frame: frame, options: outside) }
        #expect(error?.kind == .photo)
    }

    @Test func aBoxIsACropOfTheUprightFrame() {
        let plane = Frame.Plane(bytes: Data(), rowStride: 0)
        let frame = Frame(.bgra(plane), width: 400, height: 200, rotation: .quarter)
        let box = { (x: Double, y: Double, width: Double, height: Double) in
            Crop(CGRect(x: x, y: y, width: width, height: height), of: frame)
        }
        #expect(box(0.25, 0.5, 0.5, 0.25) == Crop(x: 50, y: 200, width: 100, height: 100))
        #expect(box(0, 0, 1, 1) == Crop(x: 0, y: 0, width: 200, height: 400))
        #expect(box(-1, -1, 5, 5) == Crop(x: 0, y: 0, width: 200, height: 400))
        #expect(box(2, 2, 1, 1) == Crop(x: 199, y: 399, width: 1, height: 1))
        #expect(box(.nan, .infinity, .nan, 0) == Crop(x: 0, y: 0, width: 1, height: 1))
        let nothing = Frame(.bgra(plane), width: 0, height: 0)
        #expect(Crop(CGRect(x: 0, y: 0, width: 1, height: 1), of: nothing) == Crop(x: 0, y: 0, width: 1, height: 1))
    }

    private func cosine(_ pixels: Frame.Pixels, _ scene: Picture, _ photo: Embedding) async throws -> Double {
        let frame = Frame(pixels, width: scene.width, height: scene.height)
        return cosine(try await Demo.engine.embedding(of: frame), photo)
    }

    /// The dot product: embeddings have unit length.
    private func cosine(_ one: Embedding, _ other: Embedding) -> Double {
        zip(one.values, other.values).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
}

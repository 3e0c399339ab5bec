import Foundation
import Magpie
import Testing

/// Searches and all their options.
@Suite struct SearchTests {
    @Test func aPhotoOfTheCatalogueFindsItsListing() async throws {
        let results = try await Demo.engine.search(photo: Demo.photo("mug-01-2"))
        let best = try #require(results.listings.first)
        let fields = try await Demo.engine.info.fields
        #expect(best.id == "mug-01" && best.photo == "mug-01-2.jpg" && best.score > 0.99)
        #expect(best.photos == ["mug-01-1.jpg", "mug-01-2.jpg"])
        #expect(best["title"] == "Tall tapered mug in sea-green stoneware")
        #expect(best["price"] == "18.00" && best["colour"] == "green" && best["no such field"] == nil)
        #expect(best.fields.map(\.name) == fields)
        #expect(results.listings.count == 10)
        #expect(results.listings == results.listings.sorted { $0.score > $1.score })
        #expect(results.times.network > .zero && results.times.total >= results.times.network)
        #expect(!results.attributes.isEmpty)
        #expect(results.attributes.allSatisfy { (0...1).contains($0.probability) && $0.label != "" })
    }

    @Test func aCalibratedModelSaysHowFarItCanBeTrusted() async throws {
        let folder = try Demo.calibrated(confidence: [
            "kind": "logistic-1", "weights": ["score": 6.6, "margin": 3.4, "contrast": 7.3], "bias": -7.1,
            "background": 0.12, "threshold": 0.5,
        ])
        defer { try? FileManager.default.removeItem(at: folder) }
        let engine = try await Engine.open(model: folder, catalog: Demo.catalog)
        let photo = try Demo.photo("mug-01-1")
        let results = try await engine.search(photo: photo)
        let inside = try #require(results.confidence)
        #expect(inside.isEnough && (0.7...1).contains(inside.probability))
        let one = try await engine.search(photo: photo, options: SearchOptions(count: 1))
        #expect(one.confidence == inside)
        let chairs = SearchOptions(filter: Filter.Column("category") == "Chairs")
        let others = try await engine.search(photo: photo, options: chairs)
        let outside = try #require(others.confidence)
        #expect(!outside.isEnough && outside.probability < inside.probability && !others.listings.isEmpty)
        let free = SearchOptions(filter: Filter.Column("price") < 0)
        let nothing = try await engine.search(photo: photo, options: free).confidence
        #expect(nothing?.probability == 0 && nothing?.isEnough == false)

        // Heads with a threshold of 1 give no label.
        let category = try #require(results.attributes.first { $0.name == "category" })
        #expect(category.label == nil && (0...1).contains(category.probability))
    }

    /// The shoppers' photos are renders that the CLI's demo also searches with; it finds nine in ten.
    @Test func shoppersPhotosFindTheirListings() async throws {
        var right = 0
        let queries = try Demo.queries()
        for name in queries {
            let options = SearchOptions(count: 5)
            let listings = try await Demo.engine.search(photo: Demo.query(name), options: options).listings
            #expect(listings.count == 5)
            right += listings.contains { $0.id == name } ? 1 : 0
        }
        #expect(queries.count == 128 && right * 10 >= queries.count * 9, "\(right) of \(queries.count)")
    }

    @Test func aFilterHoldsForEveryListing() async throws {
        let (category, price) = (Filter.Column("category"), Filter.Column("price"))
        let filter = category == "Mugs" && price < 15
        let found = try await search(SearchOptions(count: 50, filter: filter))
        #expect(found.count == 4)
        for listing in found {
            #expect(listing["category"] == "Mugs")
            #expect(try #require(Double(listing["price"] ?? "")) < 15)
        }
        let others = try await search(SearchOptions(count: 200, filter: !filter))
        #expect(others.count == 124)
        #expect(Set(found.map(\.id)).isDisjoint(with: others.map(\.id)))
        let written = try await search(SearchOptions(count: 50, filter: Filter(verbatim: "category=Mugs and price<15")))
        #expect(written == found)
    }

    @Test func aFilterThatDoesNotFitTheCatalogueIsRejected() async throws {
        let filters = [
            Filter.Column("weight") > 3, Filter.Column("category") > 3, Filter.Column("price") == "cheap",
            Filter.Column("price") < .nan, Filter(verbatim: "price <"),
        ]
        for filter in filters {
            let error = await failure { try await search(SearchOptions(filter: filter)) }
            #expect(error?.kind == .request, "\(filter)")
        }
    }

    @Test func aSearchUsesOnlyTheCrop() async throws {
        let photo = try Demo.query("mug-01")
        let crop = Crop(x: 40, y: 30, width: 90, height: 110)
        let whole = try await Demo.engine.embedding(of: photo)
        let part = try await Demo.engine.embedding(of: photo, crop: crop)
        #expect(part != whole)
        let options = SearchOptions(crop: crop)
        let found = try await Demo.engine.search(photo: photo, options: options).listings
        // Scores are cosines of the crop's embedding, not of the whole photo's.
        let all = try await Demo.engine.search(photo: photo).listings
        #expect(found.map(\.score) != all.map(\.score))

        // A crop of the whole photo changes nothing.
        let golden = try Data(contentsOf: Demo.model.appendingPathComponent("golden/plain-mug/photo.png"))
        let size = try #require(pngSize(golden))
        let everything = Crop(x: 0, y: 0, width: size.width, height: size.height)
        let embedding = try await Demo.engine.embedding(of: golden)
        #expect(try await Demo.engine.embedding(of: golden, crop: everything) == embedding)
        for crop in [
            Crop(x: size.width, y: 0, width: 10, height: 10), Crop(x: 0, y: 0, width: 0, height: 10),
            Crop(x: -1, y: 0, width: 10, height: 10), Crop(x: 0, y: 0, width: .max, height: 10),
        ] {
            let error = await failure { try await Demo.engine.embedding(of: golden, crop: crop) }
            #expect(error?.kind == .photo, "\(crop)")
        }
    }

    @Test func aQuotaLimitsTheListingsOfEachShop() async throws {
        let found = try await search(SearchOptions(count: 12, atMost: .init(2, forEach: "shop")))
        let shops = Dictionary(grouping: found) { $0["shop"] ?? "" }
        #expect(found.count == 12 && shops.values.allSatisfy { $0.count <= 2 })
        let unlimited = Dictionary(grouping: try await search(SearchOptions(count: 12))) { $0["shop"] ?? "" }
        #expect(unlimited.values.contains { $0.count > 2 })
    }

    @Test func nearDuplicatesAreLeftOut() async throws {
        let all = try await search(SearchOptions(count: 40))
        let few = try await search(SearchOptions(count: 40, nearDuplicates: 0.6))
        #expect(few.first == all.first && few.map(\.id) != all.map(\.id), "\(all.map(\.score))")
    }

    @Test func aMinimumScoreLeavesOutLowerOnes() async throws {
        let all = try await search(SearchOptions(count: 20))
        let bar = all[4].score
        let found = try await search(SearchOptions(count: 20, minScore: bar))
        #expect(found == Array(all.prefix(5)))
    }

    @Test func anObjectThatIsNotInTheCatalogueScoresLower() async throws {
        let shown = try await Demo.engine.search(photo: Demo.query("mug-01")).listings[0].score
        // A wall in shadow.
        let wall = Picture(width: 320, height: 240) { x, y in (90 + Double(x) / 8, 80 + Double(x) / 8, 70) }
        let other = try await Demo.engine.search(photo: wall.png).listings[0].score
        #expect(other < shown, "\(other) and \(shown)")
        let options = SearchOptions(minScore: shown)
        #expect(try await search(options).map(\.id) == ["mug-01"])
        #expect(try await Demo.engine.search(photo: wall.png, options: options).listings.isEmpty)
    }

    @Test func aRecallOfOneScoresAllPhotos() async throws {
        let found = try await search(SearchOptions(count: 128, recall: 1))
        #expect(found.count == 128)
    }

    @Test func moreLikeAListing() async throws {
        let found = try await Demo.engine.moreLike(listing: "mug-01", options: SearchOptions(count: 5))
        #expect(found.count == 5 && !found.contains { $0.id == "mug-01" })
        let mugs = SearchOptions(filter: Filter.Column("category") == "Mugs")
        let others = try await Demo.engine.moreLike(listing: "mug-01", options: mugs)
        #expect(others.count == 7 && others.allSatisfy { $0["category"] == "Mugs" })
        let error = await failure { try await Demo.engine.moreLike(listing: "no such listing") }
        #expect(error?.kind == .request)
    }

    @Test func wordsOfAColumn() async throws {
        let words = try await Demo.engine.words(of: "category")
        #expect(words.count == 16 && words == words.sorted() && words.contains("Mugs"))
        #expect(try await Demo.engine.words(of: "category", atMost: 3) == Array(words.prefix(3)))
        #expect(try await Demo.engine.words(of: "price").isEmpty)
        let error = await failure { try await Demo.engine.words(of: "weight") }
        #expect(error?.kind == .request)
    }

    @Test func thumbnailsAreJpegs() async throws {
        let best = try #require(try await search(SearchOptions(count: 1)).first)
        let found = try #require(try await Demo.engine.thumbnail(of: best))
        #expect(found.starts(with: [0xFF, 0xD8]))
        // A thumbnail shows the same as its photo.
        let again = try #require(try await Demo.engine.search(photo: found).listings.first)
        #expect(again.id == best.id && again.score > 0.85)
        let second = try #require(try await Demo.engine.thumbnail(of: best, photo: best.photos[1]))
        let first = try #require(try await Demo.engine.thumbnail(ofListing: best.id, photo: best.photos[0]))
        #expect(first != second && (found == first || found == second))
        #expect(try await Demo.engine.thumbnail(of: best, photo: "no such photo") == nil)
        let error = await failure { try await Demo.engine.thumbnail(ofListing: "no such listing", photo: best.photo) }
        #expect(error?.kind == .request)
    }

    @Test func numbersOutOfRangeAreRejected() async throws {
        for options in [SearchOptions(count: -1), SearchOptions(atMost: .init(.max, forEach: "shop"))] {
            let error = await failure { try await search(options) }
            #expect(error?.kind == .request)
        }
        let long = String(repeating: "x", count: 2_000_000)
        let error = await failure { try await Demo.engine.words(of: long) }
        #expect(error?.kind == .request)
    }

    private func search(_ options: SearchOptions) async throws -> [Listing] {
        try await Demo.engine.search(photo: Demo.query("mug-01"), options: options).listings
    }
}

/// Reads width and height from a PNG header.
private func pngSize(_ png: Data) -> (width: Int, height: Int)? {
    guard png.count > 24 else { return nil }
    let number = { (at: Int) in png[at..<at + 4].reduce(0) { $0 << 8 | Int($1) } }
    return (number(16), number(20))
}

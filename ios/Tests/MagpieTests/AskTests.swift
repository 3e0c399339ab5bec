import Foundation
import Magpie
import Testing

/// A phone whose catalogue has only mugs, and a real server with the whole demo catalogue.
@Suite(.timeLimit(.minutes(5))) struct AskTests {
    private let asking = AskOptions(.unmetered, deadline: .seconds(20))
    private let twenty = SearchOptions(count: 20)

    private func sources(_ results: SearchResults) -> Set<Listing.Source> {
        Set(results.listings.map(\.source))
    }

    private func collect(
        _ updates: AsyncThrowingStream<SearchResults, any Error>
    ) async throws -> [SearchResults] {
        try await updates.reduce(into: []) { $0.append($1) }
    }

    @Test func theServerFindsWhatThePhoneDoesNotHave() async throws {
        let shop = try await RealServer(shard: Demo.catalog)
        defer { shop.stop() }
        let results = try await Demo.phone.search(
            photo: Demo.query("chair-02"), server: CatalogServer(url: shop.url), asking: asking, options: twenty)
        let asked = try #require(results.asked)
        #expect(asked.outcome == .answered)
        #expect([.doubtful, .tooFew].contains(asked.reason))
        #expect(asked.requests >= 1 && asked.time > .zero)
        let first = try #require(results.listings.first)
        #expect(first.id.hasPrefix("chair-") && first.source == .server)
        #expect(results.listings.count == 20)
        #expect(results.listings.map(\.score) == results.listings.map(\.score).sorted(by: >))
        // The server has every listing of the phone's shard, and a column that the phone lacks.
        #expect(!sources(results).contains(.shard) && first["shop"] != nil)
        #expect(results.confidence == nil)
        #expect(!results.attributes.isEmpty && results.times.network > .zero)
    }

    @Test func phoneAndServerScoreAListingAlike() async throws {
        let shop = try await RealServer(shard: Demo.catalog)
        defer { shop.stop() }
        let (photo, all) = (try Demo.query("mug-01"), SearchOptions(count: 200, recall: 1))
        let server = try CatalogServer(url: shop.url)
        let results = try await Demo.phone.search(photo: photo, server: server, asking: asking, options: all)
        let here = try await Demo.phone.search(
            photo: photo, server: server, asking: AskOptions(.offline), options: all)
        let both = results.listings.filter { $0.source == .both }
        #expect(both.map(\.id) == here.listings.map(\.id))
        // Not bit-identical: each shard encodes its photos by itself.
        for (one, other) in zip(both, here.listings) { #expect(abs(one.score - other.score) < 1e-3) }
    }

    @Test func theServerAppliesFiltersOnColumnsThatThePhoneLacks() async throws {
        let shop = try await RealServer(shard: Demo.catalog)
        defer { shop.stop() }
        let (photo, server) = (try Demo.query("mug-01"), try CatalogServer(url: shop.url))
        let options = SearchOptions(filter: Filter.Column("shop") == "Larkspur & Pine")
        let results = try await Demo.phone.search(photo: photo, server: server, asking: asking, options: options)
        #expect(results.asked?.reason == .filterUnknown && results.asked?.outcome == .answered)
        #expect(sources(results) == [.server])
        #expect(results.listings.allSatisfy { $0["shop"] == "Larkspur & Pine" })
        // The phone has nothing to show before the answer.
        let updates = try await Demo.phone.searchUpdates(
            photo: photo, server: server, asking: asking, options: options)
        #expect(try await collect(updates).count == 1)
        // If the server is not asked, the unknown column is an error of the app.
        for alone in [AskOptions(.offline), AskOptions(.unmetered, setting: .never)] {
            let error = await failure {
                try await Demo.phone.search(photo: photo, server: server, asking: alone, options: options)
            }
            #expect(error?.kind == .request)
        }
    }

    @Test func thePhonesOwnListingsComeFirstIfTheyAreWorthShowing() async throws {
        let shop = try await RealServer(shard: Demo.catalog)
        defer { shop.stop() }
        let (photo, server) = (try Demo.query("chair-02"), try CatalogServer(url: shop.url))
        let updates = try await collect(
            Demo.phone.searchUpdates(photo: photo, server: server, asking: asking, options: twenty))
        #expect(updates.map(\.asked?.outcome) == [.pending, .answered])
        let (first, last) = (try #require(updates.first), try #require(updates.last))
        #expect(sources(first) == [.shard] && first.confidence != nil)
        #expect(last.listings.first?.id.hasPrefix("chair-") == true)
        let nothing = SearchOptions(filter: Filter.Column("price") < 0)
        let none = try await collect(
            Demo.phone.searchUpdates(photo: photo, server: server, asking: asking, options: nothing))
        #expect(none.map(\.asked?.reason) == [.nothingFound])
    }

    @Test func theServerIsNotAskedIfThePhonesAnswerIsGoodEnough() async throws {
        let nobody = try CatalogServer(url: BadServer.nobody())
        let photo = try Demo.photo("mug-01-1")
        for connectivity in [Connectivity.unmetered, .metered] {
            let updates = try await collect(
                Demo.phone.searchUpdates(
                    photo: photo, server: nobody, asking: AskOptions(connectivity), options: SearchOptions(count: 3)))
            #expect(updates.count == 1)
            let results = try #require(updates.first)
            #expect(results.asked?.reason == .goodEnough && results.asked?.outcome == .notAsked)
            #expect(results.asked?.requests == 0 && results.asked?.time == .zero)
            #expect(results.listings.first?.id == "mug-01" && sources(results) == [.shard])
            #expect(results.confidence?.isEnough == true)
        }
    }

    @Test func theServerIsNotAskedIfNetworkUserOrDeadlineRuleItOut() async throws {
        let nobody = try CatalogServer(url: BadServer.nobody())
        let photo = try Demo.query("chair-02")
        let cases: [(AskOptions, Asked.Reason)] = [
            (AskOptions(.offline), .offline), (AskOptions(.unmetered, setting: .never), .notAllowed),
            (AskOptions(.metered, setting: .unmeteredOnly), .notAllowed),
            (AskOptions(.unmetered, deadline: .milliseconds(20)), .noTime),
            (AskOptions(.unmetered, deadline: .seconds(-1)), .noTime),
        ]
        for (options, reason) in cases {
            let results = try await Demo.phone.search(photo: photo, server: nobody, asking: options, options: twenty)
            #expect(results.asked?.reason == reason && results.asked?.outcome == .notAsked)
            #expect(sources(results) == [.shard])
        }
        let shop = try await RealServer(shard: Demo.catalog)
        defer { shop.stop() }
        let metered = AskOptions(.metered, deadline: .seconds(20))
        let results = try await Demo.phone.search(
            photo: photo, server: CatalogServer(url: shop.url), asking: metered)
        #expect(results.asked?.outcome == .answered)
        #expect(try await Demo.phone.search(photo: photo).asked == nil)
    }

    @Test func framesAskTheServerAsPhotosDo() async throws {
        let shop = try await RealServer(shard: Demo.catalog)
        defer { shop.stop() }
        let server = try CatalogServer(url: shop.url.appendingPathComponent("/"))
        let scene = Picture.scene()
        let frame = Frame(.bgra(scene.packed(isBGRA: true)), width: scene.width, height: scene.height)
        let results = try await Demo.phone.search(frame: frame, server: server, asking: asking, options: twenty)
        #expect(results.asked?.outcome == .answered)
        let updates = try await collect(
            Demo.phone.searchUpdates(frame: frame, server: server, asking: asking, options: twenty))
        #expect(updates.last?.listings == results.listings)
    }

    @Test func aServerWithAnotherModelAndAServerThatNeedsAToken() async throws {
        let photo = try Demo.query("chair-02")
        let ask = { (server: CatalogServer) in
            try await Demo.phone.search(photo: photo, server: server, asking: asking, options: twenty)
        }
        let other = try await RealServer(shard: Demo.repository.appendingPathComponent("tests/compat/v2.magpie"))
        defer { other.stop() }
        let results = try await ask(CatalogServer(url: other.url))
        #expect(results.failed == "wrong_model" && sources(results) == [.shard])

        let folder = try Demo.folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let tokens = folder.appendingPathComponent("tokens")
        try "phone a-long-enough-token\n".write(to: tokens, atomically: true, encoding: .utf8)
        let closed = try await RealServer(shard: Demo.catalog, "--tokens", tokens.path)
        defer { closed.stop() }
        #if !canImport(FoundationNetworking)
        // Linux's Foundation crashes on the server's `www-authenticate: Bearer`.
        for token in [nil, "another-long-token"] {
            let results = try await ask(CatalogServer(url: closed.url, token: token))
            #expect(results.failed == "refused" && sources(results) == [.shard])
        }
        #endif
        let known = try await ask(CatalogServer(url: closed.url, token: "a-long-enough-token"))
        #expect(known.asked?.outcome == .answered)
    }

    @Test func invalidPhotosAndAClosedEngineThrowAsWithoutAServer() async throws {
        let nobody = try CatalogServer(url: BadServer.nobody())
        let engine = try await Demo.openPhone()
        let invalid = await failure { try await engine.search(photo: Data(count: 10), server: nobody, asking: asking) }
        #expect(invalid?.kind == .photo)
        engine.close()
        let photo = try Demo.query("mug-01")
        #expect(await failure { try await engine.search(photo: photo, server: nobody, asking: asking) } == .closed)
        let updates = engine.searchUpdates(photo: photo, server: nobody, asking: asking)
        #expect(await failure { try await collect(updates) } == .closed)
    }

    @Test func onlyServerURLsAreAccepted() throws {
        let none = [
            "shop.example", "ftp://shop.example", "/v1/search", "http://", "https://shop.example/?a=b",
            "https://user:password@shop.example", "https://shop.example#top",
        ]
        for text in none {
            let url = try #require(URL(string: text))
            #expect(throws: MagpieError.self, "\(text)") { try CatalogServer(url: url) }
        }
        for text in ["http://localhost:8080", "https://shop.example", "HTTPS://shop.example/magpie/"] {
            let url = try #require(URL(string: text))
            #expect(try CatalogServer(url: url).url == url)
            #expect(throws: MagpieError.self) { try CatalogServer(url: url, token: "two\nlines") }
        }
    }
}

import Foundation
import Magpie
import Testing

/// An app's tests can build the values that the library returns, without an engine.
@Suite struct ValueTests {
    @Test func resultsNeedOnlyTheirListings() {
        let fields = [Listing.Field(name: "title", value: "A mug"), Listing.Field(name: "price", value: "")]
        let mug = Listing(id: "mug-01", score: 0.9, fields: fields)
        let results = SearchResults(listings: [mug])
        #expect(results.listings.first?["title"] == "A mug" && mug["price"] == nil)
        #expect(mug.source == .shard && mug.photos.isEmpty)
        #expect(results.confidence == nil && results.asked == nil && results.times.total == .zero)
        let asked = Asked(reason: .noTime, outcome: .notAsked)
        let sure = SearchResults(
            listings: [mug], confidence: Confidence(probability: 0.8, isEnough: true),
            attributes: [Attribute(name: "colour", label: "green", probability: 0.7)],
            times: StageTimes(decode: .milliseconds(1), network: .milliseconds(2)), asked: asked)
        #expect(sure != results && sure.confidence?.isEnough == true)
        #expect(sure.asked?.requests == 0 && sure.asked?.time == .zero)
        #expect(sure.attributes.first?.label == "green" && sure.times.total == .milliseconds(3))
    }

    @Test func embeddingsDescriptionsAndRequestsCanBeBuilt() throws {
        #expect(Embedding(values: [1, 0], modelID: "a model").values == [1, 0])
        let info = EngineInfo(catalog: "shop", listings: 3, columns: [.init(name: "price", isNumber: true)])
        #expect(info.listings == 3 && info.columns.first?.name == "price")
        let stage = Benchmark.Stage(
            name: "network", p50: .milliseconds(1), p90: .milliseconds(2), p99: .milliseconds(3))
        #expect(Benchmark(runs: 1, stages: [stage]).stages == [stage])
        let url = try #require(URL(string: "https://shop.example/v1/search"))
        let request = HTTPRequest(url: url, timeout: .milliseconds(5), maxReplyBytes: 1000)
        #expect(request.timeout == .milliseconds(5) && request.body.isEmpty)
        #expect(HTTPReply(status: 503).body.isEmpty)
        #expect(MagpieLog.Line(level: .info, module: "app", text: "a line").level == .info)
    }
}

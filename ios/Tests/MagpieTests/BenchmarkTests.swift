import Foundation
import Magpie
import Testing

/// The measurements of a benchmark, as a value and as JSON.
@Suite struct BenchmarkTests {
    @Test func aBenchmarkReportsEveryStage() async throws {
        let benchmark = try await Demo.engine.benchmark(photo: Demo.query("mug-01"), runs: 4)
        #expect(benchmark.runs == 4 && benchmark.photos == 256)
        #expect(benchmark.stages.map(\.name) == ["decode", "prepare", "network", "search", "listings", "together"])
        for stage in benchmark.stages {
            #expect(stage.p50 > .zero && stage.p50 <= stage.p90 && stage.p90 <= stage.p99)
        }
        let info = try await Demo.engine.info
        #expect(benchmark.openTime == info.openTime && benchmark.instructions == info.instructions)
        let memory = try #require(benchmark.residentBytes)
        #expect(memory > 1 << 20)

        let json = try #require(JSONSerialization.jsonObject(with: Data(benchmark.json.utf8)) as? [String: Any])
        #expect(json["runs"] as? Int == 4)
        #expect(json["resident_bytes"] as? UInt64 == memory)
        let stages = try #require(json["stages"] as? [[String: Any]])
        #expect(stages.map { $0["stage"] as? String } == benchmark.stages.map(\.name))
        #expect(!benchmark.json.contains("\n"))
    }

    @Test func aBenchmarkFailsAsASearchDoes() async throws {
        let error = await failure { try await Demo.engine.benchmark(photo: Data(), runs: 1) }
        #expect(error?.kind == .photo)
        let negative = await failure { try await Demo.engine.benchmark(photo: Data(), runs: -1) }
        #expect(negative?.kind == .request)
    }
}

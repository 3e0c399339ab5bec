import Foundation
import Magpie
import Testing

/// The overhead of Swift: crossing, threads and tasks. The figures are meaningful only if these tests run alone, in
/// release mode; the README has the command.
@Suite(.serialized) struct OverheadTests {
    /// Wall-clock time: a search with a 1080p frame, minus the stages that Rust reports.
    @Test func rustsStagesAreWithinSwiftsTime() async throws {
        let (width, height) = (1920, 1080)
        var bytes = Data(count: 4 * width * height)
        bytes.withUnsafeMutableBytes { bytes in
            for at in stride(from: 0, to: bytes.count, by: 61) { bytes[at] = UInt8(truncatingIfNeeded: at) }
        }
        let frame = Frame(.bgra(.init(bytes: bytes, rowStride: 4 * width)), width: width, height: height)
        let expected = try await Demo.engine.search(frame: frame).listings
        var (stages, added): ([Duration], [Duration]) = ([], [])
        for _ in 0..<100 {
            let start = ContinuousClock.now
            let results = try await Demo.engine.search(frame: frame)
            let took = ContinuousClock.now - start
            #expect(results.listings == expected && took >= results.times.total)
            stages.append(results.times.total)
            added.append(took - results.times.total)
        }
        report("1080p BGRA frame, clock: Rust's stages \(summary(stages)); Swift adds \(summary(added))")
    }

    /// CPU time of the process, which other programs on the machine do not affect: the same number of searches called
    /// from Swift and run by Rust's benchmark.
    @Test func searchesFromSwiftAndFromRustAreTheSame() async throws {
        let (engine, photo, runs) = (try await Demo.open(), try Demo.query("mug-01"), 40)
        var (inRust, added): ([Duration], [Duration]) = ([], [])
        for _ in 0..<5 {
            var start = cpuTime()
            #expect(try await engine.benchmark(photo: photo, runs: runs).runs == runs)
            // The benchmark runs three more searches to warm up.
            let rust = (cpuTime() - start) / (runs + 3)
            start = cpuTime()
            for _ in 0..<runs { #expect(try await engine.search(photo: photo).listings.count == 10) }
            inRust.append(rust)
            added.append((cpuTime() - start) / runs - rust)
        }
        report("a photo, CPU time: a search in Rust \(summary(inRust)); Swift adds \(summary(added))")
    }

    private func summary(_ times: [Duration]) -> String {
        let sorted = times.sorted().map { String(format: "%.3f", $0 / .milliseconds(1)) }
        return "min \(sorted[0]), p50 \(sorted[sorted.count / 2]), p90 \(sorted[sorted.count * 9 / 10]) ms"
    }

    private func cpuTime() -> Duration {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
}
